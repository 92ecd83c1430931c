"""Many readers that wait: they cost Redis next to nothing, share its connections, and still notice what is lost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from anyio import to_thread

from core import events
from core.ids import new_id
from core.messages import ChatMessage, GenerateRequest
from core.settings import Settings, load_settings
from tasks.jobs.job_record import JobRecord
from tasks.jobs.keys import heartbeat_key
from tasks.jobs.kinds import CHAT
from tasks.jobs.presence import WATCHED
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Tasks
from tasks.jobs.reader import UNSERVED_SECONDS, Frame
from tasks.jobs.records import Append
from tasks.jobs.redis_client import MAX_ASYNC_CONNECTIONS
from tasks.jobs.stream import MAX_ASKING, JobStream

REQUEST = GenerateRequest(messages=[ChatMessage(role="user", content="Hello")])
READERS = 200


@pytest.fixture
def job_settings(redis_url: str) -> Settings:
    return load_settings(redis_url=redis_url, max_queued_jobs=2 * READERS)


@pytest.fixture
def worker() -> dict[str, float]:
    """Return the process as which a worker of each role announces itself. A test may replace it."""
    return {"pid": 1, "started_at": 1.0}


@pytest.fixture
async def stream(job_settings: Settings, producer: Producer, worker: dict[str, float]) -> AsyncIterator[JobStream]:
    stream = JobStream(job_settings, producer)
    announcing = asyncio.create_task(keep_announcing(producer, worker))
    await stream.start()
    yield stream
    await stream.close()
    announcing.cancel()


async def keep_announcing(producer: Producer, worker: dict[str, float]) -> None:
    while True:
        for role in WATCHED:
            producer.announce(role, "one", worker)
        await asyncio.sleep(2)


async def running_job(stream: JobStream, producer: Producer) -> JobRecord:
    """Return a job that a worker runs."""
    job_id = new_id("job")
    await stream.submit(job_id, CHAT, REQUEST)
    claimed = producer.records.claim(job_id, Tasks.GENERATE)
    assert claimed is not None
    return claimed[0]


def finish(producer: Producer, job_id: str, attempt: int = 1) -> None:
    end = events.Finished(job_id=job_id, attempt=attempt)
    assert producer.records.append(Append(job_id, attempt, [end], Queue.INFERENCE)).accepted


async def test_many_readers_that_wait_cost_redis_little_and_leave_connections_for_others(
    stream: JobStream, producer: Producer
) -> None:
    redis = producer.records.redis
    jobs = [(await running_job(stream, producer)).job_id for _ in range(READERS)]
    ended: list[str] = []

    async def read(job_id: str) -> None:
        async for _, event in stream.replay(job_id):
            if events.is_terminal(event):
                ended.append(job_id)

    readers = [asyncio.create_task(read(job_id)) for job_id in jobs]
    async with asyncio.timeout(60):
        while (
            redis.execute_command("PUBSUB", "NUMSUB", *(f"job:{job_id}:live" for job_id in jobs))[1::2].count(1)
            < READERS
        ):
            await asyncio.sleep(0.1)
        first, began = redis.info("stats")["total_commands_processed"], time.monotonic()
        await asyncio.sleep(4)  # the time over which the rate is measured
        commands = redis.info("stats")["total_commands_processed"] - first
        rate = commands / (time.monotonic() - began)
        # Per second: the workers' presence (4), the announcements of this test, and what is left of the start.
        assert rate < READERS / 4, f"{rate:.0f} commands a second for {READERS} readers"
        await stream.ping()
        assert redis.info("clients")["connected_clients"] < 3 * MAX_ASYNC_CONNECTIONS
        for job_id in jobs:
            finish(producer, job_id)
        await asyncio.gather(*readers)
    assert sorted(ended) == sorted(jobs)


async def test_few_readers_at_a_time_ask_redis_and_none_fails_for_waiting(
    stream: JobStream, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking, most, read = 0, 0, stream._frames_after
    failures = 40

    async def slow(job_id: str, number: int) -> list[Frame]:
        nonlocal asking, most, failures
        asking, failures = asking + 1, failures - 1
        most = max(most, asking)
        await asyncio.sleep(0.02)
        asking -= 1
        if failures > 0:
            raise TimeoutError
        return await read(job_id, number)

    jobs = [(await running_job(stream, producer)).job_id for _ in range(READERS // 4)]
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(stream.open(job_id)) for job_id in jobs]
        for reader in readers:
            reader.keep_job = reader.submitted = True
        reading = [asyncio.create_task(anext(aiter(reader))) for reader in readers]
        monkeypatch.setattr(stream, "_frames_after", slow)
        for reader in readers:
            reader.tick(time.monotonic() + 2, often=True)
        while failures > 0:
            await asyncio.sleep(0.01)
        for job_id in jobs:
            finish(producer, job_id)
        ends = [event for _, event in await asyncio.gather(*reading)]
    assert most <= MAX_ASKING
    assert not any(isinstance(event, events.Failed) for event in ends)


async def test_a_worker_that_was_replaced_makes_readers_check_their_jobs(
    stream: JobStream, producer: Producer, worker: dict[str, float]
) -> None:
    record = await running_job(stream, producer)

    async def read() -> events.AnyEvent:
        return [event async for _, event in stream.replay(record.job_id)][-1]

    async with asyncio.timeout(60):
        reader = asyncio.create_task(read())
        while not stream.presence.all_roles_are_served:
            await asyncio.sleep(0.1)
        # The same name, but another process: the job's worker was killed and started again.
        worker.update(pid=2, started_at=2.0)
        producer.records.redis.delete(heartbeat_key(record.job_id))
        while (found := producer.records.load(record.job_id)) and found.attempt == 1:
            await asyncio.sleep(0.1)
        assert found is not None and found.state == "queued"
        finish(producer, record.job_id, attempt=2)
        assert isinstance(await reader, events.Finished)


async def test_a_job_that_has_waited_long_survives_a_short_absence_of_its_workers(
    stream: JobStream, producer: Producer
) -> None:
    job_id = new_id("job")
    async with asyncio.timeout(60), stream.open(job_id) as reader:
        await stream.submit(job_id, CHAT, REQUEST)
        while not stream.presence.all_roles_are_served:
            await asyncio.sleep(0.1)
        reader._quiet_since -= 10 * UNSERVED_SECONDS
        while stream.presence.all_roles_are_served:
            for role in WATCHED:
                producer.withdraw(role, "one")
            await asyncio.sleep(0.01)
        await reader._check_job()
        record = producer.records.load(job_id)
        assert record is not None and not record.done


async def test_a_job_is_cancelled_while_all_other_threads_of_the_process_are_busy(
    stream: JobStream, producer: Producer
) -> None:
    record = await running_job(stream, producer)
    release = threading.Event()
    busy = [asyncio.create_task(to_thread.run_sync(release.wait, 30)) for _ in range(100)]
    try:
        async with asyncio.timeout(60):
            limiter = to_thread.current_default_thread_limiter()
            while limiter.available_tokens:
                await asyncio.sleep(0.05)
            assert await stream.cancel(record.job_id)
    finally:
        release.set()
        await asyncio.gather(*busy)
