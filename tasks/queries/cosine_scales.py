"""The scales of the cosines of the open models, kept in the catalog and measured anew when their stores have grown."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from core.catalog import StoreRecord
from core.cosine_scale import CosineScale
from core.errors import LlmApiError
from ingest.embedding.model_files import STARTER_NAME
from ingest.retrieval.cosine_scale import LEAST_POINTS, STARTER_SCALE, measure_in_store, measure_scale
from tasks.documents.embedding_models import Model

log = logging.getLogger(__name__)

#: Time between two looks at how large a store has become.
CHECK_SECONDS = 60.0
#: A scale is measured anew when its store has this many times as many points, or as few.
GROWTH = 2


class ScaleRecords(Protocol):
    """The part of the catalog that keeps scales."""

    def cosine_scale(self, record: StoreRecord) -> CosineScale | None: ...

    def record_cosine_scale(self, record: StoreRecord, scale: CosineScale) -> None: ...


class CosineScales:
    """The scale of each model. A search never waits for a new measurement, which a thread makes."""

    def __init__(self, records: ScaleRecords) -> None:
        self._records = records
        self._known: dict[Model, CosineScale] = {}
        self._checked_at: dict[Model, float] = {}
        self._measuring = ThreadPoolExecutor(1, thread_name_prefix="cosine-scale")

    def of(self, model: Model) -> CosineScale:
        """Return the scale of a model. The first time it is measured, if the catalog does not have it.

        Raises:
            Unavailable: the model is shutting down, or the catalog does not answer.
        """
        scale = self._known.get(model)
        if scale is None:
            scale = self._records.cosine_scale(model.record)
            if scale is None:
                is_starter = model.service.embedder.model_name == STARTER_NAME
                scale = STARTER_SCALE if is_starter else measure_scale(model.service)
                self._records.record_cosine_scale(model.record, scale)
            self._known[model] = scale
        now = time.monotonic()
        if now - self._checked_at.get(model, -CHECK_SECONDS) >= CHECK_SECONDS:
            self._checked_at[model] = now
            self._measuring.submit(self.check, model)
        return scale

    def check(self, model: Model) -> None:
        """Measure the scale on the chunks of the store, if there are enough and the known one is of far fewer or more.

        Another worker may have measured it: then that scale is taken.
        """
        try:
            points = model.store.point_count()
            known = self._records.cosine_scale(model.record) or self._known[model]
            if is_outdated(known, points):
                known = measure_in_store(model.service, model.store, points)
                self._records.record_cosine_scale(model.record, known)
                log.info("chunks with a cosine below %.2f are not relevant, by %d chunks", known.threshold, points)
            self._known[model] = known
        except LlmApiError as error:
            # The known scale serves until the next check.
            log.warning("what cosines mean could not be measured: %s", error.message)

    def close(self) -> None:
        """End the thread, after the measurement that it makes."""
        self._measuring.shutdown(cancel_futures=True)


def is_outdated(scale: CosineScale, points: int) -> bool:
    """Return whether a scale has to be measured on the chunks of a store with this many points."""
    if points < LEAST_POINTS:
        return False
    return not scale.points or not scale.points / GROWTH < points < scale.points * GROWTH
