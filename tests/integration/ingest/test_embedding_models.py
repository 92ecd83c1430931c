"""Prompts and shortened vectors, with small models made for the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigurationError, InvalidRequest
from core.settings import load_settings
from ingest.embedding.embedder import Embedder, Purpose
from ingest.embedding.tokenizer import load_tokenizer
from tests.support_models import DIMENSION, WINDOW_TOKENS, tiny_model

MakeModel = Callable[..., Path]
CARD = "---\ntags:\n- sentence-transformers\n- loss:MatryoshkaLoss\n---\n# A model\n"
CARD_OF_ANOTHER = "---\ntags:\n- sentence-transformers\n---\nUnlike others it has no\n- matryoshka\n"


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    return lambda name="my-model", **config: tiny_model(tmp_path / name, **config)


def open_embedder(folder: Path, **settings: Any) -> Embedder:
    named = {"embedding_model_name": str(folder), "embedding_dtype": "float32"}
    return Embedder.from_settings(load_settings(_env_file=None, **named | settings))


@pytest.mark.parametrize(
    ("model", "length", "refused"),
    [
        ({"matryoshka_dimensions": [8, 16, 32]}, 8, 12),
        ({"is_matryoshka": True}, 5, 33),
        ({"truncate_dim": 16}, 16, 64),
        ({"card": CARD}, 20, 100),
        ({"name": "Qwen3-Embedding-0.6B"}, 31, 4096),
    ],
)
def test_vectors_of_a_matryoshka_model_are_cut_and_have_length_one(
    make_model: MakeModel, model: dict[str, Any], length: int, refused: int
) -> None:
    folder, texts = make_model(**model), ["one text", "another one"]
    whole = open_embedder(folder, embedding_dimension=DIMENSION)
    short = open_embedder(folder, embedding_dimension=length)
    assert (whole.dimension, short.dimension) == (DIMENSION, length)
    expected = whole.encode(texts)[:, :length]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(short.encode(texts), expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(short.encode(texts), axis=1), 1, atol=1e-5)
    whole.check_dimensions(length)
    np.testing.assert_allclose(whole.shorten(whole.encode(texts), length), expected, atol=1e-6)
    with pytest.raises(InvalidRequest, match=f"dimensions is {refused}.*32 dimensions and can be shortened") as caught:
        whole.check_dimensions(refused)
    assert caught.value.param == "dimensions"
    with pytest.raises(InvalidRequest, match=f"dimensions is {DIMENSION}"):
        short.check_dimensions(DIMENSION)  # vectors can only be shortened
    with pytest.raises(ConfigurationError, match=f"EMBEDDING_DIMENSION={refused}: .*can be shortened to"):
        open_embedder(folder, embedding_dimension=refused)


@pytest.mark.parametrize("model", [{}, {"card": CARD_OF_ANOTHER}, {"is_matryoshka": False}])
def test_vectors_of_another_model_are_not_cut(make_model: MakeModel, model: dict[str, Any]) -> None:
    folder = make_model(**model)
    with pytest.raises(ConfigurationError, match="EMBEDDING_DIMENSION=16: .*32 dimensions and cannot be shortened"):
        open_embedder(folder, embedding_dimension=16)
    embedder = open_embedder(folder)
    embedder.check_dimensions(DIMENSION)
    with pytest.raises(InvalidRequest, match="cannot be shortened"):
        embedder.check_dimensions(16)


JINA = {"retrieval.query": "Represent the query: ", "retrieval.passage": "Represent the document: ", "separation": ""}
QWEN = {"query": "Instruct: Given a web search query\nQuery:", "document": ""}


@pytest.mark.parametrize(
    ("name", "prompts", "query", "document"),
    [
        ("multilingual-e5-small", None, "query: ", "passage: "),
        ("e5-base-v2", None, "query: ", "passage: "),
        ("Qwen3-Embedding-0.6B", QWEN, QWEN["query"], ""),
        ("jina-like", JINA, JINA["retrieval.query"], JINA["retrieval.passage"]),
        ("nomic-embed-text-v1.5", None, "search_query: ", "search_document: "),
        ("of-its-own-e5-small", {"query": "Q: ", "document": "D: "}, "Q: ", "D: "),
        ("unknown-model", None, "", ""),
    ],
)
def test_questions_and_documents_get_the_prompts_of_the_model(
    make_model: MakeModel, name: str, prompts: dict[str, str] | None, query: str, document: str
) -> None:
    embedder = open_embedder(make_model(name, prompts=prompts))
    purposes: tuple[tuple[Purpose, str], ...] = (("query", query), ("document", document), ("plain", ""))
    for purpose, prompt in purposes:
        expected = embedder.encode([f"{prompt}restart the router"], "plain")
        np.testing.assert_allclose(embedder.encode(["restart the router"], purpose), expected, atol=1e-5)


def test_a_default_prompt_is_not_put_before_plain_texts(make_model: MakeModel) -> None:
    folder = make_model(prompts={"query": "Q: "})
    config = folder / "config_sentence_transformers.json"
    config.write_text('{"prompts": {"query": "Q: "}, "default_prompt_name": "query"}')
    embedder = open_embedder(folder)
    assert np.abs(embedder.encode(["a"], "query") - embedder.encode(["a"], "plain")).max() > 1e-3


def test_a_model_that_routes_by_task_gets_the_task(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Router, Transformer

    base, folder = str(tiny_model(tmp_path / "base")), tmp_path / "routing"
    router = Router.for_query_document(
        query_modules=[Transformer(base), Pooling(DIMENSION, "cls")],
        document_modules=[Transformer(base), Pooling(DIMENSION, "mean")],
    )
    SentenceTransformer(modules=[router]).save(str(folder), create_model_card=False)
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((Path(base) / name).read_bytes())
    routing, plain = open_embedder(folder), open_embedder(Path(base))
    np.testing.assert_allclose(routing.encode(["a text"], "document"), plain.encode(["a text"]), atol=1e-5)
    assert np.abs(routing.encode(["a text"], "query") - plain.encode(["a text"])).max() > 1e-2


def test_chunks_leave_room_for_the_prompt(make_model: MakeModel) -> None:
    prompt = "Represent the document for retrieval: "  # six tokens
    with_prompt = load_settings(_env_file=None, embedding_model_name=str(make_model(prompts={"document": prompt})))
    assert load_tokenizer(with_prompt).max_tokens == WINDOW_TOKENS - 2 - 6
    embedder = Embedder.from_settings(with_prompt)
    fits, over = ("word " * count for count in (embedder.max_tokens, embedder.max_tokens + 5))
    # Text beyond the window changes nothing, and all text within it is read.
    np.testing.assert_allclose(embedder.encode([fits], "document"), embedder.encode([over], "document"), atol=5e-3)
    shorter = embedder.encode(["word " * (embedder.max_tokens - 1) + "end"], "document")
    assert np.abs(embedder.encode([fits], "document") - shorter).max() > 1e-3


def test_token_ids_of_another_vocabulary_are_refused(make_model: MakeModel) -> None:
    embedder = open_embedder(make_model())
    assert embedder.decode([7592, 2088]) == "hello world"
    with pytest.raises(InvalidRequest, match="Token id 100257 is not in the vocabulary of my-model"):
        embedder.decode([7592, 100257])
    with pytest.raises(InvalidRequest, match="no text"):
        embedder.decode([101, 102])
