"""API keys over HTTP: what they open, their limits, their end, and the usage that they are counted by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import APIRouter

from api.dependencies import JsonRoute, Services
from core.catalog import Catalog
from core.keys import DEFAULT_SCOPES, KeyRights, Scope, key_digest
from core.settings import load_settings
from core.usage import DailyUsage, UsageMeter, iso_day
from tasks.jobs.queues import Role
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import EMBEDDER, MODEL, RERANKER, client_of

pytestmark = pytest.mark.asyncio

KEYS, USAGE, CHAT = "/v1/keys", "/v1/usage", "/v1/chat/completions"
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error


@pytest.fixture
def key(catalog: Catalog) -> Callable[..., str]:
    """Return a function that creates a key and returns its headers' value."""

    def create(secret: str = "secret", **rights: Any) -> str:  # noqa: S107 - of a test
        catalog.create_key(key_digest(secret), KeyRights(**{"owner": "alice", **rights}))
        return secret

    return create


async def test_the_first_key_closes_the_server_and_is_shown_once(http: httpx.AsyncClient, catalog: Catalog) -> None:
    assert (await http.get("/v1/jobs")).status_code == 200
    made = await http.post(KEYS, json={"owner": "alice", "scopes": ["admin"]})
    assert made.status_code == 201, made.text
    secret = made.json().pop("key")
    assert error_of(await http.get("/v1/jobs"), 401)["code"] == "missing_api_key"
    assert error_of(await http.get("/v1/jobs", headers=bearer("wrong")), 401)["code"] == "invalid_api_key"
    listed = await http.get(KEYS, headers=bearer(secret))
    assert [one["owner"] for one in listed.json()["data"]] == ["alice"] and secret not in listed.text
    one = await http.get(f"{KEYS}/{made.json()['id']}", headers=bearer(secret))
    assert one.json()["scopes"] == ["admin"] and key_digest(secret).hex() not in one.text + listed.text
    await http.delete(f"{KEYS}/{made.json()['id']}", headers=bearer(secret))
    assert error_of(await http.get("/v1/jobs", headers=bearer(secret)), 401)["code"] == "revoked_api_key"
    assert error_of(await http.get("/v1/jobs"), 401), "the end of the last key opens the server to nobody"
    assert (await http.get("/health")).status_code == 200


async def test_keys_of_the_settings_are_admin_keys_beside_those_of_the_catalog(
    services: Services, key: Callable[..., str]
) -> None:
    keyed = load_settings(_env_file=None, data_dir=services.settings.data_dir, api_keys="one")
    async with client_of(replace(services, settings=keyed)) as client:
        assert (await client.post(KEYS, json={"owner": "a"}, headers=bearer("one"))).status_code == 201
        assert (await client.get("/v1/models", headers=bearer(key()))).status_code == 200
        assert error_of(await client.get(KEYS, headers=bearer("secret")), 403)["code"] == "missing_scope:admin"


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"),
    [
        ("POST", CHAT, BODY, "chat"),
        ("POST", "/v1/completions", {"prompt": "Hello"}, "chat"),
        ("POST", "/v1/embeddings", {"input": "a"}, "embeddings"),
        ("POST", "/v1/rerank", {"query": "a", "documents": ["a"]}, "embeddings"),
        ("POST", "/v1/rag/search", {"query": "a"}, "documents:read"),
        ("POST", "/v1/rag/chat", {"query": "a"}, "documents:read"),
        ("POST", "/v1/rag/evaluations", {"questions": [{"question": "a", "files": ["b"]}]}, "documents:read"),
        ("GET", "/v1/rag/documents", None, "documents:read"),
        ("GET", "/v1/rag/collections", None, "documents:read"),
        ("POST", "/v1/rag/documents", {"texts": ["a"]}, "documents:write"),
        ("POST", "/v1/rag/collections", {"name": "a"}, "documents:write"),
        ("POST", "/v1/models/pull", {"model": "org/repo"}, "admin"),
        ("GET", "/metrics", None, "admin"),
        ("GET", KEYS, None, "admin"),
    ],
)
async def test_a_missing_scope_is_named(
    http: httpx.AsyncClient, key: Callable[..., str], method: str, path: str, body: Any, scope: str
) -> None:
    others = tuple(one for one in DEFAULT_SCOPES if one.value != scope)
    without, within = key("without", scopes=others), key("within", scopes=(*others, Scope(scope)))
    headers = {"content-type": "application/json"}
    refused = await http.request(method, path, content=b"{", headers=headers | bearer(without))
    assert error_of(refused, 403)["code"] == f"missing_scope:{scope}", "before the body is read"
    assert (await http.request(method, path, json=body, headers=bearer(within))).status_code in (200, 201, 202)
    by_admin = await http.request(method, path, json=body, headers=bearer(key("a", scopes=(Scope.ADMIN,))))
    assert by_admin.status_code not in (401, 403)


