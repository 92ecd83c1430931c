"""`/v1/session`: a browser signs in with an API key, and signs out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import KeyRing
from api.browser_check import is_same_origin
from api.callers import Caller
from api.dependencies import JsonRoute, ServicesDep, json_response
from api.schemas import session as schema
from api.scopes import needs
from api.sessions import SESSION_PATH, SessionStore, session_token, set_cookie
from core.errors import AuthenticationFailed, InvalidRequest, PermissionDenied, Unavailable
from core.keys import Scope, key_digest
from tasks.jobs.sessions import SESSION_SECONDS

router = APIRouter(prefix=SESSION_PATH, tags=["keys"], route_class=JsonRoute)

_COOKIE_SET: dict[int | str, dict[str, Any]] = {
    204: {"description": "The cookie of the session is set.", "headers": {"Set-Cookie": {"schema": {"type": "string"}}}}
}


@router.post("", status_code=204, responses=_COOKIE_SET)
@needs()
async def sign_in(body: schema.NewSession, request: Request, services: ServicesDep) -> Response:
    """Exchange an API key for a cookie, which works for pages of this server in place of the key.

    Scripts cannot read the cookie. It lasts seven days after its last use, and no longer than the key.
    """
    keys, sessions = _keys(request), _sessions(services.sessions)
    if ("origin" in request.headers or "sec-fetch-site" in request.headers) and not is_same_origin(
        request.method, request.headers
    ):
        raise PermissionDenied("Only pages of this server can sign in.", code="origin_not_allowed")
    if not await keys.is_required(services.catalog):
        raise InvalidRequest("This server has no keys, so nobody signs in.", code="no_key_required")
    digest = key_digest(body.key.strip())
    await keys.bearer(digest, services.catalog)
    response = Response(status_code=204)
    set_cookie(request, response, await sessions.create(digest), SESSION_SECONDS)
    return response


@router.get("", responses={200: {"model": schema.Session}})
@needs()
async def get_session(request: Request, services: ServicesDep) -> Response:
    """Say whether requests need a key, and who sends this one. It is never answered 401."""
    keys = _keys(request)
    is_required = await keys.is_required(services.catalog)
    caller: Caller | None
    try:
        caller = await keys.identify(request.headers, services.catalog, request.method, services.sessions)
    except (AuthenticationFailed, PermissionDenied):
        caller = None
    return json_response(
        {
            "object": "session",
            "key_required": is_required,
            "signed_in": is_required and caller is not None,
            "owner": caller.owner if caller else None,
            "scopes": [scope.value for scope in Scope if caller and caller.has(scope)],
        },
        headers={"cache-control": "no-store"},
    )


@router.delete("", status_code=204, responses=_COOKIE_SET)
@needs()
async def sign_out(request: Request, services: ServicesDep) -> Response:
    """End the session that the cookie names, and remove the cookie."""
    token = session_token(request.method, request.headers)
    if token:
        await _sessions(services.sessions).end(token)
    response = Response(status_code=204)
    set_cookie(request, response, "", 0)
    return response


def _keys(request: Request) -> KeyRing:
    keys: KeyRing = request.app.state.keys
    return keys


def _sessions(sessions: SessionStore | None) -> SessionStore:
    if sessions is None:
        raise Unavailable("Nobody can sign in here: send an API key with each request.", code="no_sessions")
    return sessions
