"""A job in a worker's hands: from the message to its one terminal event."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from redis import RedisError

from core import events
from core.catalog import Catalog, JobState
from core.errors import InternalError, LlmApiError
from core.messages import Hit, Timings, TokenLogprob, Usage
from tasks.jobs.heartbeats import JobHeartbeats
from tasks.jobs.kinds import COMMON_EVENTS
from tasks.jobs.queues import Task
from tasks.jobs.records import Append, Appended, JobRecord, JobRecords

log = logging.getLogger(__name__)

Request = TypeVar("Request", bound=msgspec.Struct)
#: Events are never dropped for a Redis that is away; after this long its supervisor has certainly given up on it too.
REDIS_RETRY_SECONDS = 60.0


class ChoiceResult(msgspec.Struct, omit_defaults=True):
    """What one choice of a generation came to."""

    index: int = 0
    text: str = ""
    finish_reason: str | None = None
    logprobs: list[TokenLogprob] = []
    #: As OpenAI's wire format has them.
    tool_calls: list[dict[str, Any]] = []
    #: The calls that the server ran: `id`, `name`, `arguments` as text, and, once it is there, `result` and `error`.
    tool_results: list[dict[str, Any]] = []


class JobResult(msgspec.Struct, omit_defaults=True):
    """What an asynchronous job came to, as its catalog row keeps it."""

    model: str = ""
    choices: list[ChoiceResult] = []
    hits: list[Hit] = []
    usage: Usage = Usage()
    timings: Timings = Timings()
    result: Any = None


class JobCancelled(Exception):
    """The job is to end as cancelled."""


class RunningJob:
    """A job that this worker runs. Its events are those of one attempt; once that is void, `replaced` is True."""

    def __init__(self, record: JobRecord, request: bytes, records: JobRecords) -> None:
        self.record = record
        self._request = request
        self._records = records
        self.replaced = False
        self.cancelled = record.cancelled
        self._allowed_events = COMMON_EVENTS | record.kind.events

    @property
    def id(self) -> str:
        return self.record.job_id

    def base(self) -> dict[str, Any]:
        """The fields that every event has."""
        return {"job_id": self.id, "attempt": self.record.attempt, "created": time.time()}

    def request(self, kind: type[Request]) -> Request:
        """The decoded request."""
        return msgspec.json.decode(self._request, type=kind)

    def as_append(self, *items: events.AnyEvent, state: str = "") -> Append:
        """Return these events of this attempt, to be appended together with those of other jobs.

        Raises:
            TypeError: the job's kind declares no such event.
        """
        for item in items:
            if type(item) not in self._allowed_events:
                raise TypeError(f"Jobs of the kind {self.record.kind.name!r} make no {type(item).__name__} events.")
        return Append(self.id, self.record.attempt, items, self.record.queue, state)

    def emit(self, *items: events.AnyEvent, state: str = "") -> None:
        """Appends events; waits for Redis rather than lose one."""
        self.note(retrying(lambda: self._records.append(self.as_append(*items, state=state))))

    def note(self, outcome: Appended) -> None:
        """Remembers what Redis said of this job."""
        self.replaced = self.replaced or not outcome.accepted
        self.cancelled = self.cancelled or outcome.cancelled

    def check(self) -> None:
        """Raises `JobCancelled` once the job was cancelled, replaced or is past its deadline."""
        expired = self.record.deadline is not None and time.time() > self.record.deadline
        if self.cancelled or self.replaced or expired:
            raise JobCancelled("deadline" if expired else "cancelled")


Answer = TypeVar("Answer")


def retrying(call: Callable[[], Answer]) -> Answer:
    """Calls until Redis answers, for up to a minute; then raises what it raised last."""
    deadline = time.monotonic() + REDIS_RETRY_SECONDS
    while True:
        try:
            return call()
        except RedisError as error:
            if time.monotonic() > deadline:
                raise
            log.warning("Redis does not answer, trying again: %s", error)
            time.sleep(0.2)


class JobRunner:
    """Takes jobs into hand and sees each to its terminal event, in Redis and, for asynchronous ones, in the catalog."""

    def __init__(self, records: JobRecords, catalog: Catalog, heartbeats: JobHeartbeats) -> None:
        self._records = records
        self._catalog = catalog
        self._heartbeats = heartbeats

    def run(
        self,
        job_id: str,
        task: Task,
        work: Callable[[RunningJob], None],
        on_cancel: Callable[[], None] = lambda: None,
    ) -> None:
        """Do the work of a job that is queued for this task. What `work` raises becomes the terminal event."""
        claimed = retrying(lambda: self._records.claim(job_id, task))
        if claimed is None:
            return
        record, request = claimed
        job = RunningJob(record, request, self._records)

        def cancel() -> None:
            job.cancelled = True
            on_cancel()

        self._heartbeats.add(job_id, cancel)
        try:
            job.check()
            if record.durable:
                self._catalog.set_job_running(job_id, record.attempt)
            work(job)
        except JobCancelled as reason:
            self._finish(job, events.Cancelled(**job.base(), reason=str(reason)))
        except LlmApiError as error:
            self._finish(job, events.Failed(**job.base(), error=error.info))
        except Exception:  # the client must hear of any fault; the traceback is for the log
            log.exception("job %s failed", job_id)
            error_info = InternalError("The server failed while it worked on this request; its log says why.").info
            self._finish(job, events.Failed(**job.base(), error=error_info))
        finally:
            # The heartbeat is left to expire: a job that was handed over may already be in another worker's hands.
            self._heartbeats.remove(job_id)

    def complete(self, job: RunningJob, result: JobResult, *before: events.AnyEvent) -> None:
        """Ends a job well, with the events `before` the last one. The catalog first: what a client hears of must be
        there when it asks.
        """
        finished = events.Finished(
            **job.base(), model=result.model, usage=result.usage, timings=result.timings, result=result.result
        )
        if job.record.durable:
            self._catalog.finish_job(job.id, JobState.COMPLETED, result=msgspec.json.encode(result).decode())
        job.emit(*before, finished)

    def _finish(self, job: RunningJob, event: events.Failed | events.Cancelled) -> None:
        if job.replaced:
            return
        if job.record.durable:
            if isinstance(event, events.Failed):
                error = json.dumps({**event.error.as_wire(), "status": event.error.status})
                self._catalog.finish_job(job.id, JobState.FAILED, error=error)
            else:
                self._catalog.finish_job(job.id, JobState.CANCELLED)
        job.emit(event)
