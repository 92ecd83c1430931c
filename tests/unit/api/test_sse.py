"""A stream that has no frames for a while, and one whose client does not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from api import sse
from api.sse import EventStream

pytestmark = pytest.mark.asyncio

DEADLINE_SECONDS = 5
SCOPE = {"type": "http", "path": "/v1/chat/completions"}


async def never() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def test_a_stream_without_frames_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "PING_SECONDS", 0.05)
    sent: list[bytes] = []
    pinged = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"first"
        await pinged.wait()
        yield b"last"

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b"head"))
        if sent.count(b": ping\n\n") == 2:
            pinged.set()

    async with asyncio.timeout(DEADLINE_SECONDS):
        await EventStream(frames())(SCOPE, never, send)
    assert sent[:2] == [b"head", b"first"] and sent[-2:] == [b"last", b""]
    assert set(sent[2:-2]) == {b": ping\n\n"}


@pytest.mark.parametrize("stuck_at", [b"second", b": ping\n\n"])
async def test_the_stream_of_a_client_that_does_not_read_is_closed(
    monkeypatch: pytest.MonkeyPatch, stuck_at: bytes
) -> None:
    monkeypatch.setattr(sse, "SEND_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(sse, "PING_SECONDS", 0.05)
    sent: list[bytes] = []
    closed = asyncio.Event()

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            yield b"first"
            if stuck_at != b"second":
                await asyncio.Event().wait()
            yield b"second"
            yield b"third"
        finally:
            closed.set()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b"head"))
        if sent[-1] == stuck_at:
            await asyncio.Event().wait()

    async with asyncio.timeout(DEADLINE_SECONDS):
        await EventStream(frames())(SCOPE, never, send)
    assert sent == [b"head", b"first", stuck_at] and closed.is_set()
