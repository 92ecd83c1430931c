"""The progress of documents: stage, percent, whether they wait or are stalled, and the stream of their changes."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable

import anyio
import msgspec

from api.dependencies import Services, in_thread
from api.render import Wire
from api.sse import event_frame
from core.catalog import SETTLED, Document, DocumentState
from core.errors import Unavailable
from tasks.jobs.queues import Role

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
#: How long the answer about live workers is reused.
LIVENESS_SECONDS = 2.0
#: The percentage of a parsed document; the rest is indexing.
PARSED_PERCENT = 20
#: The role of the workers for which a document in this state waits.
_WAITS_FOR = {DocumentState.QUEUED: Role.INGEST, DocumentState.PARSED: Role.INDEX}
DocumentWire = Callable[[Document, "Liveness"], Wire]
_WORKED_ON = (DocumentState.PARSING, DocumentState.INDEXING)


class Liveness:
    """The roles that have live workers. Redis is asked at most every LIVENESS_SECONDS."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._asked_at = 0.0
        self._problems: dict[Role, str | None] = {}

    async def refresh(self) -> Liveness:
        """Ask Redis again if the last answer is too old."""
        if time.monotonic() - self._asked_at >= LIVENESS_SECONDS or not self._problems:
            self._problems = {role: await self._find_problem(role) for role in _WAITS_FOR.values()}
            self._asked_at = time.monotonic()
        return self

    def problem(self, role: Role) -> str | None:
        """Return why no worker of this role works, or None if one does or that is not known."""
        return self._problems.get(role)

    async def _find_problem(self, role: Role) -> str | None:
        try:
            return None if await self._services.stream.workers(role) else f"No {role.value} worker is running."
        except Unavailable as error:
            return error.message


async def liveness_for(services: Services, documents: list[Document]) -> Liveness:
    """Return the liveness of the workers. Redis is asked only if one of the documents waits for a worker."""
    liveness = Liveness(services)
    if any(document.state in _WAITS_FOR for document in documents):
        await liveness.refresh()
    return liveness


def progress_wire(document: Document, liveness: Liveness, now: float) -> Wire:
    """Return stage, percent, activity and timings of a document at `now` (Unix seconds)."""
    activity, reason = _activity(document, liveness, now)
    return {
        "stage": stage_of(document.state),
        "percent": _percent(document),
        "activity": activity,
        "activity_reason": reason,
        "chunks_indexed": document.chunks_indexed,
        "chunks_embedded": document.chunks_embedded,
        "searchable": document.active_generation is not None,
        "stale": document.is_stale,
        "timings": _timings(document, now),
    }


def stage_of(state: DocumentState) -> str:
    """Return the stage. Unlike the status, it distinguishes waiting for the index worker (`parsed`) from indexing."""
    return "parsed" if state is DocumentState.PARSED else state.value


def _percent(document: Document) -> int:
    match document.state:
        case DocumentState.COMPLETED:
            return 100
        case DocumentState.PARSED | DocumentState.INDEXING:
            share = document.chunks_indexed / max(document.chunk_count, 1)
            return PARSED_PERCENT + int((100 - PARSED_PERCENT) * min(share, 1.0))
        case _:
            return 0


def _activity(document: Document, liveness: Liveness, now: float) -> tuple[str | None, str | None]:
    """Return `waiting`, `working` or `stalled` with the reason, or None if nothing is to be done."""
    if document.state in _WORKED_ON:
        if document.lease_until is not None and document.lease_until >= now:
            return "working", None
        return "stalled", "The worker that had it stopped responding; another one will take it over."
    role = _WAITS_FOR.get(document.state)
    if role is None:
        return None, None
    problem = liveness.problem(role)
    return ("stalled", problem) if problem else ("waiting", f"It waits for an {role.value} worker.")


def _timings(document: Document, now: float) -> Wire:
    """Return the milliseconds spent in each stage, up to now in the current one; None for stages not reached."""
    ended = document.ended_at
    last = ended if ended is not None else now
    moments = {
        "queued_ms": (document.queued_at, document.parsing_at),
        "parsing_ms": (document.parsing_at, document.parsed_at),
        "index_wait_ms": (document.parsed_at, document.indexing_at),
        "indexing_ms": (document.indexing_at, ended),
        "total_ms": (document.queued_at, ended),
    }
    return {
        name: None if start is None else round(max(0.0, (last if end is None else end) - start) * 1000, 1)
        for name, (start, end) in moments.items()
    }


def event_id(document: Document, activity: str | None) -> str:
    """Return an id of what an event reports, so that a client that has seen it does not get it again."""
    return f"{int(document.updated_at * 1000)}.{document.state.value}.{document.chunks_indexed}.{activity or 'none'}"


async def document_events(
    services: Services, document_id: str, last_event_id: str, wire: DocumentWire
) -> AsyncGenerator[bytes, None]:
    """Yield a frame for each observed change of a document, from now until it is settled or deleted."""
    liveness, seen = Liveness(services), last_event_id
    yield b": following\n\n"
    while True:
        found = await in_thread(services.catalog.documents_by_id, [document_id])
        document = found.get(document_id)
        if document is None:
            yield event_frame("gone", "deleted", msgspec.json.encode({"id": document_id, "status": "deleted"}))
            return
        shown = wire(document, await liveness.refresh())
        number = event_id(document, shown["progress"]["activity"])
        if number != seen:
            yield event_frame(number, stage_of(document.state), msgspec.json.encode(shown))
            seen = number
        if document.state in SETTLED:
            return
        await anyio.sleep(POLL_SECONDS)
