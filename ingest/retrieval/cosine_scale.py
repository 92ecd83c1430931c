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
#: The shares of unrelated questions and of unrelated pairs of question and passage that are below what is measured.
UNRELATED_QUESTIONS, UNRELATED_PAIRS = 0.8, 0.985
#: A threshold measured on chunks is at most so many standard deviations of unrelated pairs above that of the pairs: a
#: store about everything answers many of the questions, whose cosines are then no measure.
MOST_DEVIATIONS = 1.5
#: How far above the floor a threshold is, as a multiple of what was measured. It is for chunks that share no words with
#: the question, and the words that a chunk shares lower it (`ingest.retrieval.relevance`).
BROUGHT_MARGIN, MEASURED_MARGIN = 1.4, 1.1
#: What `measure_scale` returns for the starter model. So a new installation does not have to measure it.
STARTER_SCALE = CosineScale(floor=0.056, threshold=0.367)

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
    floor, least = _floor_and_least(_cosines(embedder, queries))
    return CosineScale(floor, floor + BROUGHT_MARGIN * (least - floor))


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
    floor, least = _floor_and_least(cosines)
    best = [_best_cosine(store, vector) for vector in queries]
    most = least + MOST_DEVIATIONS * float(_unrelated(cosines).std())
    measured = min(most, float(np.quantile(best, UNRELATED_QUESTIONS)))
    return CosineScale(floor, floor + MEASURED_MARGIN * (measured - floor), points)


def _cosines(embedder: PairEmbedder, queries: Cosines) -> Cosines:
    """Return the cosines of all questions to all passages: float32 [questions, passages]."""
    cosines: Cosines = queries @ np.asarray(embedder.embed([passage for _, passage in PAIRS], "document")).T
    return cosines


def _floor_and_least(cosines: Cosines) -> tuple[float, float]:
    """Return the mean of unrelated pairs, and the cosine that hardly any of them reaches."""
    unrelated = _unrelated(cosines)
    # A mean below 0 needs no floor.
    return max(0.0, float(unrelated.mean())), float(np.quantile(unrelated, UNRELATED_PAIRS))


def _best_cosine(store: VectorStore, vector: Vector) -> float:
    return max((point.dense_score or 0.0 for point in store.search(vector, "", 1)), default=0.0)


def _unrelated(cosines: Cosines) -> Cosines:
    """Return the cosines of questions to the passages of other questions, in one row."""
    return cosines[~np.eye(len(PAIRS), dtype=bool)]
