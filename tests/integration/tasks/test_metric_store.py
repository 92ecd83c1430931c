"""The metrics of all processes in Redis: no counter falls when a process ends, and nothing grows without bound."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core import metrics
from core.catalog import Catalog
from core.errors import InvalidRequest
from core.ids import new_id
from core.messages import ChatMessage, GenerateRequest, Timings, Usage
from core.metric_snapshots import Family, Snapshot
from tasks.jobs import metric_store
from tasks.jobs.heartbeats import JobHeartbeats
from tasks.jobs.job_metrics import JobMetrics
from tasks.jobs.job_record import ServedModel
from tasks.jobs.keys import METRICS_KEY, RETIRED_METRICS_KEY
from tasks.jobs.kinds import CHAT
from tasks.jobs.metric_store import KEPT_INCARNATIONS, MetricPublisher, MetricStore, Source
from tasks.jobs.producer import Producer
from tasks.jobs.queue_metrics import queue_metrics
from tasks.jobs.queues import Role, Tasks
from tasks.jobs.runner import ChoiceResult, JobResult, JobRunner, RunningJob

INDEX = Source("index", "index@here")
DAY = 86_400


@pytest.fixture
def store(producer: Producer) -> MetricStore:
    return MetricStore(producer.records.redis)


def snapshot(requests: float, *, running: float = 1, is_ending: bool = False) -> Snapshot:
    """Return what a process knows that has answered this many requests."""
    counter = Family("llm_api_requests", "counter", "Requests.", [("llm_api_requests_total", {}, requests)])
    gauge = Family("llm_api_running", "gauge", "Running.", [("llm_api_running", {}, running)])
    return Snapshot([counter, gauge], is_ending)


def found(store: MetricStore, name: str) -> float | None:
    """Return the value of a sample of INDEX, or None if there is none."""
    samples = [sample for family in store.read() for sample in family.samples if sample[0] == name]
    assert all(labels == INDEX._asdict() for _, labels, _ in samples)
    return samples[0][2] if samples else None


def let_pass(producer: Producer, seconds: float) -> None:
    """Make everything that is stored older."""
    for key in (METRICS_KEY, RETIRED_METRICS_KEY):
        for field, value in producer.records.redis.hgetall(key).items():
            at, _, rest = value.partition(b" ")
            producer.records.redis.hset(key, field, b"%f %s" % (float(at) - seconds, rest))


def test_processes_of_one_instance_are_added_up(store: MetricStore) -> None:
    store.publish(INDEX, "1", snapshot(3))
    store.publish(INDEX, "2", snapshot(4))
    assert found(store, "llm_api_requests_total") == 7
    assert found(store, "llm_api_running") == 2


def test_what_a_killed_process_has_counted_still_counts_but_its_gauges_do_not(
    store: MetricStore, producer: Producer
) -> None:
    store.publish(INDEX, "1", snapshot(3, running=8))
    let_pass(producer, metric_store.FRESH_SECONDS + 1)
    store.publish(INDEX, "2", snapshot(1, running=2))
    assert found(store, "llm_api_requests_total") == 4
    assert found(store, "llm_api_running") == 2


def test_the_gauges_of_a_process_that_is_ending_are_gone_at_once(store: MetricStore) -> None:
    store.publish(INDEX, "1", snapshot(3))
    store.publish(INDEX, "1", snapshot(5, is_ending=True))
    assert found(store, "llm_api_requests_total") == 5
    assert found(store, "llm_api_running") is None


def test_an_instance_that_starts_again_and_again_keeps_its_counts_in_few_snapshots(
    store: MetricStore, producer: Producer
) -> None:
    counts = [0.0]
    for start in range(10):
        store.publish(INDEX, str(start), snapshot(1))
        counts.append(found(store, "llm_api_requests_total") or 0)
        let_pass(producer, metric_store.FOLD_AFTER_SECONDS + 1)
        store.fold()
        counts.append(found(store, "llm_api_requests_total") or 0)
    assert counts == sorted(counts) and counts[-1] == 10
    assert producer.records.redis.hlen(METRICS_KEY) == KEPT_INCARNATIONS
    assert producer.records.redis.hlen(RETIRED_METRICS_KEY) == 1


def test_processes_that_live_are_kept_however_many_there_are(store: MetricStore) -> None:
    for process in range(10):
        store.publish(INDEX, str(process), snapshot(1))
    assert store.fold() == 0
    assert found(store, "llm_api_running") == 10


def test_a_snapshot_that_has_changed_meanwhile_is_not_added_to_the_sum(store: MetricStore, producer: Producer) -> None:
    store.publish(INDEX, "1", snapshot(1))
    (before,) = store._stored().live[INDEX]
    store.publish(INDEX, "1", snapshot(2))
    assert not store._retire(INDEX, before)
    assert found(store, "llm_api_requests_total") == 2


def test_an_instance_that_was_silent_for_a_week_is_forgotten(store: MetricStore, producer: Producer) -> None:
    for start in range(6):
        store.publish(INDEX, str(start), snapshot(1))
    let_pass(producer, DAY)
    store.fold()
    let_pass(producer, 5 * DAY)
    assert found(store, "llm_api_requests_total") == 6, "it still counts"
    let_pass(producer, 2 * DAY)
    store.fold()
    assert producer.records.redis.exists(METRICS_KEY, RETIRED_METRICS_KEY) == 0


def test_a_publisher_writes_the_metrics_of_its_process_under_a_name_without_its_number(
    store: MetricStore, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metric_store.os, "getpid", lambda: 42)
    publisher = MetricPublisher(store, Role.INDEX, "index@here:42")
    metrics.DOCUMENTS_INDEXED.labels("of-this-test").inc()
    publisher.publish_if_due()
    publisher.publish_if_due()
    (family,) = [family for family in store.read() if family.name == "llm_api_documents_indexed"]
    assert {**INDEX._asdict(), "collection": "of-this-test"} in [labels for _, labels, _ in family.samples]
    publisher.close()
    publisher.publish()
    kinds = {family.kind for family in store.read()}
    assert kinds == {"counter", "histogram"}, "a process that is ending has no gauges any more"


# Jobs


@pytest.fixture
def runner(producer: Producer, catalog: Catalog) -> Iterator[JobRunner]:
    heartbeats = JobHeartbeats(producer.records)
    yield JobRunner(producer, catalog, heartbeats, served=lambda: ServedModel("tiny"), observer=JobMetrics())
    heartbeats.close()


def submit(producer: Producer) -> str:
    job_id = new_id("job")
    producer.submit(job_id, CHAT, GenerateRequest(messages=[ChatMessage(role="user", content="Hello")]))
    return job_id


def counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"llm_api_{name}", labels) or 0.0


def test_a_chat_is_counted_with_its_tokens_and_times_under_its_model(producer: Producer, runner: JobRunner) -> None:
    result = JobResult("m", [ChoiceResult(finish_reason="length")], usage=Usage(7, 5), timings=Timings(2000, 500, 3000))
    names = ("request_prompt_tokens_sum", "request_generation_tokens_sum", "request_decode_time_seconds_sum")
    before = [counted(name, model="tiny") for name in names]
    waits = counted("queue_wait_seconds_count", queue="inference.tiny")

    runner.run(submit(producer), Tasks.GENERATE, lambda job: runner.complete(job, result))

    assert [counted(name, model="tiny") - old for name, old in zip(names, before, strict=True)] == [7, 5, 3]
    assert counted("request_success_total", model="tiny", finished_reason="length") == 1
    assert counted("queue_wait_seconds_count", queue="inference.tiny") - waits == 1


def test_a_chat_that_fails_is_counted_as_an_error(producer: Producer, runner: JobRunner) -> None:
    before = counted("jobs_total", kind="chat", outcome="failed")

    def work(job: RunningJob) -> None:
        raise InvalidRequest("no")

    runner.run(submit(producer), Tasks.GENERATE, work)

    assert counted("jobs_total", kind="chat", outcome="failed") - before == 1
    assert counted("request_success_total", model="tiny", finished_reason="error") == 1


def test_a_job_that_another_worker_has_is_not_counted(producer: Producer, runner: JobRunner) -> None:
    def total() -> float:
        return sum(counted("jobs_total", kind="chat", outcome=how) for how in ("completed", "failed", "cancelled"))

    before = total()

    def work(job: RunningJob) -> None:
        assert producer.records.release(job.record)
        job.require_current()

    runner.run(submit(producer), Tasks.GENERATE, work)
    assert total() == before


# Queues


def test_queues_are_measured_by_their_jobs_and_the_wait_of_the_first(producer: Producer) -> None:
    submit(producer)
    submit(producer)
    producer.announce(Role.INFERENCE, "one", {"pid": 1})
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in queue_metrics(producer.records._settings, producer)
        for sample in metric.samples
    }
    assert values["llm_api_queue_jobs", "inference"] == values["llm_api_queue_messages", "inference"] == 2
    assert values["llm_api_queue_oldest_seconds", "inference"] >= 0
    assert values["llm_api_queue_oldest_seconds", "query"] == values["llm_api_queue_jobs", "query"] == 0
    assert values["llm_api_workers", "inference"] == 1 and values["llm_api_workers", "index"] == 0
    assert values[("llm_api_redis_memory_bytes",)] > 0
