"""Runs jobs for routes: waits for the answer, streams it, or hands the job over to be asked about later."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.dependencies import Preferences, Services, in_thread, json_response
from api.errors import JobFailed
from api.render import Answer, ChatStream, Head, Wire
from api.renderers import FinishedJob, Options
from api.sse import DONE_FRAME, EventStream, cancelled_by_disconnect
from core import events
from core.catalog import Job
from core.errors import ErrorInfo, Unavailable
from core.ids import new_id
from tasks.jobs.kinds import JobKind

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A job to be run for a request that came to `path`."""

    kind: JobKind
    request: msgspec.Struct
    path: str
    key: str = ""
    #: What the form of the answer depends on: see `api.renderers`.
    options: Options = field(default_factory=dict)
    #: What this route calls the fields that an error may name, where it is not what chat calls them.
    params: Mapping[str, str] = field(default_factory=dict)
    job_id: str = field(default_factory=lambda: new_id("job"))
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def head(self) -> Head:
        return Head(self.job_id, self.created)

    @property
    def endpoint(self) -> str:
        """Where the job comes from, as its catalog row keeps it: the path, with the options as a query string."""
        return f"{self.path}?{urlencode(self.options)}" if self.options else self.path


async def respond(
    request: Request, services: Services, call: Call, prefer: Preferences, stream: ChatStream | None = None
) -> Response:
    """Run a job as its client asked: asynchronously, as a stream of events by `stream`, or waiting for the answer."""
    if prefer.respond_async:
        return await submit_async(services, call)
    if stream is not None:
        return stream_of(services, call, stream)
    answer = await answer_of(request, services, call)
    return json_response(await call.kind.renderer(call.path)(FinishedJob(services, call.head, answer, call.options)))


async def job_events(services: Services, call: Call) -> AsyncGenerator[events.AnyEvent, None]:
    """Submits an interactive job and yields its events. Closing this before its end cancels the job.

    Raises:
        JobFailed: the job ended with an error, or was cancelled.
        Unavailable: Redis does not answer, or the queue is full.
    """
    async with services.stream.open(call.job_id) as reader:
        await services.stream.submit(
            call.job_id,
            call.kind,
            call.request,
            key=call.key,
            deadline_seconds=services.settings.request_timeout_seconds,
        )
        async for _, event in reader:
            if isinstance(event, events.Failed):
                param = call.params.get(event.error.param or "", event.error.param)
                raise JobFailed(replace(event.error, param=param))
            if isinstance(event, events.Cancelled):
                raise JobFailed(cancelled_info(event.reason))
            yield event


def cancelled_info(reason: str) -> ErrorInfo:
    """How the end of a job that nobody will finish is told to someone who still waits for it."""
    return ErrorInfo(f"The request was cancelled: {reason}.", Unavailable.type, None, "cancelled", Unavailable.status)


async def answer_of(request: Request, services: Services, call: Call) -> Answer:
    """Waits for a job's answer; a client that leaves cancels it (`ClientGone`)."""
    answer = Answer()
    async with cancelled_by_disconnect(request.receive), aclosing(job_events(services, call)) as job:
        async for event in job:
            answer.add(event)
    return answer


def stream_of(services: Services, call: Call, render: ChatStream) -> Response:
    """Streams a job's answer. Status and headers wait for `Accepted`, so a refusal is a plain error."""

    async def frames() -> AsyncGenerator[bytes, None]:
        async with aclosing(job_events(services, call)) as job:
            async for event in job:
                for frame in render.frames(event):
                    yield frame
        yield DONE_FRAME

    return EventStream(frames())


async def submit_async(services: Services, call: Call) -> Response:
    """Makes the job outlive its client: 202 with its `Location`."""
    request = msgspec.json.encode(call.request).decode()
    job: Job = await in_thread(
        services.catalog.create_job, call.job_id, call.kind.name, call.endpoint, request, call.key or None
    )
    position = None
    try:
        position = await services.stream.submit(call.job_id, call.kind, call.request, durable=True, key=call.key)
    except Unavailable as error:
        # The row is durable, and reconciliation submits what nobody has: refusing now would make the client send twice.
        log.warning("job %s is sent later: %s", call.job_id, error.message)
    headers = {"location": f"/v1/jobs/{job.id}", "preference-applied": "respond-async"}
    return json_response(job_wire(job, position=position), 202, headers)


def job_wire(job: Job, *, position: int | None = None, result: Any = None) -> Wire:
    """A job as users see it. Times are Unix seconds, rounded down."""
    return {
        "id": job.id,
        "object": "job",
        "kind": job.kind,
        "endpoint": job.endpoint.partition("?")[0],
        "status": job.state.value,
        "position": position,
        "created_at": int(job.created_at),
        "started_at": _whole(job.started_at),
        "finished_at": _whole(job.finished_at),
        "result": result,
        "error": _error_wire(job.error),
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _error_wire(error: str | None) -> Wire | None:
    if error is None:
        return None
    info: Wire = msgspec.json.decode(error)
    return {key: info.get(key) for key in ("message", "type", "param", "code")}
