"""What waits and runs, read from a real Redis: turns, estimates, tokens, and counts of what was done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis.asyncio

from core import events
from core.messages import GenerateRequest
from core.settings import Settings
from tasks.jobs import queue_view
from tasks.jobs.job_record import JobRecord, ServedModel
from tasks.jobs.keys import active_key, durations_key, job_key
from tasks.jobs.kinds import CHAT, RAG_CHAT
from tasks.jobs.producer import Producer
from tasks.jobs.queue_view import QueueView, Waiting
from tasks.jobs.queues import Role, Tasks
from tasks.jobs.records import Append

pytestmark = pytest.mark.asyncio

MODEL = "a-model"
QUEUE = f"inference.{MODEL}"
REQUEST = GenerateRequest(messages=[])


@pytest_asyncio.fixture
async def view(job_settings: Settings, producer: Producer) -> AsyncIterator[QueueView]:
    client = redis.asyncio.Redis.from_url(job_settings.redis_client_url)
    info = {"slug": MODEL, "model": {"name": "A model"}, "serves_any": True, "engine": {"slots": 2}}
    producer.announce(Role.INFERENCE, "inference@host", info)
    yield QueueView(client)
    await client.aclose()


def submit(producer: Producer, *job_ids: str, durable: bool = False, model: str = MODEL) -> None:
    for job_id in job_ids:
        producer.submit(job_id, CHAT, REQUEST, durable=durable, owner="bob", model=model)


def take(producer: Producer, job_id: str) -> JobRecord:
    claimed = producer.records.claim(job_id, Tasks.GENERATE, f"claim-{job_id}", ServedModel(MODEL, "digest"))
    assert claimed is not None
    return claimed[0]


def append(producer: Producer, record: JobRecord, number: int, *items: events.AnyEvent, state: str = "") -> None:
    written = producer.records.append(
        Append(record.job_id, record.attempt, items, record.queue_name, state, record.claim, number)
    )
    assert written.accepted


async def test_a_job_is_followed_from_its_turn_to_its_end(producer: Producer, view: QueueView) -> None:
    submit(producer, "one", "two", "three")
    turns, running = await view.turns()
    assert running == 0 and turns == {
        "one": Waiting(0, 0.0),
        "two": Waiting(1, 0.0),
        "three": Waiting(2, None),
    }, "two slots are free, and nobody knows yet how long a job takes"
    records = [take(producer, job_id) for job_id in ("one", "two")]
    at = {"job_id": "one", "attempt": 1}
    append(producer, records[0], 1, events.Accepted(**at, model=MODEL), state="running")
    append(producer, records[0], 2, events.TextDelta(**at, text="a", token_ids=[1, 2, 3]))
    append(producer, records[0], 3, events.TextDelta(**at, text="b", token_ids=[4]))
    jobs, workers = await view.jobs()
    found = {job.job_id: job for job in jobs}
    assert (found["one"].tokens, found["one"].turn, found["one"].owner, found["one"].durable) == (4, None, "bob", False)
    assert found["one"].running_seconds is not None and found["three"].running_seconds is None
    assert found["three"].turn == Waiting(0, None) and set(workers[Role.INFERENCE]) == {"inference@host"}
    append(producer, records[0], 4, events.Finished(**at, model=MODEL))
    found = {job.job_id: job for job in (await view.jobs())[0]}
    assert set(found) == {"two", "three"} and found["three"].turn == Waiting(0, 0.0), "a slot is free"


async def test_the_wait_is_estimated_from_the_last_durations_and_the_slots(producer: Producer, view: QueueView) -> None:
    producer.records.redis.rpush(durations_key(QUEUE), 10, 20, 30)
    submit(producer, *"abc")
    for job_id in "abc":
        accepted = events.Accepted(job_id=job_id, attempt=1, model=MODEL)
        append(producer, take(producer, job_id), 1, accepted, state="running")
    submit(producer, "d", "e")
    submit(producer, "later", durable=True)
    turns, running = await view.turns()
    assert running == 3
    assert [turns[job_id].estimated_start_seconds for job_id in ("d", "e")] == [10.0, 20.0]
    assert turns["later"] == Waiting(0, 30.0), "durable jobs go behind those that somebody waits for"
    submit(producer, "any", model="")
    assert (await view.turns())[0]["any"].estimated_start_seconds == 10.0, "the worker of the default model takes it"


async def test_what_leaves_a_worker_is_active_no_more(producer: Producer, view: QueueView) -> None:
    def active() -> int:
        return int(producer.records.redis.zcard(active_key(QUEUE)) + producer.records.redis.zcard(active_key("query")))

    submit(producer, "released", "lost", "expired")
    released, lost, _ = (take(producer, job_id) for job_id in ("released", "lost", "expired"))
    assert active() == 3
    assert producer.records.release(released) and active() == 2
    assert producer.records.retry(lost) == 2 and active() == 1
    producer.records.redis.delete(job_key("expired"))
    await view.jobs()
    assert active() == 0, "nobody was left to end it"
    producer.submit("rag", RAG_CHAT, REQUEST, model=MODEL)
    claimed = producer.records.claim("rag", Tasks.RETRIEVE, "claim-rag")
    assert claimed and active() == 1
    assert producer.records.hand_over(claimed[0], Tasks.GENERATE) and active() == 0


async def test_few_of_many_jobs_are_read(producer: Producer, view: QueueView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_view, "MAX_SHOWN", 2)
    submit(producer, *"abc", durable=True)
    assert list((await view.turns())[0]) == ["a", "b"] and len((await view.jobs())[0]) == 2


async def test_each_minute_is_counted(producer: Producer, view: QueueView) -> None:
    submit(producer, "one")
    record = take(producer, "one")
    at = {"job_id": "one", "attempt": 1}
    append(producer, record, 1, events.TextDelta(**at, text="a", token_ids=[1, 2, 3]), state="running")
    append(producer, record, 2, events.Finished(**at, model=MODEL))
    producer.changes.count(searches=2, chunks=0)
    async with asyncio.timeout(60):
        while not (await total(view, "searches")):
            await asyncio.sleep(0.05)
    assert [await total(view, name) for name in ("jobs", "completion_tokens", "searches", "chunks")] == [1, 3, 2, 0]


async def total(view: QueueView, name: str) -> int:
    _, minutes = await view.throughput()
    assert len(minutes) == 60
    return sum(minute.get(name, 0) for minute in minutes)
