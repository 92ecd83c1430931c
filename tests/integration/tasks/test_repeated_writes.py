"""Writes of workers: each is stored once, however often it is repeated, and none of a worker that was replaced."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from core import events
from core.catalog import Catalog, JobState
from core.ids import new_id
from core.messages import ChatMessage, GenerateRequest, RagOptions, Usage
from core.settings import load_settings
from tasks.jobs.heartbeats import JobHeartbeats
from tasks.jobs.job_record import JobRecord
from tasks.jobs.keys import events_key, job_key
from tasks.jobs.kinds import CHAT, RAG_CHAT
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Tasks
from tasks.jobs.runner import JobResult, JobRunner, RunningJob
from tests.support import private_redis, wait_until

REQUEST = GenerateRequest(messages=[ChatMessage(role="user", content="Hello")])


def claimed_job(producer: Producer, kind: str = "chat") -> tuple[JobRecord, RunningJob]:
    job_id = new_id("job")
    if kind == "chat":
        producer.submit(job_id, CHAT, REQUEST)
    else:
        producer.submit(job_id, RAG_CHAT, GenerateRequest(REQUEST.messages, rag=RagOptions(query="Hello", top_k=3)))
    claimed = producer.records.claim(job_id, Tasks.GENERATE if kind == "chat" else Tasks.RETRIEVE)
    assert claimed is not None
    record, request = claimed
    return record, RunningJob(record, request, producer.records)


def delta(job: RunningJob, text: str) -> events.TextDelta:
    return events.TextDelta(**job.event_fields(), text=text)


def texts(producer: Producer, job_id: str) -> list[str]:
    return [event.text for _, event in producer.records.replay(job_id) if isinstance(event, events.TextDelta)]


def test_an_append_that_is_repeated_is_stored_once(producer: Producer) -> None:
    record, job = claimed_job(producer)
    first, second = job.as_append(delta(job, "a")), job.as_append(delta(job, "b"))
    last = [producer.records.append(item).last_sequence for item in (first, first, second, first, second)]
    assert last == [2, 2, 3, 3, 3]
    assert texts(producer, record.job_id) == ["a", "b"]
    end = job.as_append(events.Finished(**job.event_fields()))
    assert [producer.records.append(end).accepted for _ in range(2)] == [True, True]
    assert len(producer.records.replay(record.job_id)) == 4


def test_after_an_append_that_is_missing_only_an_end_is_stored(producer: Producer) -> None:
    record, job = claimed_job(producer)
    job.emit(delta(job, "a"))
    job.as_append(delta(job, "this one never arrives"))
    assert not producer.records.append(job.as_append(delta(job, "c"))).accepted, "a gap in the answer"
    assert producer.records.append(job.as_append(events.Cancelled(**job.event_fields(), reason="x"))).accepted
    assert texts(producer, record.job_id) == ["a"]


def test_a_claim_that_is_repeated_succeeds_again(producer: Producer) -> None:
    job_id = new_id("job")
    producer.submit(job_id, CHAT, REQUEST)
    first = producer.records.claim(job_id, Tasks.GENERATE, "claim-1")
    assert first is not None
    again = producer.records.claim(job_id, Tasks.GENERATE, "claim-1")
    assert again is not None and again[0].claim == "claim-1" and again[1] == first[1]
    assert producer.records.claim(job_id, Tasks.GENERATE, "claim-2") is None


def test_a_hand_over_that_is_repeated_does_not_take_the_job_from_the_next_worker(producer: Producer) -> None:
    record, _ = claimed_job(producer, "rag_chat")
    assert producer.records.store_hits(record, [], 1.0)
    assert producer.records.hand_over(record, Tasks.GENERATE)
    assert producer.records.claim(record.job_id, Tasks.GENERATE)
    assert producer.records.hand_over(record, Tasks.GENERATE), "the hand-over was done"
    found = producer.records.load(record.job_id)
    assert found is not None and found.state == "taken" and found.attempt == record.attempt


@pytest.mark.parametrize("by", ["hand-over", "retry"])
def test_nothing_is_stored_for_a_worker_that_no_longer_has_the_job(producer: Producer, by: str) -> None:
    record, job = claimed_job(producer, "rag_chat")
    records = producer.records
    assert records.hand_over(record, Tasks.GENERATE) if by == "hand-over" else records.retry(record) == 2
    before = records.redis.hgetall(job_key(record.job_id)), records.redis.lrange(events_key(record.job_id), 0, -1)
    assert not records.append(job.as_append(events.Accepted(**job.event_fields(), model="m"))).accepted
    assert not records.store_hits(record, [], 1.0)
    assert not records.store_rewrite(record, "query", Usage())
    assert records.renew_heartbeats([record]) == [False]
    assert not records.is_current(record)
    if by == "retry":
        assert not records.hand_over(record, Tasks.GENERATE)
    assert before == (
        records.redis.hgetall(job_key(record.job_id)),
        records.redis.lrange(events_key(record.job_id), 0, -1),
    )


def test_a_worker_learns_from_its_heartbeat_that_it_was_replaced(producer: Producer, catalog: Catalog) -> None:
    job_id = new_id("job")
    catalog.create_job(job_id, "chat", "/v1/chat/completions", "{}")
    producer.submit(job_id, CHAT, REQUEST, durable=True)
    heartbeats, stopped = JobHeartbeats(producer.records), threading.Event()
    runner = JobRunner(producer, catalog, heartbeats)

    def work(job: RunningJob) -> None:
        assert producer.records.retry(job.record) == 2
        assert stopped.wait(60)
        assert job.replaced
        runner.complete(job, JobResult(model="m"))

    runner.run(job_id, Tasks.GENERATE, work, stopped.set)
    heartbeats.close()
    assert catalog.get_job(job_id).state is JobState.RUNNING, "the row is that of the other attempt"


@pytest.fixture
def stalling() -> Iterator[tuple[Producer, int]]:
    """Yield a producer, and the pid of its Redis server."""
    with private_redis() as (url, server):
        producer = Producer(load_settings(redis_url=url))
        yield producer, server.pid
        producer.close()


def test_a_redis_that_hangs_loses_and_doubles_no_token(stalling: tuple[Producer, int], catalog: Catalog) -> None:
    producer, pid = stalling
    heartbeats = JobHeartbeats(producer.records)
    runner = JobRunner(producer, catalog, heartbeats)
    job_id, resumed = new_id("job"), threading.Event()
    producer.submit(job_id, CHAT, REQUEST)

    def resume() -> None:
        os.kill(pid, signal.SIGCONT)
        resumed.set()

    def work(job: RunningJob) -> None:
        for number in range(20):
            if number == 5:
                os.kill(pid, signal.SIGSTOP)
                threading.Timer(3, resume).start()
            job.emit(delta(job, f"{number} "), state="running")
        runner.complete(job, JobResult(model="m"))

    runner.run(job_id, Tasks.GENERATE, work)
    wait_until(resumed.is_set)
    assert texts(producer, job_id) == [f"{number} " for number in range(20)]
    numbers = [number for number, _ in producer.records.replay(job_id)]
    assert numbers == list(range(1, 23))
    heartbeats.close()
