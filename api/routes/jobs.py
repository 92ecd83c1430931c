"""`/v1/jobs`: asynchronous jobs, which clients request with `Prefer: respond-async`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from api.callers import Caller
from api.dependencies import CallerDep, Frame, JsonRoute, Services, ServicesDep, in_thread, json_response
from api.job_calls import job_wire
from api.render import Answer, Head, Wire
from api.renderers import FinishedJob
from api.schemas import rag as schema
from api.schemas.base import EVENT_STREAM, ListAnswer
from api.scopes import needs
from api.sse import EventStream, event_frame
from api.visible import visible_job
from core import events
from core.catalog import Job, JobState
from core.errors import ErrorInfo, InvalidRequest, Unavailable
from tasks.jobs.kinds import kind_named
from tasks.jobs.queue_view import Waiting

log = logging.getLogger(__name__)
router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute)

FINAL_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})
Limit = Annotated[int, Query(ge=1, le=100)]


@router.get("", responses={200: {"model": ListAnswer[schema.Job]}})
@needs()
async def list_jobs(
    services: ServicesDep,
    caller: CallerDep,
    limit: Limit = 20,
    after: str | None = None,
    status: JobState | None = None,
) -> Response:
    """List asynchronous jobs, the newest first, without their results."""
    page = await in_thread(services.catalog.list_jobs, limit, after, status, caller.job_reach)
    return json_response(list_wire([job_wire(job) for job in page.items], has_more=page.has_more))


def list_wire(items: list[Wire], *, has_more: bool) -> Wire:
    """Return a page of a list in the form of the API."""
    return {
        "object": "list",
        "data": items,
        "has_more": has_more,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
    }


@router.get("/{job_id}", responses={200: {"model": schema.Job}})
@needs()
async def get_job(job_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Return a job's status, its position in the queue, and its result or error."""
    job = await visible_job(services, caller, job_id)
    return json_response(await _with_result(services, caller, job))


@router.delete("/{job_id}", responses={200: {"model": schema.Job}})
@needs()
async def cancel_job(job_id: str, services: ServicesDep, caller: CallerDep) -> Response:
    """Cancel a job. A job that has ended stays as it is."""
    job = await visible_job(services, caller, job_id)
    if job.state not in FINAL_STATES:
        await services.stream.cancel(job_id)
        await in_thread(services.catalog.finish_job, job_id, JobState.CANCELLED)
        job = await in_thread(services.catalog.get_job, job_id)
    return json_response(await _with_result(services, caller, job))


async def _with_result(services: Services, caller: Caller, job: Job) -> Wire:
    turn = await _turn(services, job) if job.state is JobState.QUEUED else None
    return job_wire(job, turn=turn, result=await _result(services, caller, job))


async def _turn(services: Services, job: Job) -> Waiting | None:
    """Return the turn of a job that waits. For a job that is far behind in its queue, nothing is estimated."""
    try:
        turns, _ = await services.stream.turns()
        if job.id in turns:
            return turns[job.id]
        position = await services.stream.position(job.id)
        return None if position is None else Waiting(position, None)
    except Unavailable as error:
        log.warning("the position of job %s is unknown: %s", job.id, error.message)
        return None


async def _result(services: Services, caller: Caller, job: Job) -> Wire | None:
    """Return the body with which the job's endpoint would have answered."""
    if job.state is not JobState.COMPLETED or job.result is None:
        return None
    answer = msgspec.json.decode(job.result, type=Answer)
    source = urlsplit(job.endpoint)
    render = kind_named(job.kind).renderer(source.path)
    head = Head(job.id, int(job.created_at))
    wire: Wire = await render(FinishedJob(services, caller, head, answer, dict(parse_qsl(source.query))))
    return wire


@router.get("/{job_id}/events", responses={200: {"content": EVENT_STREAM}})
@needs()
async def job_events(
    job_id: str, services: ServicesDep, caller: CallerDep, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """Stream a job's events, the earlier ones first, until the job ends.

    To resume, send the id of the last event received as `Last-Event-ID`. 204 means that no further event will come.
    """
    after = _event_number(last_event_id)
    job = await visible_job(services, caller, job_id)
    if job.state not in FINAL_STATES:
        return EventStream(_live(services, job_id, after))
    stored = list(_stored(job, await services.stream.frames_after(job_id, 0), after))
    return EventStream(_each(stored)) if stored else Response(status_code=204)


def _event_number(last_event_id: str | None) -> int:
    if not last_event_id:
        return 0
    if not (last_event_id.isascii() and last_event_id.isdecimal() and len(last_event_id) < 16):
        raise InvalidRequest("'Last-Event-ID' is not the id of an event.", param="Last-Event-ID")
    return int(last_event_id)


async def _live(services: Services, job_id: str, after: int) -> AsyncGenerator[bytes, None]:
    yield b": following\n\n"
    replay: Any = services.stream.replay(job_id, after)
    async with aclosing(replay) as frames:
        async for number, event in frames:
            yield _frame(number, await _with_turn(services, event))


async def _with_turn(services: Services, event: events.AnyEvent) -> events.AnyEvent:
    """Return an event that says that a job waits with its present turn, or any other event as it is."""
    if not isinstance(event, events.Queued):
        return event
    try:
        turns, _ = await services.stream.turns()
    except Unavailable:
        return event
    turn = turns.get(event.job_id)
    if turn is None:
        return event
    return msgspec.structs.replace(event, position=turn.position, estimated_start_seconds=turn.estimated_start_seconds)


def _stored(job: Job, frames: list[Frame], after: int) -> Iterator[bytes]:
    """Return the frames of a job that has ended. If Redis no longer has the last event, it is made from the row."""
    last = frames[-1][0] if frames else 0
    if not frames or not events.is_terminal(frames[-1][1]):
        last += 1
        frames = [*frames, (last, _terminal(job))]
    return (_frame(number, event) for number, event in frames if number > after)


def _terminal(job: Job) -> events.AnyEvent:
    common: dict[str, Any] = {"job_id": job.id, "attempt": job.attempt, "created": job.finished_at or 0.0}
    if job.state is JobState.CANCELLED:
        return events.Cancelled(**common)
    if job.state is JobState.FAILED:
        return events.Failed(**common, error=msgspec.convert(msgspec.json.decode(job.error or "{}"), ErrorInfo))
    answer = msgspec.json.decode(job.result or "{}", type=Answer)
    return events.Finished(
        **common, model=answer.model, usage=answer.usage, timings=answer.timings, result=answer.result
    )


def _frame(number: int, event: events.AnyEvent) -> bytes:
    return event_frame(number, str(event.__struct_config__.tag), events.encode(event))


async def _each(frames: list[bytes]) -> AsyncGenerator[bytes, None]:
    for frame in frames:
        yield frame
