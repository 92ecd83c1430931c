"""Sessions of browsers: a page exchanges an API key for a cookie that scripts cannot read.

An `EventSource`, an image and a download cannot send a header, and a key that a page keeps can be read by every script
in it. The cookie works for pages of this server only, whatever CORS_ORIGINS allows.
"""

from __future__ import annotations

from typing import Protocol

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import Response

from api.browser_check import is_same_origin
from core.errors import PermissionDenied

SESSION_PATH = "/v1/session"
COOKIE = "llm_api_session"
#: Longer than every token.
MAX_TOKEN_CHARACTERS = 128


class SessionStore(Protocol):
    """The part of `tasks.jobs.sessions.Sessions` that the API uses."""

    async def create(self, key_digest: bytes) -> str: ...

    async def find(self, token: str) -> bytes | None: ...

    async def end(self, token: str) -> None: ...


def session_token(method: str, headers: Headers) -> str:
    """Return the token in a request's cookie, or "" if it has none.

    Raises:
        PermissionDenied: a page of another server has sent the cookie.
    """
    token = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    if token and not is_same_origin(method, headers):
        raise PermissionDenied(
            "The cookie of a session works for pages of this server only. Send an API key in its place.",
            code="origin_not_allowed",
        )
    return token if len(token) <= MAX_TOKEN_CHARACTERS else ""


def set_cookie(request: Request, response: Response, token: str, seconds: int) -> None:
    """Set the cookie of a session, which the browser keeps for so many seconds. An empty token removes it.

    Behind a proxy, only the origin that the browser names says that its user sees HTTPS.
    """
    is_secure = "https" in (request.url.scheme, request.headers.get("origin", "").partition(":")[0])
    response.set_cookie(
        COOKIE,
        token,
        max_age=seconds if token else 0,
        path=request.scope.get("root_path") or "/",
        secure=is_secure,
        httponly=True,
        samesite="strict",
    )
