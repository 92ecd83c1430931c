"""Middleware around every route: request ids, keys, body sizes, metrics, and the answer to unexpected errors."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import KeyRing, is_open
from api.browser_check import BrowserCheck
from api.callers import ANONYMOUS
from api.errors import response_to
from api.sse import STOP_NOTICE_SECONDS, ClientGone, server_stopping
from core.errors import InvalidRequest, TooLarge
from core.ids import new_id

REQUEST_ID_HEADER = "x-request-id"
_VALID_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")

#: The status under which a client that left before its answer is counted (nginx's number for it).
CLIENT_GONE_STATUS = 499

#: Called once per request with its method, the template of its route, its status and its duration in seconds.
Observe = Callable[[str, str, int, float], None]
#: The route of a request that none has.
UNKNOWN_ROUTE = "unknown"


@dataclass(frozen=True)
class BodyLimit:
    """The largest body, and the setting that says so."""

    size_bytes: int
    setting: str

    @property
    def error(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self.size_bytes} bytes ({self.setting}).")


class RequestIdMiddleware:
    """Sets `x-request-id` of every response (the client's own if it is valid) and passes the request to `observe`."""

    def __init__(self, app: ASGIApp, observe: Observe) -> None:
        self._app = app
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["route"] = UNKNOWN_ROUTE
        given = Headers(scope=scope).get(REQUEST_ID_HEADER, "")
        request_id = given if _VALID_REQUEST_ID.fullmatch(given) else new_id("req")
        began = time.monotonic()
        status = CLIENT_GONE_STATUS

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._observe(scope["method"], scope["state"]["route"], status, time.monotonic() - began)


class GuardMiddleware:
    """Refuses foreign pages, missing keys and too large bodies before anything is parsed. Answers unexpected errors."""

    def __init__(
        self,
        app: ASGIApp,
        browser_check: BrowserCheck,
        keys: KeyRing,
        max_body: BodyLimit,
        path_limits: Mapping[str, BodyLimit],
    ) -> None:
        self._app = app
        self._browser_check = browser_check
        self._keys = keys
        self._max_body = max_body
        self._path_limits = path_limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._check(scope)
            await self._app(scope, self._limited(scope, receive), watched_send)
        except (ClientGone, ClientDisconnect):
            # Nobody reads this response, but the metrics count its status.
            await Response(status_code=CLIENT_GONE_STATUS)(scope, receive, watched_send)
        except asyncio.CancelledError:
            # A whole request is cancelled only by a stopping server, which does not wait for this answer.
            if not started:
                with anyio.move_on_after(STOP_NOTICE_SECONDS, shield=True):
                    await response_to(server_stopping())(scope, receive, send)
        except Exception as error:  # an unexpected error must be answered too
            if started:
                raise
            await response_to(error)(scope, receive, send)
        finally:
            # Only here: the router writes into the scope that it gets, and middleware outside may have copied it.
            scope["state"]["route"] = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)

    async def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._browser_check.check(scope["method"], headers)
        if "\x00" in scope["path"] or b"%00" in scope["query_string"]:
            raise InvalidRequest("The URL contains a NUL character.")  # which no database accepts
        scope.setdefault("state", {})["caller"] = ANONYMOUS
        if not is_open(scope["path"]):
            services = scope["app"].state.services
            scope["state"]["caller"] = await self._keys.identify(
                headers, services.catalog, scope["method"], services.sessions
            )
        declared = headers.get("content-length", "")
        limit = self._limit(scope)
        if declared.isdecimal() and int(declared) > limit.size_bytes:
            raise limit.error

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        limit = self._limit(scope)
        seen_bytes = 0

        async def counted() -> Message:
            nonlocal seen_bytes
            message = await receive()
            seen_bytes += len(message.get("body", b""))
            if seen_bytes > limit.size_bytes:
                # FastAPI answers any other exception that is raised while it reads a body with 400.
                raise HTTPException(413, limit.error.message)
            return message

        return counted

    def _limit(self, scope: Scope) -> BodyLimit:
        return self._path_limits.get(scope["path"], self._max_body)
