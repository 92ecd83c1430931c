"""A person moves a collection to another embedding model on the running stack."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import Stack, wait_until
from tests.support_models import DIMENSION, tiny_model

pytestmark = [pytest.mark.e2e, pytest.mark.check]

NOTES = {
    "letters": "The zebrawood violin arrives on Monday.",
    "recipes": "The pear tart needs forty minutes.",
}


@pytest.fixture(scope="module")
def offering(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start a stack that offers a second model."""
    folder = tmp_path_factory.mktemp("models")
    other = tiny_model(folder / "other-model")
    with Stack(folder, {"EMBEDDING_MODELS": str(other)}) as stack:
        yield stack


def test_a_collection_moves_and_the_others_stay(offering: Stack) -> None:
    other = offering.environment["EMBEDDING_MODELS"]
    with httpx.Client(base_url=offering.base_url, timeout=60) as http:
        for collection, text in NOTES.items():
            http.post("/v1/rag/documents", json={"texts": [text], "collection": collection}).raise_for_status()
        refused = offering.run("collections", "set", "letters", "--embedding-model", "unknown", check=False)
        assert refused.returncode != 0 and other in refused.stdout + refused.stderr
        offering.run("collections", "set", "letters", "--embedding-model", other)
        wait_until(lambda: shown(http, "letters")["embedding_model"] == "other-model", 30)
        assert shown(http, "letters")["next_embedding_model"] is None
        assert shown(http, "recipes")["embedding_model"] == "all-MiniLM-L6-v2"
        for collection, text in NOTES.items():
            assert found(http, text)[0] == text
            assert found(http, text, collection) == [text]
        http.post("/v1/rag/documents", json={"texts": ["A cello is late."], "collection": "letters"}).raise_for_status()
        assert "A cello is late." in found(http, "A cello is late.", "letters")
        names = [model["id"] for model in http.get("/v1/models").json()["data"] if model["kind"] == "embeddings"]
        assert names == ["all-MiniLM-L6-v2", "other-model"]
        embedded = http.post("/v1/embeddings", json={"input": "a", "model": "other-model"}).json()
        assert embedded["model"] == "other-model" and len(embedded["data"][0]["embedding"]) == DIMENSION
        offering.run("collections", "set", "letters", "--embedding-model", "default")
        wait_until(lambda: shown(http, "letters")["embedding_model"] == "all-MiniLM-L6-v2", 30)
        assert found(http, NOTES["letters"])[0] == NOTES["letters"]


def shown(http: httpx.Client, collection: str) -> dict[str, Any]:
    answer: dict[str, Any] = http.get(f"/v1/rag/collections/{collection}").raise_for_status().json()
    return answer


def found(http: httpx.Client, query: str, *collections: str) -> list[str]:
    body = {"query": query, "top_k": 5, **({"collections": list(collections)} if collections else {})}
    hits = http.post("/v1/rag/search", json=body).raise_for_status().json()["data"]
    return [hit["text"] for hit in hits]
