"""The cross-encoder, a reranker that reads query and chunk together: slower than comparing vectors, and better."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import ConfigurationError, InternalError
from core.settings import Settings
from ingest.embedding.micro_batches import BULK_BATCH_TOKENS, MICRO_BATCH_TEXTS, SMALL_BATCH_TOKENS
from ingest.embedding.model_code import check_model_code
from ingest.embedding.model_files import EmbeddingModel
from ingest.embedding.service import EmbeddingService, Priority

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder
    from torch import Tensor

log = logging.getLogger(__name__)

#: The beginning of a text that is tokenized: as much as the longest windows hold.
READ_CHARACTERS = 32_768
#: Pairs of texts of a search that are computed at once.
BATCH_PAIRS = 8
#: Pairs that are counted at once. Other threads tokenize in between.
COUNTED_PAIRS = 64


class CrossEncoderReranker:
    """The model of RERANK_MODEL. It computes on the embedding threads, before the texts that wait there.

    Attributes:
        model_name: its hub id, or the name of its folder.
    """

    def __init__(self, model_name: str, model: CrossEncoder, service: EmbeddingService) -> None:
        self.model_name = model_name
        self._model = model
        self._service = service
        # Several threads may compute with the model at a time, but not use its tokenizer: that holds options of the
        # call that is running.
        self._tokenizing = threading.Lock()

    @classmethod
    def from_settings(cls, settings: Settings, service: EmbeddingService) -> CrossEncoderReranker | None:
        """Load RERANK_MODEL, or return None if it is not set.

        Raises:
            ConfigurationError: the model cannot be loaded, or does not compute a single score for a pair.
        """
        source = settings.rerank_model
        if source is None:
            return None
        name = Path(source).resolve().name if Path(source).is_dir() else source
        return cls(name, service.compute(lambda: _load(source, settings)), service)

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return a score for each text: the higher, the better it answers the query.

        Raises:
            InternalError: the model computed a score that is not finite.
            Unavailable: the model is shutting down.
        """
        scores: list[float] = []
        # In batches, so that another search's query can be embedded in between.
        for start in range(0, len(texts), BATCH_PAIRS):
            logits = self._logits(query, texts[start : start + BATCH_PAIRS])
            activation = self._model.activation_fn
            scores += (logits if activation is None else activation(logits)).tolist()
        return scores

    def token_counts(self, query: str, texts: Sequence[str]) -> list[int]:
        """Return how many tokens of the query and each text the model reads together, with special tokens."""
        counts: list[int] = []
        for start in range(0, len(texts), COUNTED_PAIRS):
            parts = [text[:READ_CHARACTERS] for text in texts[start : start + COUNTED_PAIRS]]
            queries = [query[:READ_CHARACTERS]] * len(parts)
            with self._tokenizing:
                encoded = self._model.tokenizer(
                    queries, parts, truncation=True, max_length=self._model.max_seq_length, padding=False
                )
            counts += [len(ids) for ids in encoded["input_ids"]]
        return counts

    def relevances(
        self,
        query: str,
        texts: Sequence[str],
        tokens: Sequence[int],
        priority: Priority = "interactive",
        *,
        before_each_batch: Callable[[], None] = lambda: None,
    ) -> list[float]:
        """Return for each text how well it answers the query, from 0 to 1: the sigmoid of the model's logit.

        Args:
            tokens: how many tokens the model reads of each text (`token_counts`).
            before_each_batch: called by several threads; may raise an error, which ends the computation.

        Raises:
            InternalError: the model computed a score that is not finite.
            Unavailable: the model is shutting down.
        """
        # Small ones, so that a search's query can be embedded in between.
        batches = list(micro_batches(tokens, BULK_BATCH_TOKENS if priority == "bulk" else SMALL_BATCH_TOKENS))

        def compute(batch: list[int]) -> list[float]:
            before_each_batch()
            logits = self._logits(query, [texts[at] for at in batch], priority)
            return list(logits.double().sigmoid().tolist())

        scores = [0.0] * len(texts)
        # Its threads only tokenize and wait. After an error, `map` drops the batches that have not begun.
        with ThreadPoolExecutor(self._service.thread_count(priority)) as pool:
            for batch, found in zip(batches, pool.map(compute, batches), strict=True):
                for at, score in zip(batch, found, strict=True):
                    scores[at] = score
        return scores

    def _logits(self, query: str, texts: Sequence[str], priority: Priority = "interactive") -> Tensor:
        pairs = [(query[:READ_CHARACTERS], text[:READ_CHARACTERS]) for text in texts]
        with self._tokenizing:
            features = self._model.preprocess(pairs)
        tokens = features["input_ids"].numel()
        return self._service.compute(lambda: _logits(self._model, features), priority, tokens=tokens)


def micro_batches(tokens: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Yield the positions of texts in batches, longest text first, since a batch is padded to its longest text.

    Args:
        tokens: of each text.
        most_tokens: of a batch of several texts, with padding.
    """
    order = sorted(range(len(tokens)), key=lambda at: -tokens[at])
    while order:
        size = max(1, min(MICRO_BATCH_TEXTS, most_tokens // tokens[order[0]]))
        yield order[:size]
        order = order[size:]


def _load(name: str, settings: Settings) -> CrossEncoder:
    from sentence_transformers import CrossEncoder

    try:
        if settings.trust_remote_code:
            check_model_code(EmbeddingModel(name, Path(name) if Path(name).is_dir() else None), f"RERANK_MODEL={name}")
        model: CrossEncoder = CrossEncoder(
            name,
            trust_remote_code=settings.trust_remote_code,
            local_files_only=Path(name).is_dir() and not settings.trust_remote_code,
        )
    except ConfigurationError:
        raise
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
    model.eval()
    log.info("reranking with %s", name)
    return model


def _logits(model: CrossEncoder, features: dict[str, Any]) -> Tensor:
    import torch
    from sentence_transformers.util import batch_to_device

    with torch.inference_mode():
        logits: Tensor = model(batch_to_device(features, model.device))["scores"].float().reshape(-1).cpu()
    if not torch.isfinite(logits).all():
        raise InternalError("the reranking model computed a score that is not finite")
    return logits
