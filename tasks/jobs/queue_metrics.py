"""What the metrics say of Redis: the queues, the live workers, and its memory. Read when somebody asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from core.settings import Settings
from tasks.jobs.keys import waiting_key
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue, Role, queue_named
from tasks.jobs.redis_client import redis_answers


def queue_metrics(settings: Settings, producer: Producer) -> Iterator[Metric]:
    """Yield the metrics. Raise `Unavailable` if Redis does not answer."""
    lengths = producer.queue_lengths()
    yield _by_label("queue_messages", "Messages that wait in a queue.", "queue", lengths)
    waiting, oldest = _waiting(settings, producer, list(lengths))
    yield _by_label("queue_jobs", "Jobs that wait in a queue.", "queue", waiting)
    about = "Time that the job at the head of a queue has waited; 0: none waits."
    yield _by_label("queue_oldest_seconds", about, "queue", oldest)
    alive = {role.value: len(producer.workers(role)) for role in Role}
    yield _by_label("workers", "Processes that are alive.", "role", alive)
    with redis_answers():
        memory = producer.records.redis.info("memory")
    yield GaugeMetricFamily("llm_api_redis_memory_bytes", "Memory that Redis uses.", value=memory["used_memory"])
    about = "Memory that Redis may use; 0: it has no limit."
    yield GaugeMetricFamily("llm_api_redis_memory_limit_bytes", about, value=memory.get("maxmemory", 0))


def _waiting(settings: Settings, producer: Producer, queues: list[str]) -> tuple[dict[str, float], dict[str, float]]:
    """Return the number of jobs that wait in each queue, and how long the oldest of them has waited."""
    with redis_answers():
        redis = producer.records.redis
        seconds, microseconds = redis.time()
        now = seconds + microseconds / 1e6
        pipeline = redis.pipeline(transaction=False)
        for queue in queues:
            # What is older was left by a submitter that died: see `scripts.SUBMIT`.
            is_batch = queue_named(queue) is Queue.BATCH
            limit = settings.job_retention_seconds if is_batch else settings.request_timeout_seconds
            pipeline.zcount(waiting_key(queue), now - limit, "+inf")
            pipeline.zrangebyscore(waiting_key(queue), now - limit, "+inf", 0, 1, withscores=True)
        found = pipeline.execute()
    counts = dict(zip(queues, map(float, found[::2]), strict=True))
    oldest = {
        queue: max(0.0, now - first[0][1]) if first else 0.0 for queue, first in zip(queues, found[1::2], strict=True)
    }
    return counts, oldest


def _by_label(name: str, about: str, label: str, values: dict[str, int] | dict[str, float]) -> Metric:
    family = GaugeMetricFamily(f"llm_api_{name}", about, labels=[label])
    for of_label, value in values.items():
        family.add_metric([str(of_label)], value)
    return family
