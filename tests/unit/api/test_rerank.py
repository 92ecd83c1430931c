"""`/v1/rerank`: its wire format, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.dependencies import Services
from api.schemas.rerank import MAX_QUERY_CHARACTERS
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import EMBEDDER, RERANKER, client_of
from tests.unit.api.test_errors import error_of

BODY: dict[str, Any] = {"query": "How long is the warranty?", "documents": ["tea", {"text": "two years", "n": 1}]}

pytestmark = pytest.mark.asyncio


async def test_results_have_an_index_and_a_score(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    answer = (await http.post("/v1/rerank", json=BODY)).json()
    assert answer.pop("id").startswith("rerank-")
    assert answer == {
        "model": RERANKER,
        "usage": {"total_tokens": 14},
        "results": [{"index": 1, "relevance_score": 0.0005}, {"index": 0, "relevance_score": 0.0}],
    }
    assert stream.submitted[0].request.documents == ["tea", "two years"]


async def test_results_have_their_documents_on_request(http: httpx.AsyncClient) -> None:
    answer = await http.post("/v1/rerank", json=BODY | {"top_n": 1, "return_documents": True})
    assert answer.json()["results"] == [{"index": 1, "relevance_score": 0.0005, "document": {"text": "two years"}}]
    more = await http.post("/v1/rerank", json=BODY | {"top_n": 10})
    assert len(more.json()["results"]) == 2, "there are no more"


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"documents": []}, "documents", "at least one"),
        ({"documents": "tea"}, "documents", "a list"),
        ({"documents": ["tea", ""]}, "documents", "item 1 is empty"),
        ({"documents": ["tea", {"text": ""}]}, "documents", "item 1 is empty"),
        ({"documents": ["tea", 5]}, "documents", "item 1 is neither"),
        ({"documents": [{"title": "tea"}]}, "documents", "item 0 is neither"),
        ({"documents": [None]}, "documents", "item 0 is neither"),
        ({"documents": ["a"] * 1001}, "documents", "at most 1000"),
        ({"documents": ["a" * 101]}, "documents", "item 0 has 101 characters"),
        ({"documents": ["a" * 100] * 3}, "documents", "375 characters in all"),
        ({"query": ""}, "query", ""),
        ({"query": " "}, "query", ""),
        ({"query": ["a"]}, "query", ""),
        ({"top_n": 0}, "top_n", ""),
        ({"top_n": -1}, "top_n", ""),
        ({"top_n": 2**31}, "top_n", ""),
        ({"top_n": "1"}, "top_n", ""),
        ({"return_documents": "yes"}, "return_documents", ""),
    ],
)
async def test_what_cannot_be_ranked_is_refused_by_its_name(
    http: httpx.AsyncClient,
    stream: FakeJobStream,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    param: str,
    message: str,
) -> None:
    monkeypatch.setattr("api.schemas.rerank.MAX_INPUT_LENGTH", 100)
    monkeypatch.setattr("api.schemas.rerank.MAX_TOTAL_LENGTH", 374)
    error = error_of(await http.post("/v1/rerank", json=BODY | fields), 400)
    assert error["param"] == param and message in error["message"], error
    assert stream.submitted == []


async def test_a_query_that_is_too_long_is_refused(services: Services) -> None:
    roomy = services.settings.model_copy(update={"max_body_bytes": 2**20})
    async with client_of(replace(services, settings=roomy)) as http:
        error = error_of(await http.post("/v1/rerank", json=BODY | {"query": "a" * (MAX_QUERY_CHARACTERS + 1)}), 400)
    assert error["param"] == "query" and "at most" in error["message"], error


async def test_the_reranker_is_a_model_of_its_own(http: httpx.AsyncClient) -> None:
    models = (await http.get("/v1/models")).json()["data"]
    assert {model["id"]: model["kind"] for model in models[-2:]} == {EMBEDDER: "embeddings", RERANKER: "rerank"}
