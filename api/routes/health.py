"""`/health`, `/ready` and `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import JsonRoute, Services, ServicesDep, in_thread, json_response
from api.metrics import CONTENT_TYPE, text_of
from api.scopes import needs
from core.errors import LlmApiError, StorageFull, Unavailable
from core.keys import Scope
from tasks.jobs.presence import MAX_SILENT_SECONDS, needed_roles
from tasks.jobs.producer import known_slugs
from tasks.jobs.queues import Role

#: A dependency that takes longer to answer counts as unavailable.
CHECK_TIMEOUT_SECONDS = 3.0

router = APIRouter(tags=["operation"], route_class=JsonRoute)


@router.get("/health")
@needs()
async def health() -> Response:
    """Answer that the API process is alive. The other processes are not checked."""
    return json_response({"status": "ok"})


@router.get("/ready", responses={503: {"description": "A dependency is unavailable; `checks` names it."}})
@needs()
async def ready(services: ServicesDep) -> Response:
    """Report the state of each dependency, with 503 if one is unavailable. It needs no key, so it shows no details."""
    checks: dict[str, Awaitable[str]] = {
        "catalog": _check(in_thread(services.catalog.ping)),
        "disk": _check(in_thread(services.disk.require)),
        "redis": _check(services.stream.ping()),
        **{_check_name(role): _check_worker(services, role) for role in needed_roles(services.settings)},
    }
    states = dict(zip(checks, await asyncio.gather(*checks.values()), strict=True))
    is_ready = all(state == "ok" for state in states.values())
    body = {"status": "ready" if is_ready else "not_ready", "checks": states}
    return json_response(body, 200 if is_ready else 503)


def _check_name(role: Role) -> str:
    return role.value if role is Role.WATCHER else f"{role.value}_worker"


async def _check(ping: Awaitable[Any]) -> str:
    try:
        await asyncio.wait_for(_awaited(ping), CHECK_TIMEOUT_SECONDS)
    except StorageFull:
        return "full"
    except (LlmApiError, TimeoutError):
        return "unavailable"
    return "ok"


async def _check_worker(services: Services, role: Role) -> str:
    async def ping() -> None:
        workers = (await services.stream.workers(role)).values()
        if role is Role.INFERENCE and not workers and await _can_load_a_model(services):
            return
        if not any(info.get("silent_seconds", 0) < MAX_SILENT_SECONDS for info in workers):
            raise Unavailable(f"no {role.value} worker is alive")

    return await _check(ping())


async def _can_load_a_model(services: Services) -> bool:
    """Return whether a supervisor would start a worker for the next request."""
    return bool(known_slugs([], (await services.stream.workers(Role.SUPERVISOR)).values()))


async def _awaited(ping: Awaitable[Any]) -> Any:
    return await ping


@router.get("/metrics", response_class=Response)
@needs(Scope.ADMIN)
async def metrics(services: ServicesDep) -> Response:
    """Return the metrics of all processes in Prometheus' text format."""
    return Response(await in_thread(text_of, services.metrics), media_type=CONTENT_TYPE)
