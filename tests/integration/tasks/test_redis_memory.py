"""The memory of Redis: what has been read goes soon, and new work is refused before it is full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from core import events
from core.errors import Unavailable
from core.ids import new_id
from core.messages import ChatMessage, GenerateRequest
from core.settings import Settings, load_settings
from tasks.jobs.keys import events_key, job_key
from tasks.jobs.kinds import CHAT
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Tasks
from tasks.jobs.records import READ_TTL_SECONDS, Append
from tasks.jobs.redis_memory import MEASURED_SECONDS
from tasks.jobs.runner import RunningJob
from tasks.jobs.stream import JobStream
from tests.support import private_redis, wait_until

LIMIT_BYTES = 32 * 2**20
REQUEST = GenerateRequest(messages=[ChatMessage(role="user", content="Hello")])


@pytest.fixture
async def stream(job_settings: Settings, producer: Producer) -> AsyncIterator[JobStream]:
    stream = JobStream(job_settings, producer)
    await stream.start()
    yield stream
    await stream.close()


def ttls(producer: Producer, job_id: str) -> list[int]:
    return [producer.records.redis.ttl(key) for key in (job_key(job_id), events_key(job_id))]


@pytest.mark.parametrize("leaves", [False, True], ids=["read", "left"])
async def test_what_a_client_has_read_or_left_is_deleted_soon(
    stream: JobStream, producer: Producer, *, leaves: bool
) -> None:
    job_id = new_id("job")
    async with asyncio.timeout(20), stream.open(job_id) as reader:
        await stream.submit(job_id, CHAT, REQUEST)
        claimed = producer.records.claim(job_id, Tasks.GENERATE)
        assert claimed is not None
        job = RunningJob(*claimed, producer.records)
        job.emit(events.TextDelta(**job.event_fields(), text="a"), state="running")
        if not leaves:
            job.emit(events.Finished(**job.event_fields()))
            assert [number async for number, _ in reader] == [1, 2, 3]
    if leaves:
        assert min(ttls(producer, job_id)) > READ_TTL_SECONDS, "it has not ended"
        job.emit(events.Cancelled(**job.event_fields(), reason="cancelled"))
    assert all(0 < ttl <= READ_TTL_SECONDS for ttl in ttls(producer, job_id))
    assert [number for number, _ in await stream.frames_after(job_id, 1)] == [2, 3], "until then it can be resumed"
    producer.records.renew_heartbeats([job.record])
    assert all(0 < ttl <= READ_TTL_SECONDS for ttl in ttls(producer, job_id))


def test_at_nine_tenths_of_its_memory_new_work_is_refused_and_running_work_ends() -> None:
    with private_redis(LIMIT_BYTES) as (url, _):
        producer = Producer(load_settings(redis_url=url))
        redis, job_id = producer.records.redis, new_id("job")
        producer.submit(job_id, CHAT, REQUEST)
        pieces = 0
        while redis.info("memory")["used_memory"] < 0.92 * LIMIT_BYTES:
            redis.set(f"ballast:{pieces}", b"x" * (LIMIT_BYTES // 64))
            pieces += 1
        wait_until(lambda: is_full(producer), 10 * MEASURED_SECONDS + 5)
        with pytest.raises(Unavailable) as caught:
            producer.submit(new_id("job"), CHAT, REQUEST)
        assert caught.value.code == "redis_full" and caught.value.retry_after_seconds
        assert producer.records.claim(job_id, Tasks.GENERATE)
        end = events.Finished(job_id=job_id, attempt=1)
        assert producer.records.append(Append(job_id, 1, [end], Queue.INFERENCE)).accepted
        redis.delete(*(f"ballast:{piece}" for piece in range(pieces)))
        wait_until(lambda: not is_full(producer), 10 * MEASURED_SECONDS + 5)
        producer.submit(new_id("job"), CHAT, REQUEST)
        producer.close()


def is_full(producer: Producer) -> bool:
    try:
        producer.check_room()
    except Unavailable:
        return True
    return False
