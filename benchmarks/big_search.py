"""Search in an embedded store of 500,000 chunks: latency, recall, writing, memory and disk.

    python -m benchmarks.big_search --folder /tmp/big [--chunks 500000] [--searches 200] [--fill-seconds 200]

The store in the folder is kept, and filled further by each run until it has all chunks: only then is it measured.
Chunks are those of `benchmarks.synthetic_chunks`. Searches go through the retriever and ask for 5 hits, that is, for
100 candidates of each ranking; embedding the query is not measured. Recall is that of the 10 best by cosine, against a
comparison of all vectors with numpy. Memory is that of a process that has opened the store and searched it.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from benchmarks.report import percentile, print_table
from benchmarks.synthetic_chunks import BATCH_CHUNKS, DIMENSION, SCOPES, Question, Scope, SyntheticChunks
from core.messages import SearchOptions
from ingest.retrieval.retriever import Retriever
from ingest.vector_store import Point
from ingest.vector_store.base import Vector
from ingest.vector_store.edge import EdgeVectorStore

#: The number of points that the indexer writes at a time.
WRITE_POINTS = 64
TARGET_P99_MS = 50.0
TARGET_RECALL = 0.98
RECALL_HITS = 10
#: Questions whose exact answers are computed.
RECALL_QUESTIONS = 100
#: Cosine that a hit must reach unless it has the rare words: less than that of any chunk's question.
THRESHOLD = 0.3


class KnownVectors:
    """A stand-in for the embedding model that has the vectors ready."""

    def __init__(self, questions: list[Question]) -> None:
        self._vectors = {question.text: question.vector for question in questions}

    def embed(self, texts: Sequence[str], **_: str) -> list[Vector]:
        """Return the vectors of questions."""
        return [self._vectors[text] for text in texts]


def fill(store: EdgeVectorStore, chunks: int, seconds: float) -> int:
    """Write batches until the store has all chunks or the time is over, and return how many it has."""
    corpus, started, written = SyntheticChunks(), time.perf_counter(), 0
    first = next((at for at in range(chunks // BATCH_CHUNKS) if not _is_complete(store, at)), chunks // BATCH_CHUNKS)
    for number in range(first, chunks // BATCH_CHUNKS):
        if time.perf_counter() - started > seconds:
            return number * BATCH_CHUNKS
        for points in _parts(corpus.points(number)):
            store.upsert(points)
        written += BATCH_CHUNKS
    return chunks


def _is_complete(store: EdgeVectorStore, batch: int) -> bool:
    last = ((batch + 1) * BATCH_CHUNKS - 1) // 20
    return store.count(f"doc-{last}", 1) == 20


def _parts(points: Iterator[Point]) -> Iterator[list[Point]]:
    while part := list(itertools.islice(points, WRITE_POINTS)):
        yield part


def search_row(
    store: EdgeVectorStore, questions: list[Question], scope: Scope, best: list[set[str]]
) -> tuple[str, ...]:
    """Return the row of searches within a scope."""
    retriever = Retriever(store, KnownVectors(questions), lambda ids: dict.fromkeys(ids, 1), THRESHOLD)
    options = SearchOptions(top_k=5, collections=list(scope.collections), filters=scope.filters)
    took = []
    for question in questions:
        started = time.perf_counter()
        retriever.search([question.text], options)
        took.append((time.perf_counter() - started) * 1000)
    found = [
        {hit.id for hit in store.search(question.vector, "", RECALL_HITS, scope.collections, scope.filters)}
        for question in questions[: len(best)]
    ]
    recall = sum(len(hits & exact) for hits, exact in zip(found, best, strict=True)) / sum(map(len, best))
    p99 = percentile(took, 0.99)
    return (
        scope.name,
        str(len(took)),
        f"{percentile(took, 0.5):.1f} ms",
        f"{p99:.1f} ms",
        f"{max(took):.0f} ms",
        f"{p99 / TARGET_P99_MS:.2f}",
        f"{recall:.3f}",
        f"{recall / TARGET_RECALL:.3f}",
    )


def write_row(store: EdgeVectorStore, chunks: int) -> list[tuple[str, str]]:
    """Write a further batch, find each part of it, remove it, and return the rows."""
    corpus, wrote, found = SyntheticChunks(), [], []
    for points in _parts(corpus.points(chunks // BATCH_CHUNKS)):
        started = time.perf_counter()
        store.upsert(points)
        wrote.append((time.perf_counter() - started) * 1000)
        hits = store.search(points[0].vector, points[0].text, 20)
        found.append((time.perf_counter() - started) * 1000)
        if points[0].id not in {hit.id for hit in hits}:
            raise SystemExit(f"the point {points[0].id} was written, but it is not found")
    documents = sorted({str(point.payload["document_id"]) for point in corpus.points(chunks // BATCH_CHUNKS)})
    started = time.perf_counter()
    store.delete_documents(documents)
    removed = time.perf_counter() - started
    return [
        (f"writing {WRITE_POINTS} chunks", f"p50 {percentile(wrote, 0.5):.0f} ms, longest {max(wrote):.0f} ms"),
        ("writing them, then finding one", f"p50 {percentile(found, 0.5):.0f} ms, longest {max(found):.0f} ms"),
        (f"removing {len(documents)} documents", f"{removed * 1000:.0f} ms"),
    ]


def size_rows(folder: Path) -> list[tuple[str, str]]:
    """Return the memory of this process and the size of the store on disk."""
    memory = psutil.Process().memory_info()
    disk = sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
    return [
        ("memory of the process", f"{memory.rss >> 20:,} MiB"),
        ("of it mapped files, which the system may drop", f"{memory.shared >> 20:,} MiB"),
        ("store on disk", f"{disk >> 20:,} MiB"),
    ]


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=500_000)
    parser.add_argument("--searches", type=int, default=200)
    parser.add_argument("--fill-seconds", type=float, default=200)
    arguments = parser.parse_args()
    started = time.perf_counter()
    store = EdgeVectorStore(arguments.folder, "benchmark", DIMENSION)
    opened = time.perf_counter() - started
    started = time.perf_counter()
    chunks = fill(store, arguments.chunks, arguments.fill_seconds)
    filled = time.perf_counter() - started
    if chunks < arguments.chunks:
        print(f"{chunks:,} of {arguments.chunks:,} chunks after {filled:.0f} s: run it again")
        store.close()
        return
    questions = SyntheticChunks().questions(arguments.searches, chunks)
    best = {
        scope.name: SyntheticChunks().best_ids(questions[:RECALL_QUESTIONS], chunks, scope, RECALL_HITS)
        for scope in SCOPES
    }
    rows = [search_row(store, questions, scope, best[scope.name]) for scope in SCOPES]
    columns = ("hybrid search in", "times", "p50", "p99", "longest", "p99 to 50 ms", "recall@10", "to 0.98")
    print_table(f"{chunks:,} chunks of {DIMENSION} dimensions in the embedded store", columns, rows)
    others = [("opening the store", f"{opened:.1f} s"), *size_rows(arguments.folder), *write_row(store, chunks)]
    print_table("The same store", ("measure", "value"), others)
    store.close()


if __name__ == "__main__":
    main()
