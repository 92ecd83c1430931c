"""The protocol of job events with a real Redis: no gaps, replay, retries, cancellation, one terminal event."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.connection import UnixDomainSocketConnection

from core import events
from core.errors import Unavailable
from core.ids import new_id
from core.messages import ChatMessage, GenerateRequest
from core.settings import Settings, load_settings
from tasks.jobs.keys import channel, finished_key, heartbeat_key, job_key
from tasks.jobs.kinds import CHAT
from tasks.jobs.producer import MAX_JOB_ATTEMPTS, Producer
from tasks.jobs.queues import Queue, Role, Tasks
from tasks.jobs.records import Append, JobRecords
from tasks.jobs.stream import JobStream
from tests.support import wait_until

REQUEST = GenerateRequest(messages=[ChatMessage(role="user", content="Hello")])


@pytest.fixture
async def stream(job_settings: Settings, producer: Producer) -> AsyncIterator[JobStream]:
    stream = JobStream(job_settings, producer)
    await stream.start()
    yield stream
    await stream.close()


def text(job_id: str, value: str, attempt: int = 1) -> events.TextDelta:
    return events.TextDelta(job_id=job_id, attempt=attempt, text=value)


def finished(job_id: str, attempt: int = 1) -> events.Finished:
    return events.Finished(job_id=job_id, attempt=attempt)


def append(records: JobRecords, job_id: str, *items: events.AnyEvent, attempt: int = 1, state: str = "running") -> bool:
    return records.append(Append(job_id, attempt, items, Queue.INFERENCE, state)).accepted


def has_ended(producer: Producer, job_id: str) -> bool:
    record = producer.records.load(job_id)
    return record is None or record.done


async def read_all(stream: JobStream, job_id: str, after: int = 0) -> list[tuple[int, events.AnyEvent]]:
    async with asyncio.timeout(60):
        return [frame async for frame in stream.replay(job_id, after)]


async def test_reader_gets_every_event_once_in_order(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    async with stream.open(job_id) as reader:
        await stream.submit(job_id, CHAT, REQUEST)
        append(producer.records, job_id, text(job_id, "a"), text(job_id, "b"))
        append(producer.records, job_id, text(job_id, "c"), finished(job_id))
        async with asyncio.timeout(60):
            seen = [frame async for frame in reader]
    assert [number for number, _ in seen] == [1, 2, 3, 4, 5]
    assert isinstance(seen[0][1], events.Queued) and seen[0][1].position == 0
    assert [event.text for _, event in seen if isinstance(event, events.TextDelta)] == ["a", "b", "c"]
    assert isinstance(seen[4][1], events.Finished)


async def test_events_published_while_nobody_listened_come_from_the_replay(
    stream: JobStream, producer: Producer
) -> None:
    job_id = new_id("job")
    await stream.submit(job_id, CHAT, REQUEST)
    append(producer.records, job_id, text(job_id, "a"), text(job_id, "b"), finished(job_id))
    assert [number for number, _ in await read_all(stream, job_id)] == [1, 2, 3, 4]
    assert [number for number, _ in await read_all(stream, job_id, after=2)] == [3, 4]


async def test_the_replay_begins_after_any_number(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    await stream.submit(job_id, CHAT, REQUEST)
    append(producer.records, job_id, text(job_id, "a"), text(job_id, "b"))
    for number in range(4):
        assert [found for found, _ in await stream.frames_after(job_id, number)] == list(range(number + 1, 4))
    assert await stream.frames_after("job-unknown", 0) == await stream.frames_after("job-unknown", 1) == []


async def test_a_lost_publication_is_read_from_the_replay(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    redis = producer.records.redis
    async with stream.open(job_id) as reader:
        await stream.submit(job_id, CHAT, REQUEST)
        for number in (2, 3):  # what the append script does, but without publishing
            redis.rpush(f"job:{job_id}:events", f"{number} ".encode() + events.encode(text(job_id, str(number))))
        redis.hset(job_key(job_id), "seq", 3)
        append(producer.records, job_id, finished(job_id))
        async with asyncio.timeout(60):
            assert [number async for number, _ in reader] == [1, 2, 3, 4]


async def test_dropped_subscriber_connection_loses_nothing(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    async with stream.open(job_id) as reader:
        await stream.submit(job_id, CHAT, REQUEST)
        append(producer.records, job_id, text(job_id, "a"))
        iterator = reader.__aiter__()
        async with asyncio.timeout(60):
            assert [(await anext(iterator))[0] for _ in range(2)] == [1, 2]
            producer.records.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            append(producer.records, job_id, text(job_id, "b"), finished(job_id))
            assert [number async for number, _ in iterator] == [3, 4]


async def test_nothing_comes_after_the_terminal_event(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    await stream.submit(job_id, CHAT, REQUEST)
    assert append(producer.records, job_id, finished(job_id))
    assert not append(producer.records, job_id, text(job_id, "late"))
    assert [type(event) for _, event in await read_all(stream, job_id)] == [events.Queued, events.Finished]


async def test_an_older_attempt_is_refused(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    await stream.submit(job_id, CHAT, REQUEST)
    record = producer.records.load(job_id)
    assert record is not None
    assert producer.records.retry(record) == 2
    assert producer.records.retry(record) is None, "the same loss is acted upon once"
    assert not append(producer.records, job_id, text(job_id, "old"), attempt=1)
    assert append(producer.records, job_id, text(job_id, "new", 2), finished(job_id, 2), attempt=2)


async def test_a_running_job_without_heartbeat_is_sent_again(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    async with stream.open(job_id) as reader:
        await stream.submit(job_id, CHAT, REQUEST)
        append(producer.records, job_id, text(job_id, "a"))
        iterator = reader.__aiter__()
        async with asyncio.timeout(60):
            assert [(await anext(iterator))[0] for _ in range(2)] == [1, 2]
            waiting = asyncio.ensure_future(anext(iterator))
            while (record := producer.records.load(job_id)) and record.attempt == 1:
                await asyncio.wait({waiting}, timeout=0.1)
            assert record and record.attempt == 2 and record.state == "queued"
            append(producer.records, job_id, finished(job_id, 2), attempt=2)
            assert isinstance((await waiting)[1], events.Finished)
    assert producer.queue_lengths()["inference"] == 2


async def test_a_job_that_loses_every_worker_fails(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    await stream.submit(job_id, CHAT, REQUEST)
    for attempt in range(1, MAX_JOB_ATTEMPTS + 1):
        append(producer.records, job_id, text(job_id, "x", attempt), attempt=attempt)
        wait_until(lambda: producer.revive(job_id) or has_ended(producer, job_id))
    _, last = (await read_all(stream, job_id))[-1]
    assert isinstance(last, events.Failed) and last.error.code == "worker_lost"


def test_a_job_that_waits_loses_no_attempt_however_long(producer: Producer) -> None:
    job_id = new_id("job")
    producer.submit(job_id, CHAT, REQUEST)
    redis = producer.records.redis
    for _ in range(2 * MAX_JOB_ATTEMPTS):
        redis.delete(Queue.INFERENCE.value)  # a worker has prefetched the message, or it was lost
        assert not producer.revive(job_id), "its last message was sent a moment ago"
        redis.hset(job_key(job_id), "submitted", time.time() - 1000)
        redis.hdel(job_key(job_id), "resent")
        assert producer.revive(job_id)
        assert producer.queue_lengths()[Queue.INFERENCE.value] == 1
        assert not any(producer.revive(job_id) for _ in range(10)), "messages must not pile up"
    record = producer.records.load(job_id)
    assert record is not None and (record.attempt, record.state, record.done) == (1, "queued", False)


def test_heartbeats_that_expired_while_redis_stalled_lose_no_attempt(producer: Producer) -> None:
    job_id = new_id("job")
    producer.submit(job_id, CHAT, REQUEST)
    claimed = producer.records.claim(job_id, Tasks.GENERATE)
    assert claimed is not None
    producer.records.redis.delete(heartbeat_key(job_id))
    assert not producer.revive(job_id), "its worker may renew it in a moment"
    assert producer.records.renew_heartbeats([claimed[0]]) == [True]
    assert not producer.revive(job_id)
    producer.records.redis.delete(heartbeat_key(job_id))
    assert not producer.revive(job_id), "the first suspicion was refuted"


@pytest.mark.parametrize("skew", [-20, 20])
def test_clocks_of_hosts_that_differ_change_no_deadline(
    producer: Producer, skew: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, clock = new_id("job"), time.time
    monkeypatch.setattr(time, "time", lambda: clock() + skew)  # the host that submits
    producer.submit(job_id, CHAT, REQUEST, deadline_seconds=10)
    monkeypatch.setattr(time, "time", lambda: clock() - skew)  # the host of the worker
    claimed = producer.records.claim(job_id, Tasks.GENERATE)
    assert claimed is not None
    assert claimed[0].deadline == pytest.approx(time.time() + 10, abs=5)


async def test_a_job_with_a_heartbeat_is_not_sent_again(producer: Producer) -> None:
    job_id = new_id("job")
    producer.submit(job_id, CHAT, REQUEST)
    assert producer.records.claim(job_id, Tasks.GENERATE)
    append(producer.records, job_id, text(job_id, "a"))
    assert producer.records.redis.ttl(heartbeat_key(job_id)) <= 5
    assert not producer.revive(job_id)


async def test_leaving_a_reader_cancels_the_job_unless_it_is_kept(stream: JobStream, producer: Producer) -> None:
    left, kept = new_id("job"), new_id("job")
    for job_id in (left, kept):
        async with stream.open(job_id) as reader:
            reader.keep_job = job_id == kept
            await stream.submit(job_id, CHAT, REQUEST)
            append(producer.records, job_id, text(job_id, "a"))
    left_record, kept_record = producer.records.load(left), producer.records.load(kept)
    assert left_record and left_record.cancelled
    assert kept_record and not kept_record.cancelled
    assert producer.records.redis.pubsub_numsub(channel(left))[0][1] == 0


async def test_cancelling_a_waiting_job_ends_it_at_once(stream: JobStream, producer: Producer) -> None:
    job_id = new_id("job")
    await stream.submit(job_id, CHAT, REQUEST)
    assert await stream.position(job_id) == 0
    assert await stream.cancel(job_id)
    assert isinstance((await read_all(stream, job_id))[-1][1], events.Cancelled)
    assert await stream.position(job_id) is None
    assert not await stream.cancel(job_id)


async def test_a_full_queue_refuses_a_job_and_leaves_no_record(stream: JobStream, producer: Producer) -> None:
    for position in range(3):
        assert await stream.submit(new_id("job"), CHAT, REQUEST) == position
    refused = new_id("job")
    with pytest.raises(Unavailable) as caught:
        await stream.submit(refused, CHAT, REQUEST)
    assert caught.value.code == "queue_full" and caught.value.retry_after_seconds
    assert producer.records.load(refused) is None


async def test_a_refusal_estimates_how_long_the_queue_takes_to_drain(stream: JobStream, producer: Producer) -> None:
    done = [new_id("job") for _ in range(2)]
    for job_id in done:
        await stream.submit(job_id, CHAT, REQUEST)
        append(producer.records, job_id, finished(job_id))
    # As if the two had taken ten seconds each.
    producer.records.redis.rpush(finished_key(Queue.INFERENCE), time.time() - 20)
    producer.records.redis.lset(finished_key(Queue.INFERENCE), 1, time.time() - 10)
    for _ in range(3):
        await stream.submit(new_id("job"), CHAT, REQUEST)
    with pytest.raises(Unavailable) as caught:
        await stream.submit(new_id("job"), CHAT, REQUEST)
    assert caught.value.retry_after_seconds == pytest.approx(20, abs=5)


def test_without_redis_a_submission_fails_after_a_few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0

    def refuse(_: object) -> None:
        nonlocal tries
        tries += 1
        raise ConnectionRefusedError

    monkeypatch.setattr(UnixDomainSocketConnection, "_connect", refuse)
    with pytest.raises(Unavailable):
        Producer(load_settings(redis_url="unix:///nonexistent/redis.sock")).submit(new_id("job"), CHAT, REQUEST)
    assert 1 < tries <= 4


def test_workers_that_no_longer_announce_themselves_are_not_listed(producer: Producer) -> None:
    producer.announce(Role.INFERENCE, "one", {"model": "x"})
    assert producer.workers(Role.INFERENCE)["one"]["model"] == "x"
    producer.records.redis.hset("workers:inference", "dead", '{"at": 1}')
    assert list(producer.workers(Role.INFERENCE)) == ["one"]
    with pytest.MonkeyPatch.context() as patch:
        for skew in (-20, 20):  # the clock of this host, which may differ from that of the worker's host
            now = time.time() + skew
            patch.setattr(time, "time", lambda now=now: now)
            assert list(producer.workers(Role.INFERENCE)) == ["one"]
            producer.announce(Role.INFERENCE, "one", {"model": "x"})
    producer.withdraw(Role.INFERENCE, "one")
    assert producer.workers(Role.INFERENCE) == {}
