"""`/v1/events`: the changes of documents, jobs and models as they happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from api.auth import KeyRing
from api.callers import Caller
from api.dependencies import CallerDep, JsonRoute, ServicesDep
from api.live import TOPICS, Live, Subscription
from api.schemas.base import EVENT_STREAM
from api.scopes import needs
from api.sse import EventStream
from core.errors import InvalidRequest, Unavailable
from core.keys import Scope

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=JsonRoute)

#: How often it is checked that the key of a client still holds.
CHECK_SECONDS = 30.0
#: In how many milliseconds a browser connects again.
RECONNECT_MS = 2000
MAX_EVENT_ID = 64


@router.get("", responses={200: {"content": EVENT_STREAM}})
@needs()
async def live_events(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    topics: Annotated[
        str | None, Query(description="Of `documents`, `jobs` and `models`, with commas; all that the key may see.")
    ] = None,
    collection: Annotated[str | None, Query(description="Only the documents of this collection.")] = None,
    document: Annotated[str | None, Query(description="Only this document.")] = None,
    job: Annotated[str | None, Query(description="Only this job.")] = None,
    last_event_id: Annotated[str | None, Header(max_length=MAX_EVENT_ID)] = None,
) -> Response:
    """Stream what changes, as far as the key sees it: `document`, `document.deleted`, `collection`, `job`, `model`, ….

    Each event has the whole object, but `queue` and `watched_folders`: they say that `/v1/queue` and `/v1/watch` have
    changed. `reset` says that something was missed, so that lists have to be read again. With
    `Last-Event-ID`, the stream begins with what has changed since.
    """
    live: Live | None = request.app.state.live
    if live is None:
        raise Unavailable("This process does not follow changes.", code="no_events")
    wanted = Subscription(_topics(topics, caller), collection, document, job)

    async def identified() -> Caller:
        keys: KeyRing = request.app.state.keys
        return await keys.identify(request.headers, services.catalog, request.method, services.sessions)

    return EventStream(_frames(live, caller, wanted, last_event_id or "", identified))


def _topics(given: str | None, caller: Caller) -> frozenset[str]:
    if given is None:
        readable = caller.has(Scope.DOCUMENTS_READ)
        return frozenset(topic for topic in TOPICS if topic != "documents" or readable)
    topics = frozenset(topic.strip() for topic in given.split(","))
    unknown = sorted(topics - set(TOPICS))
    if unknown:
        raise InvalidRequest(f"There is no topic {unknown[0]!r}; these are: {', '.join(TOPICS)}.", param="topics")
    if "documents" in topics:
        caller.require(Scope.DOCUMENTS_READ)
    return topics


async def _frames(
    live: Live, caller: Caller, wanted: Subscription, last_event_id: str, identified: Callable[[], Awaitable[Caller]]
) -> AsyncGenerator[bytes, None]:
    async with live.client(caller, wanted) as client:
        # An id without data: where a client continues that has received no event yet.
        yield f"retry: {RECONNECT_MS}\nid: {live.position}\n\n".encode()
        if last_event_id:
            for frame in await live.missed(client, last_event_id):
                yield frame
        checked = time.monotonic()
        while True:
            try:
                async with asyncio.timeout(max(0.0, checked + CHECK_SECONDS - time.monotonic())):
                    frames = await client.next_frames()
            except TimeoutError:
                client.caller, checked = await identified(), time.monotonic()
                if "documents" in wanted.topics:
                    client.caller.require(Scope.DOCUMENTS_READ)
                continue
            yield frames
