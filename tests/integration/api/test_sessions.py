"""Sessions in a real Redis: how long they last, and how many a key has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from core.keys import key_digest
from core.settings import load_settings
from tasks.jobs import sessions as module
from tasks.jobs.sessions import SESSION_SECONDS, Sessions

pytestmark = pytest.mark.asyncio

KEY = key_digest("secret")


@pytest_asyncio.fixture
async def sessions(redis_url: str) -> AsyncIterator[Sessions]:
    opened = Sessions(load_settings(_env_file=None, redis_url=redis_url))
    await opened._redis.flushdb()
    yield opened
    await opened.close()


async def test_a_session_is_found_by_its_token_until_it_ends(sessions: Sessions) -> None:
    token, other = await sessions.create(KEY), await sessions.create(KEY)
    assert await sessions.find(token) == await sessions.find(other) == KEY
    await sessions.end(token)
    await sessions.end(token)
    assert await sessions.find(token) is None and await sessions.find(other) == KEY
    stored = b" ".join([name + b"" async for name in sessions._redis.scan_iter()])
    assert other.encode() not in stored, "the token itself is not stored"


async def test_each_use_makes_it_last_seven_days_more(sessions: Sessions) -> None:
    token = await sessions.create(KEY)
    names = [name async for name in sessions._redis.scan_iter()]
    for name in names:
        await sessions._redis.expire(name, 10)
    assert await sessions.find(token) == KEY
    assert {await sessions._redis.ttl(name) for name in names} <= {SESSION_SECONDS, SESSION_SECONDS - 1}


async def test_the_oldest_session_of_a_key_ends_with_one_too_many(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS_OF_KEY", 2)
    tokens = [await sessions.create(KEY) for _ in range(4)]
    of_another_key = await sessions.create(key_digest("other"))
    found = [await sessions.find(token) for token in tokens]
    assert found.count(KEY) == 2 and await sessions.find(of_another_key) == key_digest("other")
