"""Long sections are searchable to their end: the real chunker, model and store."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.messages import SearchOptions
from core.settings import load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.indexing.chunk_files import read_chunks
from ingest.indexing.points import index_document
from ingest.pipeline import parse_to_chunks
from ingest.retrieval.retriever import Retriever
from ingest.vector_store.base import DocumentMeta
from ingest.vector_store.edge import EdgeVectorStore

FACT = "The spare key of the boathouse hangs behind the portrait of the founder."
FILLER = "On its {n}th day the committee spoke about the budget, the roof and the weather, and came to no conclusion. "


@pytest.mark.model
def test_a_fact_in_the_last_sentence_of_a_long_section_is_found(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, _env_file=None)
    source, out = tmp_path / "minutes.md", tmp_path / "chunks"
    section = "".join(FILLER.format(n=n) for n in range(60)) + FACT
    source.write_text(f"# Minutes\n\n## Long meeting\n\n{section}\n\n## Short meeting\n\nNobody came.\n")
    parse_to_chunks(source, source.name, out, settings)
    chunks = read_chunks(out)
    service = EmbeddingService(Embedder.from_settings(settings))
    store = EdgeVectorStore(tmp_path / "vectors", service.embedder.model_name, service.embedder.dimension)
    assert service.embedder.count_tokens(section) > 4 * service.embedder.max_tokens
    index_document(chunks, document=DocumentMeta("doc", 1, "default", source.name), embedder=service, store=store)

    retriever = Retriever(store, service, lambda ids: dict.fromkeys(ids, 1), default_threshold=0.25)
    [hit] = retriever.search(["Where does the spare key of the boathouse hang?"], SearchOptions(top_k=1))
    store.close()
    service.close()
    assert FACT in hit.text and hit.section == "Minutes > Long meeting"
    assert len(chunks) > 4
