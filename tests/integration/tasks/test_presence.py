"""The presence of workers: that Redis does not answer says nothing about them."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from core.settings import load_settings
from tasks.jobs import reader
from tasks.jobs.presence import WATCHED, WorkerPresence
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.support import private_redis


@asynccontextmanager
async def presence_in(url: str, clock: Callable[[], float]) -> AsyncIterator[WorkerPresence]:
    client = redis.asyncio.Redis.from_url(url)
    yield WorkerPresence(client, clock)
    await client.aclose()


async def test_a_role_counts_as_unserved_only_while_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(reader, "REPLY_SECONDS", 0.2)
    with private_redis() as (url, server):
        producer = Producer(load_settings(_env_file=None, redis_url=url))
        for role in WATCHED[1:]:
            producer.announce(role, "one", {"pid": 1})
        async with presence_in(url, lambda: clock[0]) as presence:
            assert presence.unserved_seconds(Role.INFERENCE) == 0, "nothing is known yet"
            for _ in range(2):
                assert await presence.refresh()
                clock[0] += 10
            assert presence.unserved_seconds(Role.INFERENCE) == 20
            assert presence.unserved_seconds(Role.INDEX) == 0
            os.kill(server.pid, signal.SIGSTOP)
            try:
                for _ in range(2):
                    assert presence.unanswered_seconds() in (0, 10)
                    with pytest.raises(OSError):
                        await presence.refresh()
                    clock[0] += 10
            finally:
                os.kill(server.pid, signal.SIGCONT)
            assert presence.unserved_seconds(Role.INFERENCE) == 0
            assert presence.unanswered_seconds() == 20
            producer.announce(Role.INFERENCE, "one", {"pid": 1})
            assert await presence.refresh()
            clock[0] += 10
            assert presence.unserved_seconds(Role.INFERENCE) == presence.unanswered_seconds() == 0
        producer.close()
