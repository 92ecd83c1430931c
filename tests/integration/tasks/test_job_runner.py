"""Running a job: it ends with exactly one terminal event, in Redis and in the catalog, whatever happens."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from core import events
from core.catalog import Catalog, JobState
from core.errors import InvalidRequest
from core.ids import new_id
from core.messages import ChatMessage, GenerateRequest, Usage
from core.settings import Settings
from core.usage import UsageMeter
from tasks.jobs.heartbeats import JobHeartbeats
from tasks.jobs.keys import CANCEL_CHANNEL, events_key, heartbeat_key, job_key
from tasks.jobs.kinds import CHAT
from tasks.jobs.producer import MAX_JOB_ATTEMPTS, Producer
from tasks.jobs.queues import Queue, Tasks
from tasks.jobs.runner import ChoiceResult, JobCancelled, JobResult, JobRunner, RunningJob
from tests.support import wait_until

REQUEST = GenerateRequest(messages=[ChatMessage(role="user", content="Hello")])


@pytest.fixture
def runner(producer: Producer, catalog: Catalog) -> Iterator[JobRunner]:
    heartbeats = JobHeartbeats(producer.records)
    yield JobRunner(producer, catalog, heartbeats)
    heartbeats.close()


def last_event(producer: Producer, job_id: str) -> events.AnyEvent:
    return producer.records.replay(job_id)[-1][1]


def submit(producer: Producer, catalog: Catalog, *, durable: bool = False, deadline: float | None = None) -> str:
    job_id = new_id("job")
    if durable:
        catalog.create_job(job_id, "chat", "/v1/chat/completions", msgspec.json.encode(REQUEST).decode())
    producer.submit(job_id, CHAT, REQUEST, durable=durable, deadline_seconds=deadline)
    return job_id


def test_a_job_that_is_completed_is_finished_in_catalog_and_stream(
    runner: JobRunner, producer: Producer, catalog: Catalog
) -> None:
    job_id = submit(producer, catalog, durable=True)

    def work(job: RunningJob) -> None:
        assert job.request(GenerateRequest) == REQUEST
        assert catalog.get_job(job_id).state is JobState.RUNNING
        runner.complete(job, JobResult(model="m", choices=[ChoiceResult(text="Hi", finish_reason="stop")]))

    runner.run(job_id, Tasks.GENERATE, work)
    assert isinstance(last_event(producer, job_id), events.Finished)
    stored = catalog.get_job(job_id)
    assert stored.state is JobState.COMPLETED and stored.result is not None
    assert msgspec.json.decode(stored.result, type=JobResult).choices[0].text == "Hi"


def test_a_message_that_comes_twice_finds_the_job_taken(
    runner: JobRunner, producer: Producer, catalog: Catalog
) -> None:
    job_id, runs = submit(producer, catalog), []

    def work(job: RunningJob) -> None:
        runs.append(job.id)
        runner.run(job_id, Tasks.GENERATE, work)

    runner.run(job_id, Tasks.GENERATE, work)
    assert runs == [job_id]


def test_record_and_request_come_with_the_claim(producer: Producer, catalog: Catalog) -> None:
    job_id = submit(producer, catalog)
    claimed = producer.records.claim(job_id, Tasks.GENERATE)
    assert claimed is not None
    record, request = claimed
    stored = producer.records.load(job_id)
    assert stored is not None and record.state == "taken"
    assert record == stored.by_clock(record.created - stored.created), "its times are by the clock of this host"
    assert msgspec.json.decode(request, type=GenerateRequest) == REQUEST
    assert producer.records.claim(job_id, Tasks.GENERATE) is None
    assert producer.records.claim("job-unknown", Tasks.GENERATE) is None


def raising(error: Exception) -> Callable[[RunningJob], None]:
    def work(_: RunningJob) -> None:
        raise error

    return work


def test_a_refusal_reaches_the_client_with_its_status(runner: JobRunner, producer: Producer, catalog: Catalog) -> None:
    job_id = submit(producer, catalog, durable=True)
    runner.run(job_id, Tasks.GENERATE, raising(InvalidRequest("No such thing.", param="thing")))
    event = last_event(producer, job_id)
    assert isinstance(event, events.Failed) and (event.error.status, event.error.param) == (400, "thing")
    assert catalog.get_job(job_id).state is JobState.FAILED


def test_an_unexpected_error_is_reported_without_its_details(
    runner: JobRunner, producer: Producer, catalog: Catalog
) -> None:
    job_id = submit(producer, catalog)
    runner.run(job_id, Tasks.GENERATE, raising(ZeroDivisionError("secret detail")))
    event = last_event(producer, job_id)
    assert isinstance(event, events.Failed) and event.error.status == 500 and "secret" not in event.error.message


def test_a_running_job_is_notified_at_once_when_it_is_cancelled(
    runner: JobRunner, producer: Producer, catalog: Catalog
) -> None:
    job_id = submit(producer, catalog)
    notified = threading.Event()

    def work(job: RunningJob) -> None:
        assert producer.cancel(job_id)
        assert notified.wait(60)
        job.check()

    runner.run(job_id, Tasks.GENERATE, work, on_cancel=notified.set)
    assert isinstance(last_event(producer, job_id), events.Cancelled)


def test_a_job_past_its_deadline_is_dropped_when_its_turn_comes(
    runner: JobRunner, producer: Producer, catalog: Catalog
) -> None:
    job_id = submit(producer, catalog, deadline=0.01)
    record = producer.records.load(job_id)
    assert record is not None and record.deadline is not None
    wait_until(lambda: time.time() > (record.deadline or 0), 2)
    runner.run(job_id, Tasks.GENERATE, raising(AssertionError("the job was run")))
    event = last_event(producer, job_id)
    assert isinstance(event, events.Cancelled) and event.reason == "deadline"


def test_the_heartbeat_is_renewed_while_the_job_runs(runner: JobRunner, producer: Producer, catalog: Catalog) -> None:
    job_id, revived = submit(producer, catalog), []

    def work(_: RunningJob) -> None:
        producer.records.redis.delete(heartbeat_key(job_id))
        wait_until(lambda: producer.records.redis.exists(heartbeat_key(job_id)), 5)
        revived.append(producer.revive(job_id))

    runner.run(job_id, Tasks.GENERATE, work)
    assert revived == [False]


def test_events_of_a_replaced_attempt_are_refused(runner: JobRunner, producer: Producer, catalog: Catalog) -> None:
    job_id, replaced = submit(producer, catalog), []

    def work(job: RunningJob) -> None:
        assert producer.records.retry(job.record) == 2
        job.emit(events.TextDelta(**job.event_fields(), text="late"))
        replaced.append(job.replaced)
        job.check()

    runner.run(job_id, Tasks.GENERATE, work)
    assert replaced == [True]
    assert [type(event) for _, event in producer.records.replay(job_id)] == [events.Queued]


def test_batch_jobs_wait_behind_a_few_messages(producer: Producer, catalog: Catalog) -> None:
    jobs = [submit(producer, catalog, durable=True) for _ in range(10)]
    assert producer.queue_lengths()[Queue.BATCH.value] == 4
    assert [producer.position(job_id) for job_id in jobs] == list(range(10))
    assert not any(producer.revive(job_id) for job_id in jobs), "waiting jobs are not lost"


def test_a_job_that_a_stopping_worker_releases_loses_no_attempt(
    runner: JobRunner, producer: Producer, catalog: Catalog
) -> None:
    job_id = submit(producer, catalog, durable=True)
    stopped = threading.Event()
    for released in range(1, MAX_JOB_ATTEMPTS + 1):

        def work(job: RunningJob) -> None:
            stopped.clear()
            runner.drain(seconds=0)
            assert stopped.wait(60)
            job.check()

        runner.run(job_id, Tasks.GENERATE, work, stopped.set)
        record = producer.records.load(job_id)
        assert record is not None and record.state == "queued" and not record.done
        assert (record.attempt, record.released, record.lost_attempts) == (released + 1, released, 0)
        assert catalog.get_job(job_id).state is JobState.RUNNING
        assert producer.queue_lengths()[Queue.BATCH.value] > 0, "it has been sent again"
        runner._draining.clear()  # the worker has been started again
    runner.run(job_id, Tasks.GENERATE, lambda job: runner.complete(job, JobResult(model="m")))
    assert catalog.get_job(job_id).state is JobState.COMPLETED


def test_a_stopping_worker_sends_back_what_it_has_prefetched(
    runner: JobRunner, producer: Producer, catalog: Catalog
) -> None:
    job_id = submit(producer, catalog)
    producer.records.redis.delete(Queue.INFERENCE.value)  # the worker has prefetched the message
    runner.drain(seconds=60)
    runner.run(job_id, Tasks.GENERATE, raising(AssertionError("the job was run")))
    assert producer.queue_lengths()[Queue.INFERENCE.value] == 1
    record = producer.records.load(job_id)
    assert record is not None and (record.state, record.attempt) == ("queued", 1)


def test_events_of_a_durable_job_live_as_long_as_its_record(
    runner: JobRunner, producer: Producer, catalog: Catalog, job_settings: Settings
) -> None:
    job_id, redis = submit(producer, catalog, durable=True), producer.records.redis

    def ttls() -> list[int]:
        return [redis.ttl(key) for key in (job_key(job_id), events_key(job_id))]

    lifetimes = [ttls()]

    def work(job: RunningJob) -> None:
        job.emit(events.Accepted(**job.event_fields(), model="m"), state="running")
        assert producer.records.renew_heartbeats([job.record]) == [True]
        lifetimes.append(ttls())
        runner.complete(job, JobResult(model="m"))

    runner.run(job_id, Tasks.GENERATE, work)
    for lifetime in lifetimes:
        assert min(lifetime) > job_settings.job_retention_seconds - 60
    assert max(ttls()) <= job_settings.job_ttl_seconds, "afterwards the catalog has the result"


def test_a_callback_that_raises_ends_no_heartbeats(runner: JobRunner, producer: Producer, catalog: Catalog) -> None:
    broken, other = submit(producer, catalog), submit(producer, catalog)
    called, cancelled = threading.Event(), threading.Event()

    def fail() -> None:
        called.set()
        raise ZeroDivisionError

    def work(job: RunningJob) -> None:
        assert producer.cancel(broken)
        assert called.wait(60)
        runner.run(other, Tasks.GENERATE, work_on_other, cancelled.set)
        job.check()

    def work_on_other(job: RunningJob) -> None:
        producer.records.redis.delete(heartbeat_key(other))
        wait_until(lambda: producer.records.redis.exists(heartbeat_key(other)))
        assert producer.cancel(other)
        assert cancelled.wait(60)
        job.check()

    runner.run(broken, Tasks.GENERATE, work, on_cancel=fail)
    assert isinstance(last_event(producer, broken), events.Cancelled)
    assert isinstance(last_event(producer, other), events.Cancelled)


def test_a_result_waits_for_a_catalog_that_is_locked(
    runner: JobRunner, producer: Producer, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = submit(producer, catalog, durable=True)
    with catalog._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 20")  # of the only connection in the pool
    other = sqlite3.connect(str(catalog._engine.url.database), isolation_level=None, check_same_thread=False)

    def work(job: RunningJob) -> None:
        other.execute("BEGIN IMMEDIATE")
        runner.complete(job, JobResult(model="m", choices=[ChoiceResult(text="Hi", finish_reason="stop")]))

    running = threading.Thread(target=runner.run, args=(job_id, Tasks.GENERATE, work))
    running.start()
    wait_until(lambda: "Retrying" in caplog.text)
    other.execute("ROLLBACK")
    running.join(20)
    assert catalog.get_job(job_id).state is JobState.COMPLETED
    assert isinstance(last_event(producer, job_id), events.Finished)
    other.close()


def test_heartbeats_end_at_once_though_they_are_rare(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.jobs.heartbeats.HEARTBEAT_SECONDS", 1000)
    redis = producer.records.redis

    def subscribers() -> int:
        return int(dict(redis.pubsub_numsub(CANCEL_CHANNEL)).get(CANCEL_CHANNEL.encode(), 0))

    others = subscribers()  # workers of other tests
    heartbeats = JobHeartbeats(producer.records)
    wait_until(lambda: subscribers() > others)
    heartbeats.close()
    assert not heartbeats._thread.is_alive()


def test_tokens_are_counted_for_the_owner_however_a_job_ends(producer: Producer, catalog: Catalog) -> None:
    meter = UsageMeter(catalog.add_usage)
    heartbeats = JobHeartbeats(producer.records)
    runner = JobRunner(producer, catalog, heartbeats, meter)

    def run(work: Callable[[RunningJob], None]) -> None:
        job_id = new_id("job")
        producer.submit(job_id, CHAT, REQUEST, key="key-1", owner="alice")
        runner.run(job_id, CHAT.task, work)

    def begin(job: RunningJob) -> None:
        fields = job.event_fields()
        accepted = events.Accepted(**fields, model="m", prompt_tokens=100)
        job.emit(accepted, events.TextDelta(**fields, text="a", token_ids=[1, 2, 3]))

    def complete(job: RunningJob) -> None:
        begin(job)
        runner.complete(job, JobResult(usage=Usage(prompt_tokens=1000, completion_tokens=5)))

    def leave(job: RunningJob) -> None:
        begin(job)
        raise JobCancelled("cancelled")

    def give_up(job: RunningJob) -> None:
        begin(job)
        assert producer.records.release(job.record), "another attempt counts it"
        job.replaced = True

    for work in (complete, leave, give_up):
        run(work)
    assert catalog.list_usage().items == [], "a job costs no write"
    meter.close()
    heartbeats.close()
    [row] = catalog.list_usage().items
    assert (row.owner, row.key, row.requests) == ("alice", "key-1", 0)
    assert (row.prompt_tokens, row.completion_tokens) == (1100, 8)


def test_a_job_that_is_submitted_again_keeps_its_owner(producer: Producer, catalog: Catalog) -> None:
    job_id = new_id("job")
    request = msgspec.json.encode(REQUEST).decode()
    producer.resubmit(catalog.create_job(job_id, "chat", "/v1/chat/completions", request, "key-1", owner="alice"))
    record = producer.records.load(job_id)
    assert record is not None and (record.owner, record.key, record.durable) == ("alice", "key-1", True)