async def test_a_chat_with_documents_needs_the_right_to_read_them(
    http: httpx.AsyncClient, key: Callable[..., str], catalog: Catalog, stream: FakeJobStream
) -> None:
    catalog.ensure_collection("notes")
    headers = bearer(key(scopes=(Scope.CHAT,)))
    for more in ({"rag": {}}, {"model": f"{MODEL}@notes"}, {"model": f"{MODEL}@none"}):
        assert error_of(await http.post(CHAT, json=BODY | more, headers=headers), 403)["code"] == (
            "missing_scope:documents:read"
        )
    assert (await http.post(CHAT, json=BODY | {"server_tools": "all"}, headers=headers)).status_code == 200
    assert stream.submitted[-1].request.within == [], "nor may the server's functions"
    models = [model["id"] for model in (await http.get("/v1/models", headers=headers)).json()["data"]]
    assert MODEL in models and f"{MODEL}@notes" not in models


async def test_an_expired_key_is_refused(http: httpx.AsyncClient, key: Callable[..., str]) -> None:
    assert error_of(await http.get("/v1/models", headers=bearer(key(expires_at=1.0))), 401)["code"] == "expired_api_key"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "owner"),
        ({"owner": " a"}, "owner"),
        ({"owner": "a\nb"}, "owner"),
        ({"owner": "a", "scopes": []}, "scopes"),
        ({"owner": "a", "scopes": ["everything"]}, "scopes.0"),
        ({"owner": "a", "collections": []}, "collections"),
        ({"owner": "a", "collections": ["x"], "scopes": ["admin"]}, "collections"),
        ({"owner": "a", "models": ["x"], "scopes": ["admin"]}, "models"),
        ({"owner": "a", "tokens_per_day": 0}, "tokens_per_day"),
    ],
)
async def test_an_invalid_key_is_refused(
    http: httpx.AsyncClient, catalog: Catalog, body: dict[str, Any], param: str
) -> None:
    assert error_of(await http.post(KEYS, json=body), 400)["param"] == param
    assert not catalog.has_keys()


async def test_a_key_is_limited_to_its_models(
    http: httpx.AsyncClient, key: Callable[..., str], stream: FakeJobStream
) -> None:
    stream.live[Role.INDEX]["index@host"]["models"] = ["other"]
    headers = bearer(key(models=("other",)))
    listed = (await http.get("/v1/models", headers=headers)).json()["data"]
    assert [model["id"] for model in listed] == ["other"]
    assert error_of(await http.get(f"/v1/models/{MODEL}", headers=headers), 404)["code"] == "model_not_found"
    for body in (BODY, BODY | {"model": MODEL}, BODY | {"model": "gpt-4"}):
        assert error_of(await http.post(CHAT, json=body, headers=headers), 404)["code"] == "model_not_found"
    for body in ({"input": "a"}, {"input": "a", "model": "unknown"}):
        assert error_of(await http.post("/v1/embeddings", json=body, headers=headers), 404)
    assert (await http.post("/v1/embeddings", json={"input": "a", "model": "other"}, headers=headers)).is_success
    stream.live[Role.INFERENCE].clear()
    assert error_of(await http.post(CHAT, json=BODY, headers=headers), 503), "it is not known what would serve it"


async def test_a_key_for_other_models_cannot_rerank(
    http: httpx.AsyncClient, key: Callable[..., str], stream: FakeJobStream
) -> None:
    body = {"query": "a", "documents": ["a"]}
    refused, allowed = (bearer(key(name, models=(name,))) for name in (EMBEDDER, RERANKER))
    error = error_of(await http.post("/v1/rerank", json=body | {"model": EMBEDDER}, headers=refused), 404)
    assert error["code"] == "model_not_found"
    assert (await http.post("/v1/rerank", json=body, headers=allowed)).status_code == 200
    del stream.live[Role.INDEX]["index@host"]["rerank_model"]
    assert "RERANK_MODEL" in error_of(await http.post("/v1/rerank", json=body, headers=allowed), 503)["message"]


