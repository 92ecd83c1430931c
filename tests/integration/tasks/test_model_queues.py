"""Jobs for language models: each is done by a worker of its model, and goes on with the same file only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core import events
from core.catalog import Catalog
from core.errors import ErrorInfo
from core.ids import new_id
from core.messages import ChatMessage, GenerateRequest
from tasks.jobs.heartbeats import JobHeartbeats
from tasks.jobs.job_record import JobRecord, ServedModel
from tasks.jobs.keys import heartbeat_key, waiting_key
from tasks.jobs.kinds import CHAT
from tasks.jobs.presence import WorkerPresence
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Role, Tasks
from tasks.jobs.redis_client import connect_async
from tasks.jobs.runner import JobResult, JobRunner, RunningJob

REQUEST = GenerateRequest(messages=[ChatMessage(role="user", content="Hello")])
LARGE, SMALL = ServedModel("large", "1" * 64), ServedModel("small", "2" * 64)


@pytest.fixture
def heartbeats(producer: Producer) -> Iterator[JobHeartbeats]:
    heartbeats = JobHeartbeats(producer.records)
    yield heartbeats
    heartbeats.close()


def submit(producer: Producer, *, model: str = "", durable: bool = False) -> str:
    job_id = new_id("job")
    producer.submit(job_id, CHAT, REQUEST, model=model, durable=durable)
    return job_id


def claimed(producer: Producer, job_id: str, served: ServedModel) -> JobRecord | None:
    found = producer.records.claim(job_id, Tasks.GENERATE, served=served)
    return found[0] if found else None


def waits_in(producer: Producer, job_id: str) -> list[str]:
    names = [str(queue.of_model(slug)) for queue in Queue for slug in ("", "large", "small")]
    return [name for name in dict.fromkeys(names) if producer.records.redis.zscore(waiting_key(name), job_id)]


@pytest.mark.parametrize(("durable", "queue"), [(False, "inference.large"), (True, "batch.large")])
def test_a_job_waits_in_the_queue_of_its_model_and_is_taken_by_a_worker_of_that_model_only(
    producer: Producer, durable: bool, queue: str
) -> None:
    job_id = submit(producer, model="large", durable=durable)
    assert waits_in(producer, job_id) == [queue]
    assert producer.records.redis.llen(queue) == 1, "its message"
    assert claimed(producer, job_id, SMALL) is None
    record = claimed(producer, job_id, LARGE)
    assert record is not None and (record.queue_name, record.digest) == (queue, LARGE.digest)


@pytest.mark.parametrize("durable", [False, True])
def test_a_job_for_any_model_is_for_the_one_that_took_it_when_its_worker_is_lost(
    producer: Producer, durable: bool
) -> None:
    job_id = submit(producer, durable=durable)
    record = claimed(producer, job_id, SMALL)
    assert record is not None and record.model == "small"
    own = Queue.BATCH.of_model("small") if durable else Queue.INFERENCE.of_model("small")
    assert waits_in(producer, job_id) == [own], "until it runs, as before"
    producer.records.redis.delete(heartbeat_key(job_id))
    again = producer.records.retry(record)
    assert again == 2 and waits_in(producer, job_id) == [own]
    assert claimed(producer, job_id, LARGE) is None
    taken = claimed(producer, job_id, SMALL)
    assert taken is not None and taken.attempt == 2


@pytest.mark.parametrize("is_begun", [False, True])
def test_another_file_of_a_model_does_not_continue_an_answer_but_may_begin_one(
    producer: Producer, catalog: Catalog, heartbeats: JobHeartbeats, is_begun: bool
) -> None:
    job_id = submit(producer, model="large")
    served = [LARGE]
    runner = JobRunner(producer, catalog, heartbeats, served=lambda: served[0])

    def begin(job: RunningJob) -> None:
        if is_begun:
            job.emit(events.Accepted(**job.event_fields(), model="large"), state="accepted")
        assert producer.records.release(job.record)
        job.replaced = True

    runner.run(job_id, Tasks.GENERATE, begin)
    served[0] = ServedModel("large", "3" * 64)
    runner.run(job_id, Tasks.GENERATE, lambda job: runner.complete(job, JobResult(model="large")))
    last = producer.records.replay(job_id)[-1][1]
    if is_begun:
        assert isinstance(last, events.Failed) and last.error.code == "model_changed"
        assert last.error.status == 503, "a client's next try begins with the new file"
    else:
        assert isinstance(last, events.Finished)


def test_jobs_learn_once_of_each_percentage_of_their_model_that_is_loaded(producer: Producer) -> None:
    job_id, other = submit(producer, model="large"), submit(producer, model="small")
    models = producer.models
    models.set_loading_percent("large", 40)
    assert models.loading_percents(["small", "large"]) == {"large": 40}
    for percent in (None, None, 40, 40):
        models.say_loading("inference.large", percent)
    replay = [event for _, event in producer.records.replay(job_id)]
    assert [(event.reason, event.percent) for event in replay if isinstance(event, events.Queued)] == [
        (None, None),
        ("loading", None),
        ("loading", 40),
    ]
    assert len(producer.records.replay(other)) == 1


def test_jobs_that_wait_for_a_model_that_cannot_be_loaded_fail_and_others_wait_on(producer: Producer) -> None:
    waiting, other = [submit(producer, model="large") for _ in range(2)], submit(producer, model="small")
    running = submit(producer, model="large")
    assert claimed(producer, running, LARGE)
    assert producer.models.waiting_counts(["inference.large", "inference.small"]) == {
        "inference.large": 3,
        "inference.small": 1,
    }
    producer.models.fail_waiting("inference.large", ErrorInfo("no", "invalid_request_error", "model", "bad", 400))
    for job_id in waiting:
        assert isinstance(producer.records.replay(job_id)[-1][1], events.Failed)
    for job_id in (other, running):
        assert len(producer.records.replay(job_id)) == 1


async def test_a_model_is_served_by_its_own_workers_or_by_a_supervisor_that_can_load_it(producer: Producer) -> None:
    clock = [100.0]
    client = connect_async(producer.records._settings, listens=True)
    presence = WorkerPresence(client, lambda: clock[0])
    producer.announce(Role.INFERENCE, "one", {"pid": 1, "slug": "small"})
    models = [{"slug": "large", "loadable": True}, {"slug": "huge", "loadable": False}]
    producer.announce(Role.SUPERVISOR, "up", {"pid": 2, "models": models})
    await presence.refresh()
    clock[0] += 20
    seconds = {slug: presence.unserved_seconds(Role.INFERENCE, slug) for slug in ("small", "large", "huge", "gone")}
    await presence.refresh()
    assert seconds == {"small": 20, "large": 20, "huge": 20, "gone": 20}, "as of the last look"
    assert presence.unserved_seconds(Role.INFERENCE, "small") == 0
    assert presence.unserved_seconds(Role.INFERENCE, "large") == 0
    assert presence.unserved_seconds(Role.INFERENCE, "huge") == 20
    assert presence.unserved_seconds(Role.INFERENCE, "gone") == 20
    assert presence.unserved_seconds(Role.INFERENCE) == 0
    assert [name for name in producer.queue_names() if "." in name] == [
        "inference.large",
        "batch.large",
        "inference.small",
        "batch.small",
    ]
    await client.aclose()


def test_batch_jobs_of_each_model_get_their_messages(producer: Producer) -> None:
    producer.announce(Role.INFERENCE, "one", {"pid": 1, "slug": "large"})
    job_id = submit(producer, model="large", durable=True)
    producer.records.redis.delete("batch.large")
    producer.feed_batch()
    assert producer.records.redis.llen("batch.large") == 1
    assert claimed(producer, job_id, LARGE)
