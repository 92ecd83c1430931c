"""Runs jobs for routes: waits for the answer, streams it, or leaves the job to run without the client."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from api.admission import admit
from api.callers import Caller
from api.dependencies import Preferences, Services, in_thread, json_response
from api.errors import JobFailed
from api.render import Answer, ChatStream, Head, Wire
from api.renderers import FinishedJob, Options
from api.sse import DONE_FRAME, EventStream, cancelled_by_disconnect
from core import events
from core.catalog import Job, JobSummary
from core.errors import ErrorInfo, Unavailable
from core.ids import new_id
from tasks.jobs.kinds import JobKind
from tasks.jobs.queue_view import Waiting

#: How many messages were dropped from the beginning of the conversation (TRUNCATION=oldest).
TRUNCATED_MESSAGES_HEADER = "x-truncated-messages"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Call:
    """A job to run for a request to `path`."""

    kind: JobKind
    request: msgspec.Struct
    path: str
    caller: Caller
    #: What the renderer needs to know of the request: see `api.renderers`.
    options: Options = field(default_factory=dict)
    #: This route's names of fields that an error may name, by their names in the chat route, if they differ.
    params: Mapping[str, str] = field(default_factory=dict)
    #: The slug of the language model that is to do the job; "": whichever serves the default one.
    model: str = ""
    job_id: str = field(default_factory=lambda: new_id("job"))
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def head(self) -> Head:
        return Head(self.job_id, self.created)

    @property
    def limited_request(self) -> msgspec.Struct:
        """The request, with the collections that the job may read, if jobs of its kind read any."""
        if "within" not in self.request.__struct_fields__:
            return self.request
        readable = self.caller.readable
        return msgspec.structs.replace(self.request, within=None if readable is None else sorted(readable))

    @property
    def endpoint(self) -> str:
        """The endpoint in the job's catalog row: the path, with the options as a query string."""
        return f"{self.path}?{urlencode(self.options)}" if self.options else self.path


async def respond(
    request: Request, services: Services, call: Call, prefer: Preferences, stream: ChatStream | None = None
) -> Response:
    """Run a job as its client asked: asynchronously, as a stream of events by `stream`, or waiting for the answer."""
    await admit(services, call.caller, is_async=prefer.respond_async)
    if prefer.respond_async:
        return await submit_async(services, call)
    if stream is not None:
        return stream_answer(services, call, stream)
    answer = await wait_for_answer(request, services, call)
    finished = FinishedJob(services, call.caller, call.head, answer, call.options)
    body = await call.kind.renderer(call.path)(finished)
    return json_response(body, headers=_truncation_headers(answer.dropped_messages))


async def job_events(services: Services, call: Call) -> AsyncGenerator[events.AnyEvent, None]:
    """Submit an interactive job and yield its events. Closing the generator early cancels the job.

    Raises:
        JobFailed: the job ended with an error, or was cancelled.
        Unavailable: Redis does not answer, or the queue is full.
    """
    async with services.stream.open(call.job_id) as reader:
        await services.stream.submit(
            call.job_id,
            call.kind,
            call.limited_request,
            key=call.caller.key,
            owner=call.caller.owner,
            deadline_seconds=services.settings.request_timeout_seconds,
            model=call.model,
        )
        async for _, event in reader:
            if isinstance(event, events.Failed):
                param = call.params.get(event.error.param or "", event.error.param)
                raise JobFailed(replace(event.error, param=param))
            if isinstance(event, events.Cancelled):
                raise JobFailed(cancelled_info(event.reason))
            yield event


def cancelled_info(reason: str) -> ErrorInfo:
    """Return the error for a client that still waits for a job that was cancelled."""
    return ErrorInfo(f"The request was cancelled: {reason}.", Unavailable.type, None, "cancelled", Unavailable.status)


async def wait_for_answer(request: Request, services: Services, call: Call) -> Answer:
    """Wait for a job's answer.

    Raises:
        ClientGone: the client has left, and the job was cancelled.
        JobFailed: the job ended with an error, or was cancelled.
        Unavailable: Redis does not answer, or the queue is full.
    """
    answer = Answer()
    async with cancelled_by_disconnect(request.receive), aclosing(job_events(services, call)) as job:
        async for event in job:
            answer.add(event)
    return answer


def stream_answer(services: Services, call: Call, render: ChatStream) -> Response:
    """Stream a job's answer. Status and headers are sent after `Accepted`, so that a refusal is a plain error."""

    async def frames() -> AsyncGenerator[bytes, None]:
        async with aclosing(job_events(services, call)) as job:
            async for event in job:
                if isinstance(event, events.Accepted):
                    stream.headers.update(_truncation_headers(event.dropped_messages))
                for frame in render.frames(event):
                    yield frame
        yield DONE_FRAME

    stream = EventStream(frames())
    return stream


def _truncation_headers(dropped_messages: int) -> dict[str, str]:
    return {TRUNCATED_MESSAGES_HEADER: str(dropped_messages)} if dropped_messages else {}


async def submit_async(services: Services, call: Call) -> Response:
    """Submit a durable job, which outlives its client. Answer 202 with its `Location`."""
    request, caller = call.limited_request, call.caller
    encoded = msgspec.json.encode(request).decode()
    create = partial(services.catalog.create_job, owner=caller.owner, collections=caller.readable, model=call.model)
    job: Job = await in_thread(create, call.job_id, call.kind.name, call.endpoint, encoded, caller.key or None)
    turn = None
    try:
        position = await services.stream.submit(
            call.job_id, call.kind, request, durable=True, key=caller.key, owner=caller.owner, model=call.model
        )
        turns, _ = await services.stream.turns()
        turn = turns.get(call.job_id, Waiting(position, None))
    except Unavailable as error:
        # The row is committed, and reconciliation submits it later. An error would make the client send it twice.
        log.warning("job %s will be submitted later: %s", call.job_id, error.message)
    headers = {"location": f"/v1/jobs/{job.id}", "preference-applied": "respond-async"}
    return json_response(job_wire(job, turn=turn), 202, headers)


def job_wire(job: JobSummary, *, turn: Waiting | None = None, result: Any = None) -> Wire:
    """Return a job in the form of the API. Times are Unix seconds, rounded down."""
    return {
        "id": job.id,
        "object": "job",
        "kind": job.kind,
        "endpoint": job.endpoint.partition("?")[0],
        "status": job.state.value,
        "position": turn.position if turn else None,
        "estimated_start_seconds": turn.estimated_start_seconds if turn else None,
        "created_at": int(job.created_at),
        "started_at": _whole_seconds(job.started_at),
        "finished_at": _whole_seconds(job.finished_at),
        "result": result,
        "error": _error_wire(job.error),
    }


def _whole_seconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _error_wire(error: str | None) -> Wire | None:
    if error is None:
        return None
    info: Wire = msgspec.json.decode(error)
    return {key: info.get(key) for key in ("message", "type", "param", "code")}
