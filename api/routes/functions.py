"""`/v1/functions`: the functions that the inference workers have registered and can run."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.dependencies import JsonRoute, ServicesDep, json_response
from api.schemas.base import ListAnswer
from api.scopes import needs
from core.errors import Unavailable
from core.keys import Scope
from tasks.jobs.queues import Role

router = APIRouter(prefix="/v1/functions", tags=["functions"], route_class=JsonRoute)


@router.get("", responses={200: {"model": ListAnswer[dict[str, Any]]}})
@needs(Scope.CHAT)
async def list_functions(services: ServicesDep) -> Response:
    """List the functions that the server can run, with their JSON schemas."""
    workers = await services.stream.workers(Role.INFERENCE)
    if not workers:
        raise Unavailable("No inference worker is running, and only it knows the functions.", code="no_worker")
    functions: dict[str, Any] = {}
    for info in workers.values():
        functions |= {tool["function"]["name"]: tool for tool in map(_as_tool, info.get("functions", ()))}
    return json_response({"object": "list", "data": list(functions.values()), "has_more": False})


def _as_tool(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a function in the form of a chat's `tools`. Workers announce it in that form or as a bare schema."""
    return schema if "function" in schema else {"type": "function", "function": schema}