async def test_tokens_of_a_day_are_limited(http: httpx.AsyncClient, key: Callable[..., str], catalog: Catalog) -> None:
    headers = bearer(key(tokens_per_day=100))
    another = bearer(key("another", tokens_per_day=101))
    row = catalog.list_keys().items[-1]
    catalog.add_usage([DailyUsage(iso_day(catalog._now()), "alice", row.id, 1, 60, 40)])
    refused = await http.post(CHAT, json=BODY, headers=headers)
    assert error_of(refused, 429)["code"] == "token_limit_exceeded" and 0 < int(refused.headers["retry-after"]) <= 86400
    assert (await http.get("/v1/jobs", headers=headers)).status_code == 200, "reading is free"
    assert (await http.post(CHAT, json=BODY, headers=another)).status_code == 200, "each key has its own"


@pytest_asyncio.fixture
async def counted(services: Services, catalog: Catalog) -> AsyncIterator[tuple[httpx.AsyncClient, UsageMeter]]:
    """Yield a client of an application that counts usage."""
    meter = UsageMeter(catalog.add_usage)
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(client_of(replace(services, usage=meter))), meter
    meter.close()


async def test_usage_is_shown_by_owner_key_and_day(
    counted: tuple[httpx.AsyncClient, UsageMeter], key: Callable[..., str]
) -> None:
    http, meter = counted
    alice, second, bob = bearer(key("a")), bearer(key("a2")), bearer(key("b", owner="bob"))
    admin = bearer(key("root", owner="root", scopes=(Scope.ADMIN,)))
    for headers in (alice, alice, second, bob):
        assert (await http.post(CHAT, json=BODY, headers=headers)).status_code == 200
    await http.get("/v1/models", headers=alice)
    meter.flush()

    async def rows(headers: dict[str, str], **params: Any) -> list[tuple[str, int]]:
        answer = await http.get(USAGE, headers=headers, params=params)
        assert answer.status_code == 200, answer.text
        return sorted((row["owner"], row["requests"]) for row in answer.json()["data"])

    assert await rows(alice) == await rows(second) == [("alice", 1), ("alice", 2)]
    assert await rows(bob) == [("bob", 1)] and await rows(bob, owner="alice") == []
    assert await rows(admin) == [("alice", 1), ("alice", 2), ("bob", 1)]
    assert await rows(admin, owner="bob") == [("bob", 1)]
    assert await rows(admin, first_day="2999-01-01") == await rows(admin, last_day="2000-01-01") == []
    page = (await http.get(USAGE, headers=admin, params={"limit": 1})).json()
    rest = (await http.get(USAGE, headers=admin, params={"after": page["last_id"]})).json()
    assert page["has_more"] and len(rest["data"]) == 2
    assert error_of(await http.get(USAGE, headers=admin, params={"after": "usage-00"}), 400)["param"] == "after"
    assert error_of(await http.get(USAGE, headers=admin, params={"first_day": "today"}), 400)["param"] == "first_day"


async def test_a_route_says_which_scopes_it_needs() -> None:
    router = APIRouter(route_class=JsonRoute)

    async def forgotten() -> None:
        """Say nothing of scopes."""

    with pytest.raises(TypeError, match="forgotten does not say which scopes it needs"):
        router.get("/forgotten")(forgotten)


async def test_neither_a_key_nor_its_hash_is_logged_and_the_key_is_stored_nowhere(
    http: httpx.AsyncClient, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    admin = (await http.post(KEYS, json={"owner": "root", "scopes": ["admin"]})).json()["key"]
    made = (await http.post(KEYS, json={"owner": "alice"}, headers=bearer(admin))).json()
    secret = made["key"]
    later = bearer(secret) | {"prefer": "respond-async"}
    assert (await http.post(CHAT, json=BODY, headers=later)).status_code == 202
    assert (await http.post("/v1/rag/documents", json={"texts": ["a"]}, headers=bearer(secret))).status_code == 201
    await http.delete(f"{KEYS}/{made['id']}", headers=bearer(admin))
    for key in (secret, secret + "x"):
        assert error_of(await http.get("/v1/models", headers=bearer(key)), 401)
    metrics = (await http.get("/metrics", headers=bearer(admin))).text
    stored = b"".join(path.read_bytes() for path in services.settings.state_dir.rglob("*") if path.is_file())
    for one in (admin, secret):
        assert one.encode() not in stored
        for shown in (caplog.text, metrics):
            assert one not in shown and key_digest(one).hex()[:12] not in shown
