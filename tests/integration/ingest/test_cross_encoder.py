"""A real cross-encoder with random weights and two small layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from core.errors import ConfigurationError, Unavailable
from core.settings import Settings, load_settings
from ingest.embedding.micro_batches import MICRO_BATCH_TEXTS
from ingest.embedding.service import EmbeddingService, Priority
from ingest.retrieval.cross_encoder import CrossEncoderReranker, micro_batches
from tests.fakes.fake_embedder import FakeEmbedder
from tests.support_models import CROSS_ENCODER_WORDS, tiny_cross_encoder


@pytest.fixture
def service() -> Iterator[EmbeddingService]:
    service = EmbeddingService(FakeEmbedder())
    yield service
    service.close()


def settings_of(model: Path | None) -> Settings:
    return load_settings(rerank_model=None if model is None else str(model), _env_file=None)


def test_a_cross_encoder_scores_each_text(tmp_path: Path, service: EmbeddingService) -> None:
    settings = settings_of(tiny_cross_encoder(tmp_path, labels=1))
    reranker = CrossEncoderReranker.from_settings(settings, service)
    assert reranker is not None
    texts = [f"{word} " * 3 for word in CROSS_ENCODER_WORDS] * 3
    scores = reranker.scores("router reset", texts)
    assert len(scores) == 15 and len({round(score, 6) for score in scores[:5]}) == 5
    assert scores[:5] == pytest.approx(scores[5:10], abs=1e-4)
    assert reranker.scores("router", []) == []
    service.close()
    with pytest.raises(Unavailable):
        reranker.scores("router", texts)


def test_without_a_model_there_is_no_reranker(service: EmbeddingService) -> None:
    assert CrossEncoderReranker.from_settings(settings_of(None), service) is None


def test_a_model_that_is_none_is_named(tmp_path: Path, service: EmbeddingService) -> None:
    with pytest.raises(ConfigurationError, match="RERANK_MODEL"):
        CrossEncoderReranker.from_settings(settings_of(tmp_path), service)
    classifier = tiny_cross_encoder(tmp_path, labels=3)
    with pytest.raises(ConfigurationError, match="gives 3 numbers"):
        CrossEncoderReranker.from_settings(settings_of(classifier), service)


@pytest.mark.parametrize("priority", ["interactive", "bulk"])
def test_an_error_before_a_batch_ends_the_computation(tmp_path: Path, priority: Priority) -> None:
    service = EmbeddingService(FakeEmbedder(), cores=2)
    reranker = CrossEncoderReranker.from_settings(settings_of(tiny_cross_encoder(tmp_path)), service)
    assert reranker is not None
    texts = ["tea " * 60] * 200
    tokens = reranker.token_counts("router", texts)
    checks = count()

    def check() -> None:
        if next(checks) > 2:
            raise TimeoutError("no more")

    with pytest.raises(TimeoutError, match="no more"):
        reranker.relevances("router", texts, tokens, priority, before_each_batch=check)
    assert len(reranker.relevances("router", texts, tokens, priority)) == 200, "the threads go on"
    service.close()


def test_micro_batches_have_each_text_once_and_their_tokens_are_bounded() -> None:
    tokens = [5, 700, 9, 9, 300, 1, 250] + [2] * 200
    batches = list(micro_batches(tokens, 512))
    assert sorted(at for batch in batches for at in batch) == list(range(len(tokens)))
    assert batches[0] == [1], "a text that is too long is a batch of its own"
    for batch in batches[1:]:
        assert len(batch) * tokens[batch[0]] <= 512 and len(batch) <= MICRO_BATCH_TEXTS
    assert list(micro_batches([], 512)) == []
