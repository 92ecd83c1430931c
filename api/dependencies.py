"""The services that routes use, opened once per process, and the parts of a request that many routes read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar

import msgspec
from anyio import to_thread
from fastapi import Depends, Header, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from api.callers import Caller
from api.json_bodies import read_json
from api.key_limits import Limits
from api.scopes import scopes_of
from api.sessions import SessionStore
from api.upload_slots import UploadSlots
from core.disk import DiskSpace
from core.events import AnyEvent
from core.keys import DEFAULT_OWNER
from core.settings import Settings
from tasks.jobs.queues import Role

if TYPE_CHECKING:
    from prometheus_client.registry import Collector

    from core.blobs import BlobStore
    from core.catalog import Catalog
    from core.usage import UsageMeter
    from tasks.jobs.changes import Hints as ChangeHints
    from tasks.jobs.kinds import JobKind
    from tasks.jobs.queue_view import QueuedJob, Waiting

ResultT = TypeVar("ResultT")
Frame = tuple[int, AnyEvent]


class Stream(Protocol):
    """The part of `tasks.jobs.stream.JobStream` that the API uses."""

    def open(self, job_id: str, *, after: int = 0) -> AbstractAsyncContextManager[Any]: ...

    async def submit(
        self,
        job_id: str,
        kind: JobKind,
        request: msgspec.Struct,
        *,
        durable: bool = False,
        key: str = "",
        owner: str = DEFAULT_OWNER,
        deadline_seconds: float | None = None,
        model: str = "",
    ) -> int: ...

    def replay(self, job_id: str, after_seq: int = 0) -> AsyncIterator[Frame]: ...

    async def frames_after(self, job_id: str, number: int) -> list[Frame]: ...

    async def cancel(self, job_id: str) -> bool: ...

    async def position(self, job_id: str) -> int | None: ...

    async def turns(self) -> tuple[dict[str, Waiting], int]: ...

    async def queued_jobs(self) -> tuple[list[QueuedJob], dict[Role, dict[str, dict[str, Any]]]]: ...

    async def throughput(self) -> tuple[int, list[dict[str, int]]]: ...

    async def ping(self) -> None: ...

    async def workers(self, role: Role) -> dict[str, dict[str, Any]]: ...


class ChangeReader(Protocol):
    """The part of `tasks.jobs.changes.ChangeStream` that the API uses."""

    async def position(self) -> str: ...

    async def read(self, after: str) -> tuple[ChangeHints, str]: ...

    async def since(self, after: str) -> ChangeHints | None: ...


class Hints(Protocol):
    """The part of `tasks.jobs.producer.Producer` that the API uses. Its methods block."""

    def ingest(self, document_id: str) -> bool: ...

    def wake_indexer(self) -> None: ...


@dataclass(frozen=True)
class Services:
    """Everything a route may need."""

    settings: Settings
    catalog: Catalog
    blobs: BlobStore
    stream: Stream
    hints: Hints
    #: None: the limits of keys are not enforced.
    limits: Limits | None = None
    #: None: requests are not counted.
    usage: UsageMeter | None = None
    #: None: browsers cannot sign in.
    sessions: SessionStore | None = None
    #: None: clients cannot follow changes.
    changes: ChangeReader | None = None
    #: None: `/metrics` shows those of this process alone.
    metrics: Collector | None = None

    @cached_property
    def disk(self) -> DiskSpace:
        """The free space that new work needs."""
        return DiskSpace(self.settings)

    @cached_property
    def uploads(self) -> UploadSlots:
        """The uploads that are received now."""
        return UploadSlots()

    @cached_property
    def large_bodies(self) -> asyncio.Lock:
        """Held by the request whose large body is read."""
        return asyncio.Lock()


# The dependencies are coroutines, although they await nothing, because FastAPI runs plain functions in a thread.


async def get_services(request: Request) -> Services:
    """Return the services of this process."""
    services: Services = request.app.state.services
    return services


async def get_caller(request: Request) -> Caller:
    """Return who sends the request."""
    caller: Caller = request.state.caller
    return caller


@dataclass(frozen=True)
class Preferences:
    """The preferences in the `Prefer` header (RFC 7240)."""

    respond_async: bool = False
    wait_seconds: float | None = None


async def get_preferences(
    prefer: Annotated[list[str] | None, Header(description="RFC 7240: `respond-async`, `wait=SECONDS`")] = None,
) -> Preferences:
    """Parse `Prefer`. Unknown preferences are ignored, as the RFC requires."""
    preferences = {}
    for part in ",".join(prefer or ()).replace(";", ",").split(","):
        name, _, value = part.partition("=")
        preferences[name.strip().lower()] = value.strip().strip('"')
    wait = preferences.get("wait", "")
    return Preferences("respond-async" in preferences, float(wait) if wait.isdecimal() and len(wait) < 10 else None)


ServicesDep = Annotated[Services, Depends(get_services)]
CallerDep = Annotated[Caller, Depends(get_caller)]
PreferencesDep = Annotated[Preferences, Depends(get_preferences)]


async def in_thread(function: Callable[..., ResultT], *args: Any) -> ResultT:
    """Run a blocking function (of the catalog, the blob store or the producer) in a thread."""
    return await to_thread.run_sync(function, *args)


class JsonRequest(Request):
    """A request whose body is read by `read_json`."""

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            services: Services = self.app.state.services
            self._json = await read_json(self, services.settings.max_body_bytes, services.large_bodies)
        return self._json


class JsonRoute(APIRoute):
    """A route that checks the scopes of its caller before it reads the body, which it does with `JsonRequest`."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        scopes = [scope.value for scope in scopes_of(endpoint)]
        described = (options.pop("openapi_extra", None) or {}) | {"x-required-scopes": scopes}
        super().__init__(path, endpoint, openapi_extra=described, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, scopes = super().get_route_handler(), scopes_of(self.endpoint)

        async def strictly(request: Request) -> Response:
            (await get_caller(request)).require(*scopes)
            return await handle(JsonRequest(request.scope, request.receive))

        return strictly


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a JSON response with `value` as it is, without validation by pydantic."""
    return Response(msgspec.json.encode(value), status, dict(headers or {}), "application/json")
