"""The header that says how many messages were dropped from a conversation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from core import events
from core.messages import Usage
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import HIT, MODEL, play_chat

HEADER = "x-truncated-messages"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "And then?"}]},
    "/v1/rag/chat": {"query": "And then?"},
}

pytestmark = pytest.mark.asyncio


def play_shortened(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Queued(**at, position=0)
    if kind == "rag_chat":
        yield events.Retrieved(**at, hits=[HIT])
    yield events.Accepted(**at, model=MODEL, prompt_tokens=12, dropped_messages=4)
    yield events.TextDelta(**at, text="Then.")
    yield events.ChoiceFinished(**at, finish_reason="stop")
    yield events.Finished(**at, model=MODEL, usage=Usage(12, 1))


@pytest.mark.parametrize("path", sorted(BODIES))
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_header_says_how_many_messages_were_dropped(
    http: httpx.AsyncClient, stream: FakeJobStream, path: str, streamed: bool
) -> None:
    body = BODIES[path] | {"stream": streamed}
    stream.scripts |= {"chat": play_shortened, "rag_chat": play_shortened}
    shortened = await http.post(path, json=body)
    stream.scripts |= {"chat": play_chat, "rag_chat": play_chat}
    whole = await http.post(path, json=body)
    assert (shortened.status_code, shortened.headers[HEADER]) == (200, "4"), shortened.text
    assert whole.status_code == 200 and HEADER not in whole.headers
