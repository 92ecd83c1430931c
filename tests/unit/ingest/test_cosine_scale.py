"""What the cosines of a model mean, measured on texts that have nothing to do with one another."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from core.catalog import StoreRecord
from core.cosine_scale import CosineScale
from core.errors import Unavailable
from ingest.retrieval.cosine_scale import MEASURED_MARGIN, measure_in_store, measure_scale
from ingest.retrieval.unrelated_texts import PAIRS
from ingest.vector_store import VectorStore
from tasks.documents.embedding_models import Model
from tasks.queries.cosine_scales import CosineScales, is_outdated


class CrowdedEmbedder:
    """Gives each pair a vector of its own, with the part that all share: unrelated texts have its square as cosine."""

    def __init__(self, shared: float) -> None:
        self._shared = shared
        self.embedder = SimpleNamespace(model_name="crowded")

    def embed(self, texts: Sequence[str], purpose: str) -> np.ndarray[Any, Any]:
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> np.ndarray[Any, Any]:
        pair = next((n for n, pair in enumerate(PAIRS) if text in pair), 0)
        vector = np.zeros(len(PAIRS) + 1, np.float32)
        vector[-1], vector[pair] = self._shared, (1 - self._shared**2) ** 0.5
        return vector


class ScatteredEmbedder:
    """Gives each text a direction of its own in a space of eight dimensions."""

    def embed(self, texts: Sequence[str], purpose: str) -> np.ndarray[Any, Any]:
        vectors = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(8) for text in texts]
        return np.stack([vector / np.linalg.norm(vector) for vector in vectors])


class FakeRecords:
    """A catalog of one scale."""

    def __init__(self) -> None:
        self.scale: CosineScale | None = None

    def cosine_scale(self, _: StoreRecord) -> CosineScale | None:
        return self.scale

    def record_cosine_scale(self, _: StoreRecord, scale: CosineScale) -> None:
        self.scale = scale


class FakeStore:
    """A store in which the n-th question has a best cosine of n percent."""

    def __init__(self) -> None:
        self.points = 100
        self.asked = 0

    def point_count(self) -> int:
        return self.points

    def search(self, *_: Any) -> list[Any]:
        self.asked += 1
        return [SimpleNamespace(dense_score=(self.asked % 100) / 100)]


class FakeModel:
    """The model of a store."""

    record = None

    def __init__(self, store: FakeStore, service: Any) -> None:
        self.store = store
        self.service = service


def model_of(store: FakeStore, embedder: Any) -> Model:
    return cast(Model, FakeModel(store, embedder))


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_unrelated_texts_are_at_the_floor_and_below_the_threshold(shared: float) -> None:
    scale = measure_scale(CrowdedEmbedder(shared))
    assert scale.floor == pytest.approx(shared**2, abs=0.01)
    assert scale.floor <= scale.threshold < 1


def test_of_a_store_the_best_cosine_of_most_unrelated_questions_is_below_the_threshold() -> None:
    scale = measure_in_store(ScatteredEmbedder(), cast(VectorStore, FakeStore()), 700)
    assert scale.floor < 0.05 and scale.points == 700
    measured = (scale.threshold - scale.floor) / MEASURED_MARGIN + scale.floor
    assert measured == pytest.approx(0.8 * len(PAIRS) / 100, abs=0.02)


def test_a_store_that_answers_the_questions_does_not_raise_the_threshold_without_bounds() -> None:
    class Encyclopedia(FakeStore):
        def search(self, *_: Any) -> list[Any]:
            return [SimpleNamespace(dense_score=0.99)]

    embedder = CrowdedEmbedder(0.5)
    scale = measure_in_store(embedder, cast(VectorStore, Encyclopedia()), 700)
    # Unrelated texts all have the same cosine here.
    assert scale.threshold == pytest.approx(measure_scale(embedder).threshold)


def test_a_scale_is_measured_anew_with_500_chunks_and_when_their_number_has_doubled_or_halved() -> None:
    brought = CosineScale(0.1, 0.3)
    assert [is_outdated(brought, points) for points in (0, 499, 500)] == [False, False, True]
    of_store = CosineScale(0.1, 0.3, 1000)
    assert [is_outdated(of_store, points) for points in (400, 500, 501, 1999, 2000)] == [
        False, True, False, False, True,
    ]  # fmt: skip


def test_the_scale_is_kept_and_taken_over_by_other_workers() -> None:
    records, store = FakeRecords(), FakeStore()
    model = model_of(store, CrowdedEmbedder(0.5))
    scales = CosineScales(records)
    first = scales.of(model)
    assert first.points == 0 and records.scale == first
    store.points = 600
    scales.check(model)
    assert scales.of(model) == records.scale != first
    records.scale = CosineScale(0.2, 0.6, 610)
    scales.check(model)
    assert scales.of(model) == records.scale, "another worker has measured it"
    scales.close()
    other = CosineScales(records)
    assert other.of(model_of(store, None)) == records.scale
    other.close()


def test_a_measurement_that_fails_leaves_the_known_scale() -> None:
    class Gone(FakeStore):
        def search(self, *_: Any) -> list[Any]:
            raise Unavailable("gone")

    records, store = FakeRecords(), Gone()
    model = model_of(store, CrowdedEmbedder(0.5))
    scales = CosineScales(records)
    known = scales.of(model)
    store.points = 600
    scales.check(model)
    assert scales.of(model) == known
    scales.close()
