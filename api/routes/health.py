"""`/health`, `/ready` and `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.dependencies import JsonRoute, Services, ServicesDep, in_thread, json_response
from api.metrics import Metrics
from core.errors import LlmApiError, Unavailable
from tasks.jobs.queues import Role

#: A dependency that takes longer to answer than this counts as missing.
CHECK_TIMEOUT_SECONDS = 3.0

#: No step takes so long, not of a large model on a CPU: an engine that is silent for longer hangs.
MOST_SILENT_SECONDS = 60.0

router = APIRouter(tags=["operation"], route_class=JsonRoute)


@router.get("/health")
async def health() -> Response:
    """The API process is alive; it says nothing about the others."""
    return json_response({"status": "ok"})


@router.get("/ready", responses={503: {"description": "A dependency is missing; its name is under `checks`."}})
async def ready(services: ServicesDep) -> Response:
    """Each dependency by name, 503 when one is missing. It needs no key, so it tells no details."""
    checks: dict[str, Awaitable[str]] = {
        "catalog": _answers(in_thread(services.catalog.ping)),
        "redis": _answers(services.stream.ping()),
        **{_check_name(role): _has_worker(services, role) for role in _needed_roles(services)},
    }
    states = dict(zip(checks, await asyncio.gather(*checks.values()), strict=True))
    is_ready = all(state == "ok" for state in states.values())
    body = {"status": "ready" if is_ready else "not_ready", "checks": states}
    return json_response(body, 200 if is_ready else 503)


def _needed_roles(services: Services) -> list[Role]:
    return [role for role in Role if role is not Role.WATCHER or services.settings.watch_roots]


def _check_name(role: Role) -> str:
    return role.value if role is Role.WATCHER else f"{role.value}_worker"


async def _answers(question: Awaitable[Any]) -> str:
    try:
        await asyncio.wait_for(_awaited(question), CHECK_TIMEOUT_SECONDS)
    except (LlmApiError, TimeoutError):
        return "unavailable"
    return "ok"


async def _has_worker(services: Services, role: Role) -> str:
    async def question() -> None:
        workers = (await services.stream.workers(role)).values()
        if not any(info.get("silent_seconds", 0) < MOST_SILENT_SECONDS for info in workers):
            raise Unavailable(f"no {role.value} worker is alive")

    return await _answers(question())


async def _awaited(question: Awaitable[Any]) -> Any:
    return await question


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, services: ServicesDep) -> Response:
    """Counters for Prometheus."""
    collected: Metrics = request.app.state.metrics
    return await collected.response(services)
