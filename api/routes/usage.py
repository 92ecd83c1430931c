"""`/v1/usage`: requests and tokens by day, owner and key."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from api.dependencies import CallerDep, JsonRoute, ServicesDep, in_thread, json_response
from api.render import Wire
from api.schemas import keys as schema
from api.schemas.base import ListAnswer
from api.scopes import needs
from core.catalog import Page
from core.errors import InvalidRequest
from core.usage import DailyUsage

router = APIRouter(prefix="/v1/usage", tags=["keys"], route_class=JsonRoute)

Day = Annotated[str | None, Query(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", description="A day in UTC: 2026-11-30.")]
#: Divides the parts of an item's id. No owner and no id of a key has it.
_DIVIDER = "\x1f"


@router.get("", responses={200: {"model": ListAnswer[schema.Usage]}})
@needs()
async def list_usage(
    services: ServicesDep,
    caller: CallerDep,
    first_day: Day = None,
    last_day: Day = None,
    owner: str | None = None,
    key: Annotated[str | None, Query(description="The id of a key.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: str | None = None,
) -> Response:
    """List what was used by day, owner and key, the last day first. Only admins see the usage of other owners.

    What was used in the last ten seconds may be missing. Days are kept for 400 days.
    """
    seen = owner if caller.reach.owner is None else caller.reach.owner
    if owner is not None and owner != seen:
        return json_response(_list(Page([], False)))
    find = partial(
        services.catalog.list_usage,
        owner=seen,
        key=key,
        first_day=first_day,
        last_day=last_day,
        limit=limit,
        after=None if after is None else _position(after),
    )
    return json_response(_list(await in_thread(find)))


def _list(page: Page[DailyUsage]) -> Wire:
    items = [usage_wire(one) for one in page.items]
    ids = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return {"object": "list", "data": items, "has_more": page.has_more, "first_id": ids[0], "last_id": ids[1]}


def usage_wire(one: DailyUsage) -> Wire:
    """Return a day's usage of a key in the form of the API."""
    return {
        "id": f"usage-{_DIVIDER.join((one.day, one.owner, one.key)).encode().hex()}",
        "object": "usage",
        "day": one.day,
        "owner": one.owner,
        "key": one.key,
        "requests": one.requests,
        "prompt_tokens": one.prompt_tokens,
        "completion_tokens": one.completion_tokens,
        "total_tokens": one.prompt_tokens + one.completion_tokens,
    }


def _position(item_id: str) -> tuple[str, str, str]:
    try:
        text = bytes.fromhex(item_id.removeprefix("usage-")).decode()
        day, owner, key = text.replace("\0", "").split(_DIVIDER)
    except ValueError:
        raise InvalidRequest(f"No item with the id {item_id!r} to continue after.", param="after") from None
    return day, owner, key
