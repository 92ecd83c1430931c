"""Indexing over real stores: each chunk is stored once, and known texts are not embedded again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import InternalError
from core.settings import load_settings
from ingest.embedding.service import EmbeddingService
from ingest.indexing.chunk_files import read_chunks
from ingest.indexing.points import ChunkedDocument, index_document, index_steps
from ingest.parsed_document import Chunk, content_hash_of
from ingest.pipeline import parse_to_chunks
from ingest.vector_store import VectorStore
from ingest.vector_store.base import DocumentMeta
from ingest.vector_store.edge import EdgeVectorStore
from ingest.vector_store.terms import indexed_values
from tests.fakes.fake_embedder import FakeEmbedder

META = DocumentMeta("doc-1", 1, "default", "trains.txt", "travel/trains.txt", {"year": 2024})


@pytest.fixture
def embedder() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def service(embedder: FakeEmbedder) -> Iterator[EmbeddingService]:
    service = EmbeddingService(embedder)
    yield service
    service.close()


def chunks_of(*texts: str) -> list[Chunk]:
    return [Chunk(index, text, 0, len(text), content_hash_of(text)) for index, text in enumerate(texts)]


def embedded(embedder: FakeEmbedder) -> list[str]:
    return [text for batch in embedder.batches for text in batch]


def test_a_file_is_found_after_its_two_stages(
    tmp_path: Path, store: VectorStore, service: EmbeddingService, embedder: FakeEmbedder
) -> None:
    source, out = tmp_path / "blob", tmp_path / "chunks" / "1.jsonl"
    source.write_text(
        "# Travel\n\n## Trains\n\nThe night train leaves at ten.\n\n## Boats\n\nThe ferry leaves at noon.\n"
    )
    parse_to_chunks(source, "travel.md", out, load_settings(data_dir=tmp_path / "data", _env_file=None))
    index_document(read_chunks(out), document=META, embedder=service, store=store)
    best = store.search(embedder.vector("ferry noon"), "ferry", 1)[0].payload
    assert best == {
        "document_id": "doc-1",
        "generation": 1,
        "chunk_index": 1,
        "collection": "default",
        "filename": "trains.txt",
        "path": "travel/trains.txt",
        "type": ["txt"],
        **indexed_values(best),
        "section": "Travel > Boats",
        "start": 53,
        "end": 88,
        "header": "Travel",
        "content_hash": content_hash_of(best["text"], "Travel"),
        "attributes": {"year": 2024},
        "text": "## Boats\n\nThe ferry leaves at noon.",
    }
    assert set(embedder.purposes) == {"document"}


def test_doing_it_twice_embeds_once(store: VectorStore, service: EmbeddingService, embedder: FakeEmbedder) -> None:
    chunks = chunks_of("alpha", "beta", "alpha")
    for _ in range(2):
        index_document(chunks, document=META, embedder=service, store=store)
    assert sorted(embedded(embedder)) == ["alpha", "beta"]
    assert store.count("doc-1", 1) == 3


def test_a_new_generation_embeds_only_what_changed(
    store: VectorStore, service: EmbeddingService, embedder: FakeEmbedder
) -> None:
    index_document(chunks_of("alpha", "beta"), document=META, embedder=service, store=store)
    embedder.batches.clear()
    new = replace(META, generation=2)
    index_document(chunks_of("alpha", "gamma", "beta"), document=new, embedder=service, store=store)
    assert embedded(embedder) == ["gamma"]
    assert (store.count("doc-1", 1), store.count("doc-1", 2)) == (2, 3)


def test_the_same_text_in_another_document_is_not_embedded_again(
    store: VectorStore, service: EmbeddingService, embedder: FakeEmbedder
) -> None:
    for document_id in ("doc-1", "doc-2"):
        index_document(chunks_of("alpha"), document=replace(META, id=document_id), embedder=service, store=store)
    assert embedded(embedder) == ["alpha"]
    assert (store.count("doc-1", 1), store.count("doc-2", 1)) == (1, 1)


def test_texts_of_like_length_are_embedded_together(
    store: VectorStore, service: EmbeddingService, embedder: FakeEmbedder
) -> None:
    texts = [f"{'word ' * (1 + number * 7 % 30)}{number}" for number in range(30)]
    index_document(chunks_of(*texts), document=META, embedder=service, store=store, batch=4)
    assert max(len(batch) for batch in embedder.batches) == 4
    assert [len(text) for batch in embedder.batches for text in sorted(batch, key=len)] == sorted(map(len, texts))


def test_it_stops_between_batches_and_can_go_on(
    store: VectorStore, service: EmbeddingService, embedder: FakeEmbedder
) -> None:
    chunks = chunks_of(*(f"text {number}" for number in range(200)))
    steps = index_steps([ChunkedDocument(META, chunks)], embedder=service, store=store)
    for _ in range(14):
        progress = next(steps)
    steps.close()
    assert 0 < progress.embedded == progress.chunks < 200
    done = store.count("doc-1", 1)
    assert 0 < done < 200
    index_document(chunks, document=META, embedder=service, store=store)
    assert store.count("doc-1", 1) == 200
    assert len(embedded(embedder)) < 200 + 200 - done + 1


def test_points_left_by_an_earlier_try_with_more_chunks_go(store: VectorStore, service: EmbeddingService) -> None:
    index_document(chunks_of("a", "b", "c"), document=META, embedder=service, store=store)
    index_document(chunks_of("ab", "c"), document=META, embedder=service, store=store)
    assert store.count("doc-1", 1) == 2


def test_a_store_that_loses_points_is_noticed(store: VectorStore, service: EmbeddingService) -> None:
    class Forgetful:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def upsert(self, points: Any) -> None:
            store.upsert(points[1:])

    with pytest.raises(InternalError, match="has 1 points of doc-1, not 2"):
        index_document(chunks_of("alpha", "beta"), document=META, embedder=service, store=Forgetful())


#: About 300 printed pages without a heading, so that only the text determines where chunks end.
PAGES = 300
SENTENCES_OF_A_PAGE = 22


def book(edit: str | None = None) -> str:
    """Return paragraphs of 1 to 60 sentences, the last far longer than a chunk. `edit` is inserted on page 100."""
    pages = PAGES * SENTENCES_OF_A_PAGE
    sentences = [f"Entry {number * 7919 % 10007} names row {number * 31 % 997} of {number}." for number in range(pages)]
    paragraphs, start = [], 0
    while start < len(sentences):
        size = 1 + len(paragraphs) * 17 % 60
        paragraphs.append(" ".join(sentences[start : start + size]))
        start += size
    if edit is not None:
        at = len(paragraphs) // 3
        paragraphs[at] = f"{paragraphs[at][:40]} {edit} {paragraphs[at][40:]}"
    return "\n\n".join(paragraphs)


def test_changing_a_paragraph_of_300_pages_embeds_only_the_chunks_it_touches(
    tmp_path: Path, embedder: FakeEmbedder, service: EmbeddingService
) -> None:
    settings = load_settings(data_dir=tmp_path / "data", _env_file=None)
    store = EdgeVectorStore(tmp_path / "vectors", embedder.model_name, embedder.dimension)
    edits = [None, "This was put in later, and is longer than before. " * 12]
    counts = []
    for generation, edit in enumerate(edits, 1):
        (tmp_path / "book").write_text(book(edit))
        parse_to_chunks(tmp_path / "book", "book.txt", tmp_path / "out.jsonl", settings)
        chunks = read_chunks(tmp_path / "out.jsonl")
        meta = replace(META, generation=generation)
        embedded = index_document(chunks, document=meta, embedder=service, store=store)
        assert store.count(META.id, generation) == len(chunks)
        counts.append((len(chunks), embedded))
    store.close()
    (all_chunks, first), (_, changed) = counts
    assert all_chunks > PAGES and first == all_chunks
    assert 2 <= changed <= 9, counts
