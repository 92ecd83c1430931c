"""Server-sent events, and detecting that a client has disconnected."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import describe, error_body
from core.errors import Unavailable

log = logging.getLogger(__name__)

#: The stream of a client that reads no frame for this long is closed, and its job cancelled.
SEND_TIMEOUT_SECONDS = 15.0
#: After this long without a frame a comment is sent, so that proxies do not close the connection.
PING_SECONDS = 15.0
DONE_FRAME = b"data: [DONE]\n\n"
#: Time to send clients the error that the server is stopping.
STOP_NOTICE_SECONDS = 1.0
_LINE_ENDS = re.compile(rb"\xc2\x85|\xe2\x80[\xa8\xa9]")
_PING_FRAME = b": ping\n\n"


def data_frame(value: object) -> bytes:
    """Return the frame `data: <json>`."""
    return b"data: " + one_line(msgspec.json.encode(value)) + b"\n\n"


def event_frame(number: int | str, name: str, payload: bytes) -> bytes:
    """Return a frame with an id for `Last-Event-ID`. `payload` is JSON without line breaks."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (str(number).encode(), name.encode(), one_line(payload))


def one_line(payload: bytes) -> bytes:
    """Return JSON in which the characters are escaped that some clients take for the end of a line.

    These are U+0085, U+2028 and U+2029. JSON has them within strings only.
    """
    return _LINE_ENDS.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), payload)


def server_stopping() -> Unavailable:
    """Return the error for requests that are still running when the server's time to stop is over."""
    return Unavailable("The server is stopping. Try again in a moment.", code="server_stopping")


def _error_frame(error: BaseException) -> bytes:
    return b"data: " + one_line(error_body(describe(error))) + b"\n\n"


class ClientGone(Exception):
    """The client has disconnected, so that nobody would read an answer."""


@asynccontextmanager
async def cancelled_by_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Cancel the body of the `with` statement when the client disconnects. The request must have been read before.

    Raises:
        ClientGone: the client has disconnected.
    """
    with anyio.CancelScope() as scope:
        watcher = asyncio.create_task(_watch(receive, scope))
        try:
            yield
        finally:
            watcher.cancel()
    if scope.cancelled_caught:
        raise ClientGone


async def _watch(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


class EventStream(Response):
    """A response that sends frames as they come.

    Status and headers are sent with the first frame, so that an error before it is a plain error response. The
    generator is closed when the client leaves, stops reading, or has received everything.
    """

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncGenerator[bytes, None], headers: Mapping[str, str] | None = None) -> None:
        self._frames = frames
        self._last_sent = time.monotonic()
        #: When the frame that the client has not read yet was sent; None if it has read all of them.
        self._sending_since: float | None = None
        self._is_slow = False
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no", **(headers or {})})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with cancelled_by_disconnect(receive):
                await self._answer(send)
        except ClientGone:
            log.debug("the client left %s", scope["path"])
        finally:
            with anyio.CancelScope(shield=True):
                await self._frames.aclose()

    async def _answer(self, send: Send) -> None:
        first = await anext(self._frames, _PING_FRAME)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with anyio.CancelScope() as scope:
            keeper = asyncio.create_task(self._keep_alive(send, scope))
            try:
                await self._send(send, first)
                await self._send_rest(send)
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                keeper.cancel()
        if self._is_slow:
            log.warning("a stream was closed because its client did not read for %g s", SEND_TIMEOUT_SECONDS)

    async def _send_rest(self, send: Send) -> None:
        try:
            async for frame in self._frames:
                await self._send(send, frame)
        except asyncio.CancelledError:
            # The server stops: an incomplete stream must end with an error. If the client has left, nobody reads it.
            if not self._is_slow:
                with anyio.move_on_after(STOP_NOTICE_SECONDS, shield=True):
                    last = _error_frame(server_stopping())
                    await send({"type": "http.response.body", "body": last, "more_body": False})
            raise
        except Exception as error:  # the status has been sent, so an error can only be reported in the stream
            await self._send(send, _error_frame(error))

    async def _send(self, send: Send, frame: bytes) -> None:
        self._sending_since = time.monotonic()
        await send({"type": "http.response.body", "body": frame, "more_body": True})
        self._last_sent, self._sending_since = time.monotonic(), None

    async def _keep_alive(self, send: Send, scope: anyio.CancelScope) -> None:
        """Send comments while there are no frames, and cancel the stream of a client that does not read.

        There is one timer for the whole stream, because one for each frame would cost more than the frame.
        """
        while True:
            due = self._last_sent + PING_SECONDS
            if self._sending_since is not None:
                due = self._sending_since + SEND_TIMEOUT_SECONDS
            await asyncio.sleep(max(0.1, due - time.monotonic()))
            now = time.monotonic()
            if self._sending_since is not None:
                if now - self._sending_since >= SEND_TIMEOUT_SECONDS:
                    break
            elif now - self._last_sent >= PING_SECONDS:
                self._last_sent = now
                with anyio.move_on_after(SEND_TIMEOUT_SECONDS) as ping:
                    await send({"type": "http.response.body", "body": _PING_FRAME, "more_body": True})
                if ping.cancelled_caught:
                    break
        self._is_slow = True
        scope.cancel()
