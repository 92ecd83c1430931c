"""The quality of search: vectors alone, BM25 alone, and both fused, over the same questions.

    python -m benchmarks.quality

It uses the real chunker, embedding model and embedded store. Each question is answered by one document.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.quality_corpus import Question, build
from benchmarks.report import print_table
from core.settings import load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.indexing.chunk_files import read_chunks
from ingest.indexing.points import index_document
from ingest.pipeline import parse_to_chunks
from ingest.vector_store import ScoredPoint
from ingest.vector_store.base import DocumentMeta
from ingest.vector_store.edge import EdgeVectorStore

NDCG_AT, RECALL_AT = 10, 3
#: Chunks fetched for a question: enough that they come from at least ten documents.
FETCHED = 60


def rank_of(document: str, points: Sequence[ScoredPoint]) -> int | None:
    """Return the rank of a document among the documents of the points, counted from 1, or None if it has none."""
    documents = list(dict.fromkeys(point.payload["document_id"] for point in points))
    return documents.index(document) + 1 if document in documents else None


def scores(ranks: Sequence[int | None]) -> tuple[float, float]:
    """Return nDCG@10 and recall@3, where each question has one right document."""
    gains = [1 / math.log2(rank + 1) for rank in ranks if rank is not None and rank <= NDCG_AT]
    found = [rank for rank in ranks if rank is not None and rank <= RECALL_AT]
    return sum(gains) / len(ranks), len(found) / len(ranks)


def fill(folder: Path, documents: dict[str, str], store: EdgeVectorStore, service: EmbeddingService) -> int:
    """Parse, chunk, embed and store the documents, and return the number of chunks."""
    settings = load_settings(_env_file=None, data_dir=folder)
    count = 0
    for name, text in documents.items():
        (folder / "file").write_text(text, "utf-8")
        parse_to_chunks(folder / "file", name, folder / "chunks", settings)
        chunks = read_chunks(folder / "chunks")
        meta = DocumentMeta(name, 1, "default", name)
        index_document(chunks, document=meta, embedder=service, store=store)
        count += len(chunks)
    return count


def compare(store: EdgeVectorStore, service: EmbeddingService, questions: Sequence[Question]) -> list[tuple[str, ...]]:
    """Return a row for each kind of question and one for all, with the scores of each way to search."""
    ways = {"dense": (True, False), "BM25": (False, True), "hybrid": (True, True)}
    vectors = service.embed([question.text for question in questions], purpose="query")
    ranks = {
        way: [
            rank_of(
                question.document,
                store.search(vector if by_vector else None, question.text if by_terms else "", FETCHED),
            )
            for question, vector in zip(questions, vectors, strict=True)
        ]
        for way, (by_vector, by_terms) in ways.items()
    }
    rows = []
    for kind in (*dict.fromkeys(question.kind for question in questions), None):
        at = [number for number, question in enumerate(questions) if kind in (None, question.kind)]
        cells = []
        for way in ways:
            ndcg, recall = scores([ranks[way][number] for number in at])
            cells.append(f"{ndcg:.3f} / {recall:.3f}")
        rows.append((kind or "all", str(len(at)), *cells))
    return rows


def main() -> None:
    """Run the benchmark and print its table."""
    documents, questions = build()
    service = EmbeddingService(Embedder.from_settings(load_settings(_env_file=None)))
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        store = EdgeVectorStore(Path(folder) / "vectors", service.embedder.model_name, service.embedder.dimension)
        chunks = fill(Path(folder), documents, store, service)
        rows = compare(store, service, questions)
        store.close()
    service.close()
    print_table(
        f"nDCG@{NDCG_AT} / recall@{RECALL_AT} over {len(documents)} documents in {chunks} chunks",
        ("questions", "number", "dense", "BM25", "hybrid"),
        rows,
    )


if __name__ == "__main__":
    main()
