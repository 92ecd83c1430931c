"""The cross-encoder, a reranker that reads query and chunk together: slower than comparing vectors, and better."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import ConfigurationError, InternalError
from core.settings import Settings
from ingest.embedding.service import EmbeddingService

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

log = logging.getLogger(__name__)

#: The beginning of a query that is tokenized, once for each text: as much as the longest windows hold.
QUERY_CHARACTERS = 32_768
#: Pairs of texts computed at once.
BATCH_PAIRS = 8


class CrossEncoderReranker:
    """The model of RERANK_MODEL. It computes on the embedding thread, before the texts that wait there."""

    def __init__(self, model: CrossEncoder, service: EmbeddingService) -> None:
        self._model = model
        self._service = service

    @classmethod
    def from_settings(cls, settings: Settings, service: EmbeddingService) -> CrossEncoderReranker | None:
        """Load RERANK_MODEL, or return None if it is not set.

        Raises:
            ConfigurationError: the model cannot be loaded, or does not compute a single score for a pair.
        """
        name = settings.rerank_model
        return None if name is None else cls(service.compute(lambda: _load(name, settings)), service)

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return a score for each text: the higher, the better it answers the query.

        Raises:
            InternalError: the model computed a score that is not finite.
            Unavailable: the model is shutting down.
        """
        scores: list[float] = []
        query = query[:QUERY_CHARACTERS]
        # In batches, so that another search's query can be embedded in between.
        for start in range(0, len(texts), BATCH_PAIRS):
            pairs = [(query, text) for text in texts[start : start + BATCH_PAIRS]]
            scores += self._service.compute(lambda pairs=pairs: _predict(self._model, pairs))  # type: ignore[misc]
        return scores


def _load(name: str, settings: Settings) -> CrossEncoder:
    from sentence_transformers import CrossEncoder

    try:
        model: CrossEncoder = CrossEncoder(
            name,
            trust_remote_code=settings.trust_remote_code,
            local_files_only=Path(name).is_dir() and not settings.trust_remote_code,
        )
    except Exception as error:  # transformers and torch raise many kinds; each means that this model cannot be used
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(
            f"RERANK_MODEL={name}: the model cannot be loaded ({reason}). Set the folder or the hub id of a "
            "cross-encoder, such as cross-encoder/ms-marco-MiniLM-L6-v2, or leave it unset to search without one"
        ) from error
    if model.num_labels != 1:
        raise ConfigurationError(
            f"RERANK_MODEL={name}: the model gives {model.num_labels} numbers for a pair of texts, not one score"
        )
    log.info("reranking with %s", name)
    return model


def _predict(model: CrossEncoder, pairs: list[tuple[str, str]]) -> list[float]:
    import numpy as np

    scores = np.asarray(model.predict(pairs, batch_size=BATCH_PAIRS, show_progress_bar=False), dtype=np.float32)
    if not np.isfinite(scores).all():
        raise InternalError("the reranking model computed a score that is not finite")
    return [float(score) for score in scores]
