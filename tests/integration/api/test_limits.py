"""The limits of a key with a real Redis: requests per minute, concurrent requests, and the release of slots."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

import tasks.jobs.key_limits
from api.app import create_app, open_services
from api.dependencies import Services
from core import events
from core.errors import Unavailable
from core.settings import Settings, load_settings
from tasks.jobs.key_limits import KeyLimits, Quota
from tasks.jobs.keys import requests_key, running_key
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import client_of
from tests.unit.api.test_leaving import RawClient

CHAT = "/v1/chat/completions"
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}
WAIT_SECONDS = 5


@pytest.fixture
def keys() -> tuple[str, str]:
    """Return two keys that only this test uses, because Redis is shared."""
    return secrets.token_hex(8), secrets.token_hex(8)


@pytest.fixture
def limited(settings: Settings, redis_url: str, keys: tuple[str, str]) -> Callable[..., Settings]:
    """Return a function that makes settings with both keys and the given limits."""

    def make(**limits: int) -> Settings:
        return load_settings(
            _env_file=None, data_dir=settings.data_dir, redis_url=redis_url, api_keys=",".join(keys), **limits
        )

    return make


def id_of(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


@pytest.fixture
async def opened(request: Any) -> AsyncIterator[Callable[[Settings], KeyLimits]]:
    """Yield a function that opens limits as an API process does. Close them at the end."""
    made: list[KeyLimits] = []

    def open_limits(settings: Settings) -> KeyLimits:
        limits = KeyLimits(settings)
        made.append(limits)
        return limits

    yield open_limits
    for limits in made:
        await limits.close()


async def test_the_requests_of_a_key_in_a_minute_are_limited(
    services: Services, limited: Any, opened: Any, keys: tuple[str, str], redis_url: str
) -> None:
    settings = limited(rate_limit_requests_per_minute=3)
    async with client_of(replace(services, settings=settings, limits=opened(settings))) as client:
        for remaining in (2, 1, 0):
            answer = await client.post(CHAT, json=BODY, headers=bearer(keys[0]))
            assert answer.status_code == 200
            assert answer.headers["x-ratelimit-limit-requests"] == "3"
            assert answer.headers["x-ratelimit-remaining-requests"] == str(remaining)
            assert answer.headers["x-ratelimit-reset-requests"] == "1m0s"
        refused = await client.post(CHAT, json=BODY | {"stream": True}, headers=bearer(keys[0]))
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert "RATE_LIMIT_REQUESTS_PER_MINUTE" in error["message"] and refused.headers["x-request-id"]
        assert 50 < int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert (await client.get("/v1/models", headers=bearer(keys[0]))).status_code == 200, "reading is free"
        assert (await client.post(CHAT, json=BODY, headers=bearer(keys[1]))).status_code == 200, "another key's own"
        # Move the first of the three requests a minute back: now there is room for one more.
        client_of_redis = redis.Redis.from_url(redis_url)
        oldest = client_of_redis.zrange(requests_key(id_of(keys[0])), 0, 0, withscores=True)
        client_of_redis.zadd(requests_key(id_of(keys[0])), {oldest[0][0]: oldest[0][1] - 60_001})  # type: ignore[index]
        client_of_redis.close()
        assert (await client.post(CHAT, json=BODY, headers=bearer(keys[0]))).status_code == 200
        assert (await client.post(CHAT, json=BODY, headers=bearer(keys[0]))).status_code == 429


async def test_the_concurrent_requests_of_a_key_are_limited_and_a_client_that_leaves_makes_room(
    services: Services, stream: FakeJobStream, limited: Any, opened: Any, keys: tuple[str, str]
) -> None:
    settings = limited(max_concurrent_requests_per_key=2)
    for_ever = asyncio.Event()

    def hold(job_id: str, _: Any, __: str) -> Any:
        yield events.Accepted(job_id=job_id, attempt=1, model="m")
        yield for_ever

    stream.scripts["chat"] = hold
    app = create_app(services=replace(services, settings=settings, limits=opened(settings)))
    app.state.services = replace(services, settings=settings, limits=opened(settings))
    callers = [RawClient(CHAT, BODY | {"stream": streamed}) for streamed in (True, False)]
    for caller in callers:
        caller.scope["headers"] += [(b"authorization", f"Bearer {keys[0]}".encode())]
    running = [asyncio.create_task(app(caller.scope, caller.receive, caller.send)) for caller in callers]
    await until(lambda: len(stream.submitted) == 2)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=bearer(keys[0])) as client:
        refused = await client.post("/v1/embeddings", json={"input": "a"})
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "concurrency_limit_exceeded"
        assert int(refused.headers["retry-after"]) >= 1
        elsewhere = await client.post("/v1/embeddings", json={"input": "a"}, headers=bearer(keys[1]))
        assert elsewhere.status_code == 200
        for caller in callers:
            caller.leave()
            await asyncio.wait_for(running[callers.index(caller)], WAIT_SECONDS)
            assert (await client.post("/v1/embeddings", json={"input": "a"})).status_code == 200


async def test_api_processes_share_their_counts(limited: Any, opened: Any) -> None:
    settings, quota = limited(), Quota(requests_per_minute=8, concurrent_requests=5)
    key, processes = secrets.token_hex(6), [opened(settings), opened(settings)]
    verdicts = await asyncio.gather(*(processes[number % 2].admit(key, quota) for number in range(30)))
    admitted = [verdict for verdict in verdicts if not verdict.refused]
    assert len(admitted) == 5
    assert {verdict.refused for verdict in verdicts} == {None, "concurrency"}
    for verdict in admitted:
        await processes[verdicts.index(verdict) % 2].release(verdict)
    again = [await processes[0].admit(key, quota) for _ in range(4)]
    assert [verdict.refused for verdict in again] == [None, None, None, "rate"], "what was refused was not counted"


async def test_a_slot_is_kept_while_its_request_runs_and_freed_when_the_api_dies(
    limited: Any, opened: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks.jobs.key_limits, "REQUEST_LEASE_SECONDS", 0.5)
    monkeypatch.setattr(tasks.jobs.key_limits, "RENEW_SECONDS", 0.05)
    settings, key, quota = limited(), secrets.token_hex(6), Quota(concurrent_requests=1)
    one, other = opened(settings), opened(settings)
    await one.start()
    began = time.time()
    verdict = await one.admit(key, quota)
    with redis.Redis.from_url(redis_url) as client:
        await until(lambda: (client.zscore(running_key(key), verdict.lease) or 0) > (began + 1) * 1000)
    assert (await other.admit(key, quota)).refused == "concurrency"
    await one.close()  # without releasing the slot, like a process that is killed
    async with asyncio.timeout(WAIT_SECONDS):
        while (await other.admit(key, quota)).refused:
            await asyncio.sleep(0.05)


async def test_without_redis_a_limited_request_is_503(services: Services, limited: Any, opened: Any, keys: Any) -> None:
    settings = limited(rate_limit_requests_per_minute=3).model_copy(update={"redis_url": "unix:///nowhere/redis.sock"})
    async with client_of(replace(services, settings=settings, limits=opened(settings))) as client:
        answer = await client.post(CHAT, json=BODY, headers=bearer(keys[0]))
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == Unavailable.type and answer.headers["retry-after"]


async def test_no_key_is_written_anywhere(
    limited: Any, keys: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    settings = limited(rate_limit_requests_per_minute=30, max_concurrent_requests_per_key=3, index_wait_seconds=0)
    async with open_services(settings) as services, client_of(services) as client:
        for path, body in ((CHAT, BODY), ("/v1/embeddings", {"input": "a"})):
            later = await client.post(path, json=body, headers=bearer(keys[0]) | {"prefer": "respond-async"})
            assert later.status_code == 202, later.text
        await client.post("/v1/rag/documents", json={"texts": ["a"]}, headers=bearer(keys[0]))
        await client.post(CHAT, json=BODY, headers=bearer(keys[0] + "x"))
        job = services.catalog.get_job(later.json()["id"])
    with redis.Redis.from_url(settings.redis_client_url) as client_of_redis:
        stored = [repr(client_of_redis.dump(name)).encode() + name for name in client_of_redis.keys("*")]
    assert any(id_of(keys[0]).encode() in entry for entry in stored), "it is known by its hash"
    files = [path.read_bytes() for path in Path(settings.state_dir).rglob("*") if path.is_file()]
    for written in (*stored, *files, caplog.text.encode(), repr(settings).encode(), repr(job).encode()):
        assert keys[0].encode() not in written
