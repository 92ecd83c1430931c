"""Measures what the cosines of an embedding model mean: those of texts that have nothing to do with one another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from core.cosine_scale import CosineScale
from ingest.retrieval.unrelated_texts import PAIRS
from ingest.vector_store import VectorStore
from ingest.vector_store.base import Vector

#: The threshold is measured on the chunks of a store once it has so many.
LEAST_POINTS = 500
#: The share of unrelated questions, and of pairs of a question and an unrelated passage, that is below the threshold.
UNRELATED_QUESTIONS, UNRELATED_PAIRS = 0.8, 0.985
#: A threshold measured on chunks is at most so many standard deviations of unrelated pairs above that of the pairs: a
#: store about everything answers many of the questions, whose cosines are then no measure.
MOST_DEVIATIONS = 1.5
#: What `measure_scale` returns for the starter model. So a new installation does not have to measure it.
STARTER_SCALE = CosineScale(floor=0.056, threshold=0.278)

Cosines = npt.NDArray[np.float32]


class PairEmbedder(Protocol):
    """The part of `ingest.embedding.service.EmbeddingService` that this uses."""

    def embed(self, texts: Sequence[str], purpose: Literal["query", "document"]) -> Sequence[Vector] | Any:
        """Return a vector of length 1 for each text: float32 [len(texts), dimension]."""
        ...


def measure_scale(embedder: PairEmbedder) -> CosineScale:
    """Measure the scale of a model on the texts that the program brings.

    Raises:
        Unavailable: the model is shutting down.
    """
    queries = np.asarray(embedder.embed([question for question, _ in PAIRS], "query"))
    return _scale_of(_cosines(embedder, queries))


def measure_in_store(embedder: PairEmbedder, store: VectorStore, points: int) -> CosineScale:
    """Measure the threshold of a model on the chunks of a store, by questions that hardly any of them answers.

    The best of many chunks is closer to a question than one chunk, and the more so the more there are. Some of the
    questions may have answers in the store: a quantile is not moved by them.

    Args:
        points: the number of points in the store, which is kept with the scale.

    Raises:
        Unavailable: the model is shutting down, or the store's server does not answer.
    """
    queries = np.asarray(embedder.embed([question for question, _ in PAIRS], "query"))
    cosines = _cosines(embedder, queries)
    brought = _scale_of(cosines)
    best = [_best_cosine(store, vector) for vector in queries]
    most = brought.threshold + MOST_DEVIATIONS * float(_unrelated(cosines).std())
    return CosineScale(brought.floor, min(most, float(np.quantile(best, UNRELATED_QUESTIONS))), points)


def _cosines(embedder: PairEmbedder, queries: Cosines) -> Cosines:
    """Return the cosines of all questions to all passages: float32 [questions, passages]."""
    cosines: Cosines = queries @ np.asarray(embedder.embed([passage for _, passage in PAIRS], "document")).T
    return cosines


def _scale_of(cosines: Cosines) -> CosineScale:
    unrelated = _unrelated(cosines)
    # A mean below 0 needs no floor.
    floor = max(0.0, float(unrelated.mean()))
    return CosineScale(floor, float(np.quantile(unrelated, UNRELATED_PAIRS)))


def _best_cosine(store: VectorStore, vector: Vector) -> float:
    return max((point.dense_score or 0.0 for point in store.search(vector, "", 1)), default=0.0)


def _unrelated(cosines: Cosines) -> Cosines:
    """Return the cosines of questions to the passages of other questions, in one row."""
    return cosines[~np.eye(len(PAIRS), dtype=bool)]
