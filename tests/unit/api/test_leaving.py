"""The job of a client that disconnects is cancelled, whether the client streams or waits."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from asgi_lifespan import LifespanManager

from api.app import create_app
from api.dependencies import Services
from core import events
from tests.fakes.job_stream import FakeJobStream

pytestmark = pytest.mark.asyncio

DEADLINE_SECONDS = 5


class RawClient:
    """A client that speaks ASGI directly, so that it can disconnect in the middle of an answer."""

    def __init__(self, path: str, body: dict[str, Any]) -> None:
        self._body: bytes | None = json.dumps(body).encode()
        self._gone = asyncio.Event()
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }

    async def receive(self) -> dict[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.sent.put(message)

    def leave(self) -> None:
        self._gone.set()


def holding(reached: asyncio.Event) -> Any:
    """Return the script of a job that is accepted, emits one word, and then runs for ever."""

    def script(job_id: str, _: Any, __: str) -> Any:
        at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
        yield events.Accepted(**at, model="m")
        yield events.TextDelta(**at, text="Hel")
        reached.set()
        yield asyncio.Event()

    return script


@pytest.mark.parametrize("body", [{"stream": True}, {"stream": False}])
async def test_leaving_cancels_the_job(services: Services, stream: FakeJobStream, body: dict[str, Any]) -> None:
    reached = asyncio.Event()
    stream.scripts["chat"] = holding(reached)
    client = RawClient("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}]} | body)
    app = create_app(services=services)
    async with LifespanManager(app):
        request = asyncio.create_task(app(client.scope, client.receive, client.send))  # type: ignore[arg-type]
        await asyncio.wait_for(reached.wait(), DEADLINE_SECONDS)
        assert stream.cancelled == []

        client.leave()
        await asyncio.wait_for(request, DEADLINE_SECONDS)

    assert stream.cancelled == [stream.submitted[0].job_id]


async def test_headers_are_sent_after_the_acceptance(services: Services, stream: FakeJobStream) -> None:
    waiting, accept = asyncio.Event(), asyncio.Event()

    def script(job_id: str, _: Any, __: str) -> Any:
        yield events.Queued(job_id=job_id, attempt=1, position=3)
        waiting.set()
        yield accept
        yield events.Accepted(job_id=job_id, attempt=1, model="m")
        yield events.Finished(job_id=job_id, attempt=1, model="m")

    stream.scripts["chat"] = script
    client = RawClient("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "stream": True})
    app = create_app(services=services)
    async with LifespanManager(app):
        request = asyncio.create_task(app(client.scope, client.receive, client.send))  # type: ignore[arg-type]
        await asyncio.wait_for(waiting.wait(), DEADLINE_SECONDS)
        assert client.sent.empty()

        accept.set()
        started = await asyncio.wait_for(client.sent.get(), DEADLINE_SECONDS)
        await asyncio.wait_for(request, DEADLINE_SECONDS)

    assert started["status"] == 200
    assert stream.cancelled == []


async def test_the_stream_of_a_client_that_does_not_read_is_closed(
    services: Services, stream: FakeJobStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.sse.SEND_TIMEOUT_SECONDS", 0.05)
    reached = asyncio.Event()
    stream.scripts["chat"] = holding(reached)
    client = RawClient("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hello"}], "stream": True})

    async def stuck(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    app = create_app(services=services)
    async with LifespanManager(app):
        await asyncio.wait_for(app(client.scope, client.receive, stuck), DEADLINE_SECONDS)  # type: ignore[arg-type]

    assert stream.cancelled == [stream.submitted[0].job_id]


@pytest.mark.parametrize("streamed", [True, False])
async def test_a_stopping_server_says_so(services: Services, stream: FakeJobStream, streamed: bool) -> None:
    reached = asyncio.Event()
    stream.scripts["chat"] = holding(reached)
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": streamed}
    client = RawClient("/v1/chat/completions", body)
    app = create_app(services=services)
    async with LifespanManager(app):
        request = asyncio.create_task(app(client.scope, client.receive, client.send))  # type: ignore[arg-type]
        await asyncio.wait_for(reached.wait(), DEADLINE_SECONDS)
        request.cancel()  # as uvicorn does when its graceful shutdown times out
        await asyncio.wait_for(request, DEADLINE_SECONDS)

    messages = [client.sent.get_nowait() for _ in range(client.sent.qsize())]
    assert messages[0]["status"] == (200 if streamed else 503)
    assert b"server_stopping" in messages[-1]["body"] and not messages[-1].get("more_body")
    assert stream.cancelled == [stream.submitted[0].job_id]
