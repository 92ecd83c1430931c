"""The jobs that wait for a language model which is not loaded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Event
from typing import Any, Protocol

from core import events
from core.errors import ErrorInfo
from tasks.jobs.keys import loading_key, waiting_key
from tasks.jobs.queues import Role
from tasks.jobs.records import Append, JobRecords
from tasks.jobs.redis_client import redis_answers

#: Jobs of a queue that are informed that their model is being loaded.
MAX_INFORMED_JOBS = 64
#: Jobs that one call fails.
MAX_FAILED_JOBS = 256
LOADING_TTL_SECONDS = 15
#: How long a pull waits for a supervisor to see its model. They look every few seconds.
KNOWN_SECONDS = 15.0


class Presence(Protocol):
    """The part of `tasks.jobs.producer.Producer` that is needed here."""

    def workers(self, role: Role) -> dict[str, dict[str, Any]]: ...


def wait_until_known(presence: Presence, model: str, stop: Event) -> None:
    """Wait until a supervisor has seen a model that has just been pulled, by its slug, so that requests may name it.

    Return at once if no supervisor is alive or `stop` is set, and after KNOWN_SECONDS in any case. Raises
    `core.errors.Unavailable`.
    """
    deadline = time.monotonic() + KNOWN_SECONDS
    while time.monotonic() < deadline:
        supervisors = presence.workers(Role.SUPERVISOR).values()
        known = {one["slug"] for info in supervisors for one in info.get("models", ())}
        if not supervisors or model in known or stop.wait(0.25):
            return


class ModelQueues:
    """Counts, informs and fails jobs that wait for a language model, and holds how much of it has been loaded.

    Every method blocks, and raises `core.errors.Unavailable` if Redis does not answer within seconds.
    """

    def __init__(self, records: JobRecords) -> None:
        self._records = records
        #: Of jobs that wait for their model: the percentage that they were informed of last.
        self._percents: dict[str, int | None] = {}

    def waiting_counts(self, queues: Sequence[str]) -> dict[str, int]:
        """Return the number of jobs that wait in each of these queues."""
        with redis_answers():
            pipeline = self._records.redis.pipeline(transaction=False)
            for queue in queues:
                pipeline.zcard(waiting_key(queue))
            return {queue: int(count) for queue, count in zip(queues, pipeline.execute(), strict=True)}

    def fail_waiting(self, queue: str, error: ErrorInfo) -> None:
        """Fail the jobs that have waited longest in a queue. Call it again for further ones."""
        with redis_answers():
            for job_id in self._records.next_waiting(queue, MAX_FAILED_JOBS):
                record = self._records.load(job_id)
                if record and not record.done and record.state == "queued":
                    failed = events.Failed(job_id=job_id, attempt=record.attempt, created=time.time(), error=error)
                    self._records.append(Append(job_id, record.attempt, [failed], queue))

    def set_loading_percent(self, model: str, percent: int) -> None:
        """Record how much of a language model has been loaded."""
        with redis_answers():
            self._records.redis.set(loading_key(model), percent, ex=LOADING_TTL_SECONDS)

    def loading_percents(self, models: Sequence[str]) -> dict[str, int]:
        """Return how much has been loaded of those of these language models that are being loaded."""
        with redis_answers():
            found = self._records.redis.mget([loading_key(model) for model in models]) if models else []
        return {model: int(percent) for model, percent in zip(models, found, strict=True) if percent is not None}

    def say_loading(self, queue: str, percent: int | None) -> None:
        """Emit an event for each job that waits in a queue, which says that its model is being loaded.

        Of long queues, only the first jobs get one. Nothing is emitted twice for the same percentage.
        """
        with redis_answers():
            for position, job_id in enumerate(self._records.next_waiting(queue, MAX_INFORMED_JOBS)):
                if self._percents.get(job_id) == percent and job_id in self._percents:
                    continue
                record = self._records.load(job_id)
                if record is None or record.done or record.state != "queued":
                    continue
                self._percents = (
                    {**self._percents, job_id: percent} if len(self._percents) < 2 * MAX_INFORMED_JOBS else {}
                )
                queued = events.Queued(
                    job_id=job_id,
                    attempt=record.attempt,
                    created=time.time(),
                    position=position,
                    reason="loading",
                    percent=percent,
                )
                self._records.append(Append(job_id, record.attempt, [queued], queue))
