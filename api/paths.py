"""Middleware for the paths of requests: the prefix of a proxy, and HEAD. Suggests paths for those that do not exist."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.settings import Settings

ANY = "*"
#: A prefix from a header becomes part of HTML and of headers, so it has plain characters only.
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_REPEATED = re.compile(r"/{2,}")
MAX_SUGGESTED_PATH = 1000


class PrefixMiddleware:
    """Serves the API under the path of a proxy: ROOT_PATH, or `X-Forwarded-Prefix` of a proxy in TRUSTED_PROXIES.

    The proxy may pass the prefix on or cut it off. Every address in an answer begins with it.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._root_path = settings.root_path
        self._trusts_all = ANY in settings.trusted_proxies
        networks = (proxy for proxy in settings.trusted_proxies if proxy != ANY)
        self._trusted = [ipaddress.ip_network(network, strict=False) for network in networks]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = self._prefix(scope) if scope["type"] == "http" else ""
        if not prefix:
            await self._app(scope, receive, send)
            return

        async def send_prefixed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("location", "").startswith("/"):
                    headers["location"] = prefix + headers["location"]
            await send(message)

        path = scope["path"]
        if path.startswith(f"{prefix}/"):
            path = path.removeprefix(prefix)
        await self._app({**scope, "root_path": prefix, "path": path}, receive, send_prefixed)

    def _prefix(self, scope: Scope) -> str:
        given = Headers(scope=scope).get("x-forwarded-prefix", "").rstrip("/")
        if _PREFIX.fullmatch(given) and self._is_trusted(scope):
            return given
        return self._root_path

    def _is_trusted(self, scope: Scope) -> bool:
        if self._trusts_all:
            return True
        try:
            address = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:
            return False
        return any(address in network for network in self._trusted)


class HeadMiddleware:
    """Answers HEAD with the status and the headers of GET. The route ends as if its client had left then."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        is_answered = False

        async def send_head(message: Message) -> None:
            nonlocal is_answered
            if not is_answered and message["type"] == "http.response.start":
                is_answered = True
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        await self._app({**scope, "method": "GET"}, receive, send_head)


def suggested_path(request: Request) -> str | None:
    """Return the path of a route that a wrong path may have meant, or None.

    Clients add `/v1` twice or not at all, double slashes, and a slash at the end.
    """
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    if len(path) > MAX_SUGGESTED_PATH:
        return None
    scope: dict[str, Any] = {"type": "http", "method": request.method, "root_path": "", "headers": []}
    for candidate in _candidates(path):
        if candidate != path:
            found = (route.matches(scope | {"path": candidate})[0] for route in request.app.router.routes)
            if Match.FULL in found:
                return candidate
    return None


def _candidates(path: str) -> Iterator[str]:
    plain = _REPEATED.sub("/", path).rstrip("/")
    yield plain
    while plain.startswith("/v1/v1/"):
        plain = plain.removeprefix("/v1")
    yield plain
    yield f"/v1{plain.removeprefix('/api')}"
    yield plain.removeprefix("/api")
