"""Every kind of invalid input is answered with OpenAI's error object and a 4xx status, and names the field."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.dependencies import Services
from api.schemas.rag import MAX_QUERY_CHARACTERS
from core import events
from core.errors import ErrorInfo, RateLimited, Unavailable
from core.settings import load_settings
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import client_of

pytestmark = pytest.mark.asyncio

CHAT = "/v1/chat/completions"
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
JSON = {"content-type": "application/json"}


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Check that an answer has this status and a complete error object, and return that object."""
    assert answer.status_code == status, answer.text
    assert answer.headers["x-request-id"]
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and error["message"]
    return error


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'"text"', b"\xff\xfe", b'{"messages": NaN}', b'{"a": 1e999}', b"[" * 50_000,
     b"9" * 5000, b"\x00"],
)  # fmt: skip
@pytest.mark.parametrize("path", [CHAT, "/v1/embeddings", "/v1/rag/chat", "/v1/rag/search", "/v1/rag/documents"])
async def test_a_body_that_is_not_a_json_object_is_refused(http: httpx.AsyncClient, path: str, body: bytes) -> None:
    error_of(await http.post(path, content=body, headers=JSON), 400)


async def test_a_body_of_another_content_type_is_refused(http: httpx.AsyncClient) -> None:
    error_of(await http.post(CHAT, data={"messages": "Hello"}), 400)
    error_of(await http.post(CHAT, content=b'{"messages": []}', headers={"content-type": "text/plain"}), 400)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [None]}, "messages.0"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": -1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 1000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 10**40}, "seed"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": [1]}, "stop.0"),
        ({"logit_bias": {"hello": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": "yes"}, "stream"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"audio": {"voice": "alloy"}}, "audio"),
        ({"rag": {"top_k": 0}}, "rag.top_k"),
    ],
)
async def test_an_invalid_field_of_a_chat_is_named(
    http: httpx.AsyncClient, stream: FakeJobStream, fields: dict[str, Any], param: str
) -> None:
    error = error_of(await http.post(CHAT, json={"messages": MESSAGES} | fields), 400)

    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert stream.submitted == []


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": "none"},
        {"response_format": {"type": "text"}, "user": "me", "store": True, "metadata": None, "unknown": {"x": 1}},
        {"temperature": None, "top_p": None, "stop": None, "n": None, "stream_options": None, "tools": []},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]}]},
        {"messages": [*MESSAGES,
                      {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f"}}]},
                      {"role": "tool", "tool_call_id": "1", "content": "sunny"}]},
    ],
)  # fmt: skip
async def test_fields_without_effect_are_accepted(http: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    answer = await http.post(CHAT, json={"messages": MESSAGES} | fields)

    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "value", [None, "", [], [""], 5, [None], ["a", 1], [[]], [["a"]], [1.5], [-1], [True], {"a": 1}, ["a"] * 2049]
)
async def test_an_input_that_cannot_be_embedded_is_refused(http: httpx.AsyncClient, value: Any) -> None:
    assert error_of(await http.post("/v1/embeddings", json={"input": value}), 400)["param"].startswith("input")


