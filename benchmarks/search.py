"""Search in the embedded store: p50 and p99 at 10,000 and 100,000 chunks, alone and while chunks are being written.

    python -m benchmarks.search [--chunks 10000] [--searches 300] [--embed]

With `--embed`, searches also run while the real model embeds further chunks and writes them, as indexing does.
Vectors and texts are synthetic: clusters of unit vectors, words by Zipf's law. Embedding the query is not measured.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.report import percentile, print_table
from core.messages import Filter, SearchOptions
from core.settings import load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.retrieval.retriever import Retriever
from ingest.vector_store import Point, point_id
from ingest.vector_store.base import Vector
from ingest.vector_store.edge import EdgeVectorStore

DIMENSION = 384
CLUSTERS = 200
WORDS_PER_CHUNK = 60
VOCABULARY = 20_000
CHUNKS_PER_DOCUMENT = 20
#: The number of points that the indexer writes at a time.
WRITE_POINTS = 64
#: Pause between two searches while chunks are written: without it, the searches would starve the writer.
PAUSE_SECONDS = 0.02
TARGET_P99_MS = 20.0
TARGET_STALL_MS = 200.0
FILTER = Filter("and", filters=[Filter("eq", "shelf", "shelf-3"), Filter("gte", "year", 2010)])


class Corpus:
    """Chunks and queries that are the same in every run."""

    def __init__(self, seed: int = 7) -> None:
        self._random = np.random.default_rng(seed)
        self._centres = self._random.standard_normal((CLUSTERS, DIMENSION)).astype(np.float32)

    def vector(self) -> Vector:
        """Return a vector of length 1 near the centre of a cluster."""
        centre = self._centres[self._random.integers(CLUSTERS)]
        vector = centre + self._random.standard_normal(DIMENSION).astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)

    def words(self, count: int) -> str:
        """Return words with the frequencies of a natural language."""
        ranks = np.minimum(self._random.zipf(1.15, count), VOCABULARY)
        return " ".join(f"w{rank}" for rank in ranks)

    def points(self, start: int, stop: int) -> Iterator[list[Point]]:
        """Yield the chunks with these numbers, in batches as they are written."""
        for at in range(start, stop, WRITE_POINTS):
            yield [self._point(number) for number in range(at, min(at + WRITE_POINTS, stop))]

    def _point(self, number: int) -> Point:
        document, index = divmod(number, CHUNKS_PER_DOCUMENT)
        payload = {
            "document_id": f"doc-{document}",
            "generation": 1,
            "chunk_index": index,
            "collection": "default",
            "filename": f"{document}.txt",
            "content_hash": f"hash-{number}",
            "attributes": {"shelf": f"shelf-{document % 10}", "year": 2000 + document % 20},
        }
        return Point(point_id(f"doc-{document}", 1, index), self.vector(), self.words(WORDS_PER_CHUNK), payload)


class FixedQueries:
    """A stand-in for the embedding model that has the vectors ready."""

    def __init__(self, corpus: Corpus, count: int) -> None:
        self.queries = [corpus.words(6) for _ in range(count)]
        self._vectors = {query: corpus.vector() for query in self.queries}

    def embed(self, texts: Sequence[str], **_: str) -> list[Vector]:
        """Return the vectors of queries."""
        return [self._vectors[text] for text in texts]


def measure(queries: FixedQueries, search: Callable[[str], object], enough: Callable[[int], bool]) -> list[float]:
    """Return the milliseconds of each search, one after the other, until there are enough."""
    took: list[float] = []
    while not enough(len(took)):
        started = time.perf_counter()
        search(queries.queries[len(took) % len(queries.queries)])
        took.append((time.perf_counter() - started) * 1000)
    return took


def row(name: str, took: list[float], limit_ms: float | None) -> tuple[str, ...]:
    """Return a row of the table. The target is for the p99, or for the longest search while chunks are written."""
    longest = max(took)
    held = longest if limit_ms == TARGET_STALL_MS else percentile(took, 0.99)
    ratio = "" if limit_ms is None else f"{held / limit_ms:.2f}"
    target = "" if limit_ms is None else f"{limit_ms:.0f} ms"
    return (
        name,
        str(len(took)),
        f"{percentile(took, 0.5):.1f} ms",
        f"{percentile(took, 0.99):.1f} ms",
        f"{longest:.0f} ms",
        target,
        ratio,
    )


def run(folder: Path, chunks: int, searches: int, *, embed: bool) -> list[tuple[str, ...]]:
    """Search a store while it is filled and when it is full, and return the rows."""
    store = EdgeVectorStore(folder, "benchmark", DIMENSION)
    corpus = Corpus()
    queries = FixedQueries(Corpus(seed=11), 200)
    retriever = Retriever(store, queries, lambda ids: dict.fromkeys(ids, 1), default_threshold=-1.0)
    kinds = {
        "hybrid": SearchOptions(top_k=5),
        "filtered": SearchOptions(top_k=5, filters=FILTER),
    }
    rows = []
    filled = threading.Event()
    started = time.perf_counter()

    def fill() -> None:
        try:
            for points in corpus.points(0, chunks):
                store.upsert(points)
        finally:
            filled.set()

    writer = threading.Thread(target=fill)
    writer.start()
    while_filled = measure(
        queries, lambda query: retriever.search([query], kinds["hybrid"]), lambda _: filled.wait(PAUSE_SECONDS)
    )
    writer.join()
    rate = chunks / (time.perf_counter() - started)
    rows.append(row(f"hybrid, while {chunks:,} are written ({rate:,.0f}/s)", while_filled, TARGET_STALL_MS))
    gc.collect()
    for kind, options in kinds.items():
        took = measure(
            queries,
            lambda query, options=options: retriever.search([query], options),  # type: ignore[misc]
            lambda count: count >= searches,
        )
        rows.append(row(f"{kind}, {chunks:,} chunks", took, TARGET_P99_MS if chunks <= 10_000 else None))
    if embed:
        rows.append(while_embedding(store, retriever, queries, chunks, searches))
    store.close()
    return rows


def while_embedding(
    store: EdgeVectorStore, retriever: Retriever, queries: FixedQueries, chunks: int, searches: int
) -> tuple[str, ...]:
    """Return the row for searches during indexing: embedding on all cores, and writing."""
    service = EmbeddingService(Embedder.from_settings(load_settings(_env_file=None)))
    corpus, stopped, written = Corpus(seed=13), threading.Event(), 0

    def index() -> None:
        nonlocal written
        for points in corpus.points(chunks, chunks * 2):
            if stopped.is_set():
                return
            vectors = service.embed([point.text for point in points], purpose="document", priority="bulk")
            store.upsert([replace(point, vector=vector) for point, vector in zip(points, vectors, strict=True)])
            written += len(points)

    thread = threading.Thread(target=index)
    thread.start()
    started = time.perf_counter()
    took = measure(
        queries,
        lambda query: retriever.search([query], SearchOptions(top_k=5)),
        lambda count: stopped.wait(PAUSE_SECONDS) or count >= searches,
    )
    stopped.set()
    rate = written / (time.perf_counter() - started)
    thread.join()
    service.close()
    return row(f"hybrid, {chunks:,} chunks, while others are embedded ({rate:,.0f}/s)", took, TARGET_STALL_MS)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--searches", type=int, default=300)
    parser.add_argument("--embed", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="search-") as folder:
        rows = run(Path(folder), arguments.chunks, arguments.searches, embed=arguments.embed)
    columns = ("search", "times", "p50", "p99", "longest", "target", "ratio")
    print_table("Search in the embedded store, without the query's embedding", columns, rows)


if __name__ == "__main__":
    main()
