"""The quality of search: vectors alone, BM25 alone, and both together, over the same questions, with each change off.

    python -m benchmarks.quality [--thresholds] [--models NAME …]

It uses the real chunker, embedding model and embedded store. Each question is answered by one document. The last table,
or with `--thresholds` the only one, says how many questions off the topic find nothing, and how many others are lost,
for each model that is installed. Vectors are kept, so that a run that was stopped goes on, and another one is quick.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import msgspec

from benchmarks.embedding_cache import MODELS, CachedModel, models
from benchmarks.off_topic_questions import QUESTIONS
from benchmarks.quality_corpus import Question, build
from benchmarks.quality_sets import headings, tables_and_pages
from benchmarks.report import print_table
from core.messages import SearchOptions
from core.settings import load_settings
from ingest.indexing.chunk_files import read_chunks
from ingest.indexing.points import index_document
from ingest.parsed_document import Chunk, content_hash_of
from ingest.pipeline import parse_to_chunks
from ingest.retrieval.cosine_scale import measure_in_store, measure_scale
from ingest.retrieval.retriever import Retriever, Scope, search_together
from ingest.vector_store import ScoredPoint
from ingest.vector_store.base import DocumentMeta, Vector
from ingest.vector_store.edge import EdgeVectorStore
from ingest.vector_store.fusion import Fusion

NDCG_AT, RECALL_AT = 10, 3
#: Points taken from each ranking, and the k of reciprocal ranks, which the scores replaced.
FETCHED, RANKS_K = 100, 2
Documents = dict[str, str]
#: Returns points for a question and its vector, best first.
Find = Callable[[EdgeVectorStore, CachedModel, str, Vector], Sequence[ScoredPoint]]


def rank_of(document: str, points: Sequence[ScoredPoint]) -> int | None:
    """Return the rank of a document among the documents of the points, counted from 1, or None if it has none."""
    documents = list(dict.fromkeys(point.payload["document_id"] for point in points))
    return documents.index(document) + 1 if document in documents else None


def scores(ranks: Sequence[int | None]) -> tuple[float, float]:
    """Return nDCG@10 and recall@3, where each question has one right document."""
    gains = [1 / math.log2(rank + 1) for rank in ranks if rank is not None and rank <= NDCG_AT]
    found = [rank for rank in ranks if rank is not None and rank <= RECALL_AT]
    return sum(gains) / len(ranks), len(found) / len(ranks)


def chunks_of(documents: Documents) -> dict[str, list[Chunk]]:
    """Parse and chunk the documents."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        settings = load_settings(_env_file=None, data_dir=Path(folder))
        for name, text in documents.items():
            (Path(folder) / "file").write_text(text, "utf-8")
            parse_to_chunks(Path(folder) / "file", name, Path(folder) / "chunks", settings)
            found[name] = read_chunks(Path(folder) / "chunks")
    return found


@contextmanager
def filled(chunks: dict[str, list[Chunk]], model: CachedModel, *, codes: bool = True) -> Iterator[EdgeVectorStore]:
    """Embed and store the chunks."""
    unchanged = patch("ingest.vector_store.sparse.with_codes", lambda text: text)
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        store = EdgeVectorStore(Path(folder) / "vectors", model.model_name, model.dimension)
        if not codes:
            unchanged.start()
        for name, own in chunks.items():
            index_document(own, document=DocumentMeta(name, 1, "default", name), embedder=model, store=store)
        yield store
        if not codes:
            unchanged.stop()
        store.close()


def without_headers(chunks: dict[str, list[Chunk]]) -> dict[str, list[Chunk]]:
    """Return the chunks without their headers."""
    return {
        name: [msgspec.structs.replace(one, header="", content_hash=content_hash_of(one.text)) for one in own]
        for name, own in chunks.items()
    }


def by_vector(store: EdgeVectorStore, _: CachedModel, __: str, vector: Vector) -> Sequence[ScoredPoint]:
    """Rank by the cosine alone."""
    return store.search(vector, "", FETCHED)


def by_terms(store: EdgeVectorStore, _: CachedModel, text: str, __: Vector) -> Sequence[ScoredPoint]:
    """Rank by BM25 alone."""
    return store.search(None, text, FETCHED)


