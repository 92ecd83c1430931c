"""`/v1/keys`: API keys, for admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.auth import KeyRing
from api.dependencies import JsonRoute, ServicesDep, in_thread, json_response
from api.render import Wire
from api.schemas import keys as schema
from api.schemas.base import ListAnswer
from api.scopes import needs
from core.catalog import Page
from core.keys import ApiKey, Scope, key_digest, new_secret, require_consistent

router = APIRouter(prefix="/v1/keys", tags=["keys"], route_class=JsonRoute)


@router.post("", responses={201: {"model": schema.Key}}, status_code=201)
@needs(Scope.ADMIN)
async def create_key(body: schema.NewKey, request: Request, services: ServicesDep) -> Response:
    """Create a key. `key` in the answer is the key itself, of which only a hash is stored: it is not shown again."""
    rights = body.rights()
    require_consistent(rights)
    secret = new_secret()
    key: ApiKey = await in_thread(services.catalog.create_key, key_digest(secret), rights)
    _forget(request)
    return json_response(key_wire(key) | {"key": secret}, 201)


@router.get("", responses={200: {"model": ListAnswer[schema.Key]}})
@needs(Scope.ADMIN)
async def list_keys(
    services: ServicesDep, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: str | None = None
) -> Response:
    """List keys, the newest first, with those that have been revoked or have expired."""
    page: Page[ApiKey] = await in_thread(services.catalog.list_keys, limit, after)
    ids = (page.items[0].id, page.items[-1].id) if page.items else (None, None)
    answer = {"object": "list", "data": [key_wire(key) for key in page.items], "has_more": page.has_more}
    return json_response(answer | {"first_id": ids[0], "last_id": ids[1]})


@router.get("/{key_id}", responses={200: {"model": schema.Key}})
@needs(Scope.ADMIN)
async def get_key(key_id: str, services: ServicesDep) -> Response:
    """Return what a key may do."""
    return json_response(key_wire(await in_thread(services.catalog.get_key, key_id)))


@router.delete("/{key_id}", responses={200: {"model": schema.Key}})
@needs(Scope.ADMIN)
async def revoke_key(key_id: str, request: Request, services: ServicesDep) -> Response:
    """Revoke a key for good. Other processes of the API refuse it within five seconds. Its jobs go on."""
    key: ApiKey = await in_thread(services.catalog.revoke_key, key_id)
    _forget(request)
    return json_response(key_wire(key))


def _forget(request: Request) -> None:
    keys: KeyRing = request.app.state.keys
    keys.forget()


def key_wire(key: ApiKey) -> Wire:
    """Return a key in the form of the API, without the key itself. Times are Unix seconds, rounded down."""
    return {
        "id": key.id,
        "object": "api_key",
        "owner": key.owner,
        "scopes": list(key.scopes),
        "collections": key.collections,
        "models": key.models,
        "requests_per_minute": key.requests_per_minute,
        "concurrent_requests": key.concurrent_requests,
        "tokens_per_day": key.tokens_per_day,
        **{name: _whole(getattr(key, name)) for name in ("created_at", "expires_at", "revoked_at", "last_used_at")},
    }


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)
