"""Clients that do not read or send, over real connections: they are noticed soon, and bounded in number."""

from __future__ import annotations

import asyncio
import http.client
import json
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import uvicorn

from api import http_protocol, sse
from api.http_protocol import HttpProtocol
from api.sse import EventStream
from tests.support import ROOT, wait_until

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
    assert application.closed.wait(60)


def test_connections_are_bounded(served: tuple[Endless, int], monkeypatch: pytest.MonkeyPatch) -> None:
    _, port = served
    monkeypatch.setattr(http_protocol, "max_connections", lambda: 3)
    idle = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(3)]

    def answer() -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as client:
            client.request("GET", "/")
            response = client.getresponse()
            return response.status, dict(response.getheaders()), response.read(200)

    status, headers, body = answer()
    assert (status, headers["connection"]) == (503, "close")
    assert int(headers["retry-after"]) >= 1
    assert json.loads(body)["error"]["code"] == "too_many_connections"
    for one in idle:
        one.close()
    wait_until(lambda: answer()[0] == 200)


def test_a_connection_that_sends_nothing_is_closed(
    served: tuple[Endless, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "FIRST_BYTE_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", served[1]), 20) as client:
        assert client.recv(1) == b""


def test_as_many_files_may_be_open_as_connections_need() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = "import resource as r; print(max_connections(), *r.getrlimit(r.RLIMIT_NOFILE))"
    code = f"from api.http_protocol import max_connections; {limits}"
    shell = f"ulimit -S -n 256; exec {sys.executable} -c '{code}'"
    connections, soft, hard = map(int, subprocess.check_output(["sh", "-c", shell], cwd=ROOT).split())
    assert hard == before[1] and soft > 256 and 0 < connections < soft
