"""A real cross-encoder with random weights and two small layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import ConfigurationError, Unavailable
from core.settings import Settings, load_settings
from ingest.embedding.service import EmbeddingService
from ingest.retrieval.cross_encoder import CrossEncoderReranker
from tests.fakes.fake_embedder import FakeEmbedder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "router", "reset", "whales", "sing", "tea"]


def build_cross_encoder(folder: Path, labels: int) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    torch.manual_seed(7)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=labels,
        initializer_range=1.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture
def service() -> Iterator[EmbeddingService]:
    service = EmbeddingService(FakeEmbedder())
    yield service
    service.close()


def settings_of(model: Path | None) -> Settings:
    return load_settings(rerank_model=None if model is None else str(model), _env_file=None)


def test_a_cross_encoder_scores_each_text(tmp_path: Path, service: EmbeddingService) -> None:
    settings = settings_of(build_cross_encoder(tmp_path, labels=1))
    reranker = CrossEncoderReranker.from_settings(settings, service)
    assert reranker is not None
    texts = [f"{word} " * 3 for word in WORDS[5:]] * 3
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
    classifier = build_cross_encoder(tmp_path, labels=3)
    with pytest.raises(ConfigurationError, match="gives 3 numbers"):
        CrossEncoderReranker.from_settings(settings_of(classifier), service)
