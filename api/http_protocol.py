"""HTTP/1 for uvicorn: what `api/server.py` gives it as `--http`.

It differs from uvicorn's protocol over httptools in four points:

- A request that offers another protocol (`Upgrade: h2c`, which every Java client sends) is served as if it did not.
  httptools skips the body of such a request and stops reading the connection.
- An answer of unknown length to an HTTP/1.0 client is not chunked, since that version has no chunks. It ends with the
  connection.
- Little of an answer is buffered for a client that does not read. The kernel's send buffer grows to megabytes, which is
  more than a whole stream of events, so that such a client would not be noticed while its answer is generated.
- Connections are bounded by the files that this process may have open, and one that sends nothing is closed. A process
  without a free descriptor can neither accept a connection nor write what it has accepted.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from functools import cache
from typing import Any

import httptools
from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from api.errors import response_to
from core.errors import Unavailable

#: Headers, and options of `Connection`, that belong to the offer.
_OFFER_HEADERS = frozenset({b"upgrade", b"http2-settings"})
#: What the kernel and this process buffer for a client that does not read, beside what its own host buffers.
MAX_UNSENT_BYTES = 16 * 2**10
MAX_UNWRITTEN_BYTES = 16 * 2**10
#: Connections at most, and the descriptors that are for other things: the catalog, Redis, uploads and libraries.
MAX_CONNECTIONS, OTHER_DESCRIPTORS = 4096, 512
#: How long a connection may be open before its first byte.
FIRST_BYTE_SECONDS = 30.0


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, except that it declines every upgrade: the API has no websockets."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.limit_concurrency = max_connections()
        self.timeout_keep_alive_task = self.loop.call_later(FIRST_BYTE_SECONDS, self.timeout_keep_alive_handler)
        transport.set_write_buffer_limits(high=MAX_UNWRITTEN_BYTES)
        connection = transport.get_extra_info("socket")
        if hasattr(socket, "TCP_NOTSENT_LOWAT") and connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, MAX_UNSENT_BYTES)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and self.parser is not None and not self.transport.is_closing():
            data = self._feed(data)

    def _feed(self, data: bytes) -> bytes:
        """Feed the parser. Return what a new parser has to read if this one has stopped at an offer, else nothing."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            if self._is_offer():
                head = self._head_without_offer()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
                return head + data[offer.args[0] :]
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
        return b""

    def _is_offer(self) -> bool:
        # A CONNECT counts as an upgrade too, but its meaning does not change without headers.
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        for name, value in self.headers:
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                value = b", ".join(option for option in options if option.lower() not in _OFFER_HEADERS)
            if name not in _OFFER_HEADERS:
                lines.append(b"%s: %s" % (name, value))
        return b"\r\n".join([*lines, b"", b""])

    def on_headers_complete(self) -> None:
        if not self._is_offer():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._is_offer():
            super().on_message_complete()

    def _should_upgrade(self) -> bool:
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if app is service_unavailable:
            app = _refuse  # in the form of all errors
        if cycle.scope["http_version"] == "1.0":
            app = _without_chunks(cycle, app)
        super()._start_asgi_task(cycle, app)


async def _refuse(scope: Any, receive: Any, send: Any) -> None:
    error = Unavailable(
        f"{max_connections()} connections are open. Try again in a moment.", code="too_many_connections"
    )
    response = response_to(error)
    response.headers["connection"] = "close"
    await response(scope, receive, send)


def _without_chunks(cycle: RequestResponseCycle, app: ASGI3Application) -> ASGI3Application:
    """Return an application whose answers end with the connection if they have no length."""

    async def without_chunks(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        has_length = True

        async def send_unframed(message: ASGISendEvent) -> None:
            nonlocal has_length
            if message["type"] == "http.response.start":
                has_length = any(name.lower() == b"content-length" for name, _ in message.get("headers", ()))
                if not has_length:
                    cycle.chunked_encoding = False
            elif message["type"] == "http.response.body" and not has_length:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_unframed)

    return without_chunks


@cache
def max_connections() -> int:
    """Return how many connections this process can serve, after raising its limit on open files as far as it may."""
    wanted = MAX_CONNECTIONS + OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = wanted if soft == resource.RLIM_INFINITY else min(soft, wanted)
    return max(allowed // 2, allowed - OTHER_DESCRIPTORS)
