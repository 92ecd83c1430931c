"""A client that does not read, over a real connection: it is noticed before much has been buffered for it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from api import sse
from api.http_protocol import HttpProtocol
from api.sse import EventStream
from tests.support import wait_until

FRAME = b"data: " + b"x" * 242 + b"\n\n"
#: The buffers of this process, of the kernel and of the client's host, whose window opens as far as it likes.
MAX_BUFFERED_BYTES = 512 * 2**10


class Endless:
    """An application whose streams never end. It counts what it has sent, and knows whether a stream was closed."""

    def __init__(self) -> None:
        self.sent_bytes = 0
        self.closed = threading.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await EventStream(self._frames())(scope, receive, send)

    async def _frames(self) -> Any:
        try:
            while True:
                await asyncio.sleep(0)
                self.sent_bytes += len(FRAME)
                yield FRAME
        finally:
            self.closed.set()


@pytest.fixture
def served() -> Iterator[tuple[Endless, int]]:
    application = Endless()
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, http=HttpProtocol, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    yield application, listener.getsockname()[1]
    server.should_exit = server.force_exit = True
    thread.join(20)
    listener.close()


def test_a_client_that_does_not_read_is_noticed_early(
    served: tuple[Endless, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    application, port = served
    monkeypatch.setattr(sse, "SEND_TIMEOUT_SECONDS", 1.0)
    monkeypatch.setattr(sse, "PING_SECONDS", 1.0)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert application.closed.wait(20)
    assert application.sent_bytes < MAX_BUFFERED_BYTES


def test_a_client_that_leaves_without_reading_is_noticed_at_once(served: tuple[Endless, int]) -> None:
    application, port = served
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: application.sent_bytes)
    assert application.closed.wait(5)
