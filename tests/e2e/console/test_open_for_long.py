"""A page that is left open: thousands of events cost no memory that grows."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, Route

from tests.e2e.console.browsing import DEADLINE_MS, NEEDS_CHROMIUM, Person
from tests.e2e.console.server import upload
from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(900), NEEDS_CHROMIUM]

EVENTS = 20_000
EVENTS_OF_A_STREAM = 1_000
#: What a page may hold after these events beyond what it held after the first quarter of them.
MAX_GROWTH_BYTES = 3_000_000
MAX_NEW_NODES = 2_000


@pytest.mark.parametrize("name", ["documents", "queue", "models", "chat"])
def test_events_cost_no_memory_that_grows(person: Person, stack: Stack, name: str) -> None:
    document = upload(stack, "open-for-long", {"tide.txt": b"The tide turns at six."})["tide.txt"]
    streams = Streams(document)
    person.context.route("**/v1/events*", streams.answer)
    page = person.open(name)
    session = person.context.new_cdp_session(page)
    wait_for_events(page, streams, EVENTS // 4)
    before = held(session)
    wait_for_events(page, streams, EVENTS)
    after = held(session)
    assert after[0] - before[0] < MAX_GROWTH_BYTES, f"the heap grew from {before[0]} to {after[0]} bytes"
    assert after[1] - before[1] < MAX_NEW_NODES, f"the page grew from {before[1]} to {after[1]} nodes"


def wait_for_events(page: Page, streams: Streams, number: int) -> None:
    """Return when the page has had this number of events."""
    deadline = time.monotonic() + DEADLINE_MS / 1000
    while streams.sent < number:
        assert time.monotonic() < deadline, f"{streams.sent} of {number} events were asked for"
        page.wait_for_timeout(50)


def held(session: CDPSession) -> tuple[int, int]:
    """Return the bytes of the page's heap, and its number of nodes, without what can be collected."""
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    return int(session.send("Runtime.getHeapUsage")["usedSize"]), int(session.send("Memory.getDOMCounters")["nodes"])


class Streams:
    """Answers a page's streams of events: each has a thousand events and ends, and the page opens the next one."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.sent = 0
        self._document = document

    def answer(self, route: Route) -> None:
        events = (self._event(self.sent + number) for number in range(EVENTS_OF_A_STREAM))
        route.fulfill(status=200, headers={"content-type": "text/event-stream"}, body="retry: 1\n\n" + "".join(events))
        self.sent += EVENTS_OF_A_STREAM

    def _event(self, number: int) -> str:
        name, data = self._change(number)
        return f"id: {number}\nevent: {name}\ndata: {json.dumps(data)}\n\n"

    def _change(self, number: int) -> tuple[str, dict[str, Any]]:
        """Return a change as a busy server has them: a job that came or ended, or the progress of a document."""
        progress = self._document["progress"] | {"percent": number % 100}
        match number % 4:
            case 0:
                return "document", self._document | {"status": "indexing", "progress": progress}
            case 1 | 2:
                status = "queued" if number % 4 == 1 else "completed"
                job = {"object": "job", "id": f"job-{number // 4}", "kind": "chat", "model": "SmolLM2-135M-Instruct"}
                times = {"created_at": int(time.time()), "started_at": None, "completed_at": None, "error": None}
                return "job", job | times | {"status": status, "position": 0, "estimated_start_seconds": 4.0}
            case _:
                gone = {"id": f"doc-{number}", "collection": self._document["collection"]}
                return "document.deleted", gone