async def test_a_too_long_input_is_refused(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.schemas.embeddings.MAX_INPUT_LENGTH", 100)
    monkeypatch.setattr("api.schemas.embeddings.MAX_TOTAL_LENGTH", 250)
    for value in ("x" * 101, [5] * 101, ["x", "x" * 101], [[5] * 101], ["x" * 100] * 3):
        error = error_of(await http.post("/v1/embeddings", json={"input": value}), 400)
        assert error["param"].startswith("input") and "at most" in error["message"], error
    for value in ("x" * 100, ["x" * 100] * 2):
        assert (await http.post("/v1/embeddings", json={"input": value})).status_code == 200


@pytest.mark.parametrize("query", ["x " * MAX_QUERY_CHARACTERS, ["fine", "x " * MAX_QUERY_CHARACTERS]])
async def test_a_too_long_query_is_refused(services: Services, query: Any) -> None:
    roomy = services.settings.model_copy(update={"max_body_bytes": 2**20})
    async with client_of(replace(services, settings=roomy)) as http:
        error = error_of(await http.post("/v1/rag/search", json={"query": query}), 400)
    assert error["param"].startswith("query") and "at most" in error["message"], error


@pytest.mark.parametrize("field", [{"encoding_format": "hex"}, {"dimensions": 0}, {"dimensions": "8"}])
async def test_an_invalid_field_of_an_embedding_is_named(http: httpx.AsyncClient, field: dict[str, Any]) -> None:
    error = error_of(await http.post("/v1/embeddings", json={"input": "a"} | field), 400)

    assert error["param"] == next(iter(field))


@pytest.mark.parametrize("path", ["/v1/rag/chat", "/v1/rag/search"])
@pytest.mark.parametrize("query", [None, "", "  \n", 5, []])
async def test_an_empty_query_is_refused(http: httpx.AsyncClient, path: str, query: Any) -> None:
    assert error_of(await http.post(path, json={"query": query}), 400)["param"] == "query"


@pytest.mark.parametrize("url", ["/v1/jobs/job%00", "/v1/rag/documents?collection=a%00", "/v1/jobs?after=%00"])
async def test_a_url_with_a_nul_is_refused(http: httpx.AsyncClient, url: str) -> None:
    error_of(await http.get(url), 400)


async def test_an_unknown_route_or_method_is_refused(http: httpx.AsyncClient) -> None:
    assert error_of(await http.get("/v1/nothing"), 404)["code"] == "unknown_url"
    assert error_of(await http.put(CHAT, json={}), 405)["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/v1/rag/documents/doc-0", "/v1/jobs/job-0", "/v1/models/none", "/v1/jobs/job-0/events"]
)
async def test_an_unknown_object_is_a_404(http: httpx.AsyncClient, path: str) -> None:
    error_of(await http.get(path), 404)


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=101", "after=nothing", "status=lost"])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/rag/documents"])
async def test_an_invalid_query_parameter_is_named(http: httpx.AsyncClient, path: str, query: str) -> None:
    assert error_of(await http.get(f"{path}?{query}"), 400)["param"] == query.partition("=")[0]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(http: httpx.AsyncClient, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(80):
            yield b" " * 1024

    body: Any = pieces() if chunked else b" " * 80 * 1024
    error = error_of(await http.post(CHAT, content=body, headers=JSON), 413)

    assert "MAX_BODY_BYTES" in error["message"]


async def test_requests_are_503_without_redis(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    stream.failure = Unavailable("The queue (Redis) does not answer.", retry_after_seconds=7)

    answer = await http.post(CHAT, json={"messages": MESSAGES, "stream": True})

    assert error_of(answer, 503)["code"] == "service_unavailable"
    assert answer.headers["retry-after"] == "7"


async def test_a_rate_limit_is_a_429_with_retry_after(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    stream.failure = RateLimited("Too many requests.")

    answer = await http.post("/v1/embeddings", json={"input": "a"})

    assert error_of(answer, 429)["type"] == "rate_limit_error"
    assert int(answer.headers["retry-after"]) > 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refusal_of_the_worker_is_a_plain_error(
    http: httpx.AsyncClient, stream: FakeJobStream, streamed: bool
) -> None:
    too_long = ErrorInfo("Too long.", "invalid_request_error", "messages", "context_length_exceeded", 400)
    stream.scripts["chat"] = lambda job_id, _, __: [events.Failed(job_id=job_id, attempt=1, error=too_long)]

    answer = await http.post(CHAT, json={"messages": MESSAGES, "stream": streamed})

    assert error_of(answer, 400)["code"] == "context_length_exceeded"
    assert stream.cancelled == []


async def test_an_error_after_the_start_ends_the_stream_without_done(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    def lost(job_id: str, _: Any, __: str) -> list[events.AnyEvent]:
        at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
        error = ErrorInfo("The worker was lost.", "server_error", None, "worker_lost", 500)
        return [
            events.Accepted(**at, model="m"),
            events.TextDelta(**at, text="Hel"),
            events.Failed(**at, error=error),
        ]

    stream.scripts["chat"] = lost
    answer = await http.post(CHAT, json={"messages": MESSAGES, "stream": True})

    frames = answer.text.strip().split("\n\n")
    assert answer.status_code == 200
    assert '"code":"worker_lost"' in frames[-1] and frames[-1].startswith('data: {"error":')
    assert "[DONE]" not in answer.text


async def test_an_unexpected_error_is_a_500_without_its_details(
    http: httpx.AsyncClient, stream: FakeJobStream, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("a secret")

    stream.scripts["chat"] = broken
    error = error_of(await http.post(CHAT, json={"messages": MESSAGES}), 500)

    assert "secret" not in error["message"]
    assert "a secret" in caplog.text


async def test_a_strict_server_serves_only_its_models(services: Services) -> None:
    settings = services.settings.model_copy(update={"strict_models": True})
    async with client_of(replace(services, settings=settings)) as client:
        answer = await client.post(CHAT, json={"messages": MESSAGES, "model": "gpt-4"})
        served = await client.post(CHAT, json={"messages": MESSAGES, "model": "SmolLM2-135M-Instruct"})

    assert error_of(answer, 404)["code"] == "model_not_found"
    assert served.status_code == 200


async def test_a_key_can_be_configured_by_its_hash(services: Services) -> None:
    entry = "sha256:" + hashlib.sha256(b"a-key").hexdigest().upper()
    keyed = load_settings(_env_file=None, data_dir=services.settings.data_dir, api_keys=entry)
    assert keyed.plain_api_keys == []
    async with client_of(replace(services, settings=keyed)) as client:
        answer = await client.post(CHAT, json={"messages": MESSAGES}, headers={"authorization": "Bearer a-key"})
        as_key = await client.post(CHAT, json={"messages": MESSAGES}, headers={"authorization": f"Bearer {entry}"})
    assert answer.status_code == 200
    assert as_key.status_code == 401, "who reads the settings must not be able to use what is there"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Basic one"}, 401),
        ({"authorization": "Bearer ünknown".encode("latin-1")}, 401),
        ({"authorization": "Bearer two"}, 200),
        ({"x-api-key": "one"}, 200),
    ],
)
async def test_a_request_needs_one_of_the_keys(services: Services, headers: Any, status: int) -> None:
    keyed = load_settings(_env_file=None, data_dir=services.settings.data_dir, api_keys="one,two")
    async with client_of(replace(services, settings=keyed)) as client:
        answer = await client.post(CHAT, json={"messages": MESSAGES}, headers=headers)
        alive = await client.get("/health")

    assert alive.status_code == 200
    if status == 401:
        assert error_of(answer, 401)["type"] == "authentication_error"
    assert answer.status_code == status


async def test_a_request_id_is_kept_if_it_is_valid(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health", headers={"x-request-id": "mine-1"})).headers["x-request-id"] == "mine-1"
    assert (await http.get("/health", headers={"x-request-id": "a b"})).headers["x-request-id"].startswith("req-")


async def test_cors_is_answered_for_allowed_origins(services: Services) -> None:
    settings = services.settings.model_copy(update={"cors_origins": ("http://page",)})
    headers = {"origin": "http://page", "access-control-request-method": "POST"}
    async with client_of(replace(services, settings=settings)) as client:
        preflight = await client.options(CHAT, headers=headers)
        refusal = await client.post(CHAT, json={}, headers={"origin": "http://page"})

    assert preflight.headers["access-control-allow-origin"] == "http://page"
    assert refusal.status_code == 400 and refusal.headers["access-control-allow-origin"] == "http://page"


@pytest.mark.parametrize("path", ["/v1/rag/documents/", "/v1/rag/search/", "/v1/models/"])
async def test_a_trailing_slash_is_an_unknown_path_and_not_redirected(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 404 and answer.json()["error"]["type"]
