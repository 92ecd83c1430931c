"""Runs a job in a worker, from the task's message to the job's one terminal event."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from redis import RedisError

from core import events
from core.catalog import Catalog, JobState
from core.errors import InternalError, LlmApiError, Unavailable
from core.ids import new_id
from core.messages import Grounding, Hit, Timings, TokenLogprob, Usage
from core.usage import UsageMeter
from tasks.jobs.catalog_outages import until_answered
from tasks.jobs.heartbeats import JobHeartbeats, OnStop
from tasks.jobs.job_record import NO_MODEL, JobRecord, ServedModel
from tasks.jobs.kinds import COMMON_EVENTS
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role, Task
from tasks.jobs.records import Append, Appended, JobRecords
from tasks.jobs.redis_client import retrying

log = logging.getLogger(__name__)

#: How long a worker that stops goes on with its jobs. Less than the supervisor and container engines wait for its end.
DRAIN_SECONDS = 50.0

Request = TypeVar("Request", bound=msgspec.Struct)


class ChoiceResult(msgspec.Struct, omit_defaults=True):
    """The result of one choice of a generation."""

    index: int = 0
    text: str = ""
    finish_reason: str | None = None
    logprobs: list[TokenLogprob] = []
    #: The client's calls, in OpenAI's wire format.
    tool_calls: list[dict[str, Any]] = []
    #: The server's calls: `id`, `name`, `arguments` as text, and once they have run, `result` and `error`.
    tool_results: list[dict[str, Any]] = []
    #: What the answer violates of the client's schemas.
    schema_errors: list[str] = []
    #: What the documents lack of an answer from them.
    grounding: Grounding | None = None
    #: What the model thought before the text.
    reasoning: str = ""


class JobResult(msgspec.Struct, omit_defaults=True):
    """The result of a job. The catalog row of a durable job holds it as JSON."""

    model: str = ""
    choices: list[ChoiceResult] = []
    hits: list[Hit] = []
    usage: Usage = Usage()
    timings: Timings = Timings()
    result: Any = None


#: How a job ended.
Outcome = Literal["completed", "failed", "cancelled"]
_TEXTS = (events.TextDelta, events.ReasoningDelta, events.ToolCallDelta)


class JobCancelled(Exception):
    """The job was cancelled, replaced, or is past its deadline; the message says which."""


class RunningJob:
    """An attempt at a job, run by this worker. `replaced` is True once another attempt has replaced it."""

    def __init__(self, record: JobRecord, request: bytes, records: JobRecords) -> None:
        self.record = record
        self._request = request
        self._records = records
        self.replaced = False
        self.cancelled = record.cancelled
        self._numbers = count(1)
        self._allowed_events = COMMON_EVENTS | record.kind.events
        #: The tokens that this attempt has used so far.
        self.usage = Usage()
        #: How long the job had waited for its task.
        self.waited_seconds = time.time() - record.submitted
        #: When its first text was appended (Unix seconds), and how it ended; None: not yet, or not here.
        self.first_text_at: float | None = None
        self.outcome: Outcome | None = None
        self.result: JobResult | None = None

    @property
    def id(self) -> str:
        return self.record.job_id

    def event_fields(self) -> dict[str, Any]:
        """Return the fields that every event of this attempt has."""
        return {"job_id": self.id, "attempt": self.record.attempt, "created": time.time()}

    def request(self, kind: type[Request]) -> Request:
        """Return the decoded request."""
        return msgspec.json.decode(self._request, type=kind)

    def as_append(self, *items: events.AnyEvent, state: str = "") -> Append:
        """Return events of this attempt as an `Append`, which may be written together with those of other jobs.

        Raises:
            TypeError: if the job's kind does not declare such an event.
        """
        for item in items:
            if type(item) not in self._allowed_events:
                raise TypeError(f"Jobs of the kind {self.record.kind.name!r} make no {type(item).__name__} events.")
            self.usage = used_with(self.usage, item)
            if self.first_text_at is None and isinstance(item, _TEXTS):
                self.first_text_at = time.time()
        record = self.record
        return Append(self.id, record.attempt, items, record.queue_name, state, record.claim, next(self._numbers))

    def emit(self, *items: events.AnyEvent, state: str = "") -> None:
        """Append and publish events. If Redis does not answer, wait for it, so that no event is lost."""
        self.update_from(retrying(self._records.append, self.as_append(*items, state=state)))

    def store_hits(self, hits: Sequence[Hit], retrieval_ms: float) -> None:
        """Store the hits of a RAG chat. Raise `JobCancelled` if another worker has the job."""
        self.require(retrying(self._records.store_hits, self.record, hits, retrieval_ms))

    def store_rewrite(self, query: str | None, usage: Usage) -> None:
        """Store the rewritten question. Raise `JobCancelled` if another worker has the job."""
        self.require(retrying(self._records.store_rewrite, self.record, query, usage))

    def hand_over(self, producer: Producer, task: Task) -> None:
        """Queue the job for another task, which continues it. Raise `JobCancelled` if another worker has the job."""
        self.require(retrying(self._records.hand_over, self.record, task))
        self.replaced = True
        producer.send_queued(self.record, task)

    def require_current(self) -> None:
        """Raise `JobCancelled` if another worker has the job."""
        self.require(retrying(self._records.is_current, self.record))

    def require(self, accepted: bool) -> None:
        """Raise `JobCancelled` unless a write of this attempt was accepted: if not, another worker has the job."""
        if not accepted:
            self.replaced = True
            raise JobCancelled("replaced")

    def update_from(self, outcome: Appended) -> None:
        """Update `replaced` and `cancelled` from the outcome of an append."""
        self.replaced = self.replaced or not outcome.accepted
        self.cancelled = self.cancelled or outcome.cancelled

    def check(self) -> None:
        """Raise `JobCancelled` if the job was cancelled, replaced, or is past its deadline."""
        expired = self.record.deadline is not None and time.time() > self.record.deadline
        if self.cancelled or self.replaced or expired:
            raise JobCancelled("deadline" if expired else "cancelled")


def used_with(usage: Usage, event: events.AnyEvent) -> Usage:
    """Return the tokens used after the next event. The sum in `Finished` replaces what the events before say."""
    match event:
        case events.Accepted():
            return Usage(prompt_tokens=event.prompt_tokens)
        case events.TextDelta() | events.ToolCallDelta() if event.token_ids:
            return Usage(usage.prompt_tokens, usage.completion_tokens + len(event.token_ids))
        case events.Finished():
            return event.usage
        case _:
            return usage


class JobObserver(Protocol):
    """Is told of the jobs that a worker runs, for its metrics. It must not block."""

    def claimed(self, record: JobRecord) -> None:
        """Note that a job waits no longer."""

    def ended(self, job: RunningJob, served: ServedModel) -> None:
        """Note that a job has ended, or that this worker no longer has it: then its `outcome` is None."""


class JobRunner:
    """Claims jobs and runs each to its terminal event, in Redis and, for durable jobs, in the catalog."""

    def __init__(
        self,
        producer: Producer,
        catalog: Catalog,
        heartbeats: JobHeartbeats,
        meter: UsageMeter | None = None,
        served: Callable[[], ServedModel] = lambda: NO_MODEL,
        observer: JobObserver | None = None,
    ) -> None:
        self._producer = producer
        self._served = served
        self._meter = meter
        self._observer = observer
        self._records = producer.records
        self._catalog = catalog
        self._heartbeats = heartbeats
        #: By claim.
        self._running: dict[str, tuple[RunningJob, OnStop]] = {}
        self._draining = threading.Event()

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Take no more jobs, and after this time release those that still run."""
        if not self._draining.is_set():
            self._draining.set()
            timer = threading.Timer(seconds, self.release_all)
            timer.daemon = True
            timer.start()

    def release_all(self) -> None:
        """Stop working on all jobs, and queue them for other workers, or for this one after its restart."""
        self._draining.set()
        for job, stop in list(self._running.values()):
            try:
                released = self._records.release(job.record)
            except RedisError as error:
                log.warning("job %s could not be released; it is lost with this worker: %s", job.id, error)
                continue
            stop(replaced=True)
            if released:
                log.info("job %s has been released, because this worker stops", job.id)
                self._producer.send_queued(job.record, job.record.task)

    def run(
        self,
        job_id: str,
        task: Task,
        work: Callable[[RunningJob], None],
        on_cancel: Callable[[], None] = lambda: None,
    ) -> None:
        """Claim a job that is queued for this task and call `work`. An error of `work` becomes the terminal event.

        `on_cancel` is called, in another thread, when the job is cancelled or another worker has it.
        """
        if self._draining.is_set():
            self._send_back(job_id, task)
            return
        served = self._served() if task.queue.role is Role.INFERENCE else NO_MODEL
        claimed = retrying(self._records.claim, job_id, task, new_id("claim"), served)
        if claimed is None:
            return
        record, request = claimed
        job = RunningJob(record, request, self._records)
        self._register(job, on_cancel)
        try:
            job.check()
            if record.digest not in ("", served.digest):
                self._begin_with_other_file(job, served)
            if record.durable:
                until_answered(self._catalog.set_job_running, job_id, record.attempt)
            work(job)
        except JobCancelled as reason:
            self._finish(job, events.Cancelled(**job.event_fields(), reason=str(reason)))
        except LlmApiError as error:
            self._finish(job, events.Failed(**job.event_fields(), error=error.info))
        except Exception:  # the client must be informed of any fault; the log has the traceback
            log.exception("job %s failed", job_id)
            error_info = InternalError("The server failed while it worked on this request; its log says why.").info
            self._finish(job, events.Failed(**job.event_fields(), error=error_info))
        finally:
            # The heartbeat is left to expire, as another worker may already run a job that was handed over.
            self._heartbeats.remove(record)
            self._running.pop(record.claim, None)
            self._count_usage(job)
            if self._observer is not None:
                self._observer.ended(job, served)

    def _register(self, job: RunningJob, on_cancel: Callable[[], None]) -> None:
        """Renew the heartbeat of a job that was claimed, and let it be stopped."""

        def stop(*, replaced: bool) -> None:
            job.cancelled = True
            job.replaced = job.replaced or replaced
            on_cancel()

        if self._observer is not None:
            self._observer.claimed(job.record)
        self._running[job.record.claim] = job, stop
        self._heartbeats.add(job.record, stop)

    def _begin_with_other_file(self, job: RunningJob, served: ServedModel) -> None:
        """Let a job go on with another file of its model, if no answer has been begun with the former one.

        Raises:
            Unavailable: the client has a part of the answer already, which no other file can continue.
        """
        replay = retrying(self._records.replay, job.id)
        if any(isinstance(event, events.Accepted) for _, event in replay):
            raise Unavailable(
                f"The answer was begun with another file of the model {served.slug!r}, and its worker is gone. "
                "Send the request again.",
                code="model_changed",
            )
        job.require(retrying(self._records.store, job.record, {"digest": served.digest}))

    def complete(self, job: RunningJob, result: JobResult, *before: events.AnyEvent) -> None:
        """Complete a job: emit the events `before`, then `Finished`.

        The catalog is written first, so that a client that receives `Finished` finds the result there.
        """
        finished = events.Finished(
            **job.event_fields(), model=result.model, usage=result.usage, timings=result.timings, result=result.result
        )
        if job.record.durable:
            job.require_current()
            stored = msgspec.json.encode(result).decode()
            until_answered(self._catalog.finish_job, job.id, JobState.COMPLETED, result=stored)
        job.emit(*before, finished)
        job.outcome, job.result = "completed", result

    def _count_usage(self, job: RunningJob) -> None:
        """Count the tokens of a job that has ended, however it did. Another attempt counts its own."""
        if self._meter is not None and not job.replaced:
            used = {"prompt_tokens": job.usage.prompt_tokens, "completion_tokens": job.usage.completion_tokens}
            self._meter.count(job.record.owner, job.record.key, **used)

    def _send_back(self, job_id: str, task: Task) -> None:
        """Send the message of a job that this worker does not take, because it stops."""
        record = self._records.load(job_id)
        if record is not None and not record.done and record.state == "queued":
            self._producer.send_queued(record, task)

    def _finish(self, job: RunningJob, event: events.Failed | events.Cancelled) -> None:
        if job.replaced or (job.record.durable and not retrying(self._records.is_current, job.record)):
            return
        if job.record.durable:
            if isinstance(event, events.Failed):
                error = json.dumps({**event.error.as_wire(), "status": event.error.status})
                until_answered(self._catalog.finish_job, job.id, JobState.FAILED, error=error)
            else:
                until_answered(self._catalog.finish_job, job.id, JobState.CANCELLED)
        job.emit(event)
        job.outcome = "failed" if isinstance(event, events.Failed) else "cancelled"