def by_ranks(store: EdgeVectorStore, model: CachedModel, text: str, vector: Vector) -> Sequence[ScoredPoint]:
    """Rank by reciprocal ranks, as before."""
    points: dict[str, ScoredPoint] = {}
    for ranking in (by_vector(store, model, text, vector), by_terms(store, model, text, vector)):
        for rank, point in enumerate(ranking):
            known = points.get(point.id, replace(point, score=0.0))
            points[point.id] = replace(known, score=known.score + 1 / (RANKS_K + rank))
    return sorted(points.values(), key=lambda point: -point.score)


def by_scores(store: EdgeVectorStore, model: CachedModel, text: str, vector: Vector) -> Sequence[ScoredPoint]:
    """Rank by scores."""
    return store.search(vector, text, FETCHED, fusion=Fusion(cosine_floor=measure_scale(model).floor))


def ranks(store: EdgeVectorStore, model: CachedModel, questions: Sequence[Question], find: Find) -> list[int | None]:
    """Return the rank of the right document of each question."""
    vectors = model.embed([question.text for question in questions], "query")
    return [
        rank_of(question.document, find(store, model, question.text, vector))
        for question, vector in zip(questions, vectors, strict=True)
    ]


def compare(model: CachedModel, documents: Documents, questions: Sequence[Question]) -> list[tuple[str, ...]]:
    """Return a row for each kind of question and one for all, with the scores of each way to search."""
    chunks = chunks_of(documents)
    found: list[list[int | None]] = []
    with filled(without_headers(chunks), model, codes=False) as store:
        found += [ranks(store, model, questions, find) for find in (by_ranks, by_scores)]
    with filled(chunks, model, codes=False) as store:
        found += [ranks(store, model, questions, find) for find in (by_ranks, by_scores)]
    with filled(chunks, model) as store:
        found += [ranks(store, model, questions, find) for find in (by_scores, by_vector, by_terms)]
    rows = []
    for kind in (*dict.fromkeys(question.kind for question in questions), None):
        at = [number for number, question in enumerate(questions) if kind in (None, question.kind)]
        cells = [scores([column[number] for number in at]) for column in found]
        rows.append((kind or "all", str(len(at)), *(f"{ndcg:.3f} / {recall:.3f}" for ndcg, recall in cells)))
    return rows


def thresholds(model: CachedModel, documents: Documents, questions: Sequence[Question]) -> tuple[str, ...]:
    """Return the row of a model: how many questions find nothing, of those off the topic and of the others.

    Both with the threshold that the program brings and with that of the chunks, which is used once there are enough.
    """
    brought = measure_scale(model)
    with filled(chunks_of(documents), model) as store:
        points = store.point_count()
        measured = measure_in_store(model, store, points)
        retriever = Retriever(store, model, lambda ids: dict.fromkeys(ids, 1), brought.threshold)

        def find_nothing(texts: Sequence[str], threshold: float) -> float:
            scope = Scope(retriever, fusion=Fusion(cosine_floor=brought.floor), threshold=threshold)
            empty = [not search_together([scope], [text], SearchOptions(top_k=3)) for text in texts]
            return sum(empty) / len(empty)

        cells = [str(points), f"{brought.floor:.2f}"]
        for threshold in (brought.threshold, measured.threshold):
            off_topic = find_nothing(QUESTIONS, threshold)
            lost = find_nothing([question.text for question in questions], threshold)
            cells += [f"{threshold:.2f}", f"{off_topic:.0%}", f"{lost:.1%}"]
    return (model.model_name, *cells)


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description="The quality of search.")
    parser.add_argument("--thresholds", action="store_true", help="only the table of questions that find nothing")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    arguments = parser.parse_args()
    ways = ("ranks, no headers", "scores", "headers", "scores and headers", "and codes (now)", "dense", "BM25")
    sets = {"manuals, notes, documentation": build(), "headings": headings(), "tables and pages": tables_and_pages()}
    known = models(arguments.models)
    for name, (documents, questions) in () if arguments.thresholds else sets.items():
        print_table(
            f"{name}: nDCG@{NDCG_AT} / recall@{RECALL_AT} over {len(documents)} documents",
            ("questions", "number", *ways),
            compare(known[0], documents, questions),
        )
    rows = []
    for model in known:
        for name, asked in sets.items():
            rows.append((name, *thresholds(model, *asked)))
            print(*rows[-1], sep=" | ", flush=True)
    of_threshold = ("off topic: nothing found", "others lost")
    names = ("documents", "model", "chunks", "floor", "brought", *of_threshold, "measured", *of_threshold)
    print_table("Questions that find nothing", names, rows)


if __name__ == "__main__":
    main()
