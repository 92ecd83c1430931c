"""What a page sees of a running stack: documents and jobs as they change, the queue while it works, and its hour."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check]

TEXT = "The lighthouse at Skagen is 46 metres high and was built in 1858."
Event = tuple[str, dict[str, Any]]


class Listener:
    """Follows `/v1/events` in a thread, and keeps what came."""

    def __init__(self, url: str, last_event_id: str = "") -> None:
        self.events: list[Event] = []
        self.last_id = ""
        self.is_open = threading.Event()
        self._client = httpx.Client(base_url=url, timeout=httpx.Timeout(60, read=120))
        self._headers = {"last-event-id": last_event_id} if last_event_id else {}
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        assert self.is_open.wait(60)
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.close()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            with self._client.stream("GET", "/v1/events", headers=self._headers) as response:
                assert response.status_code == 200
                self._read(response.iter_lines())
        except (httpx.HTTPError, httpx.StreamError):
            return

    def _read(self, lines: Iterator[str]) -> None:
        name = ""
        for line in lines:
            field, _, value = line.partition(": ")
            if field == "id":
                self.last_id = value
                self.is_open.set()
            elif field == "event":
                name = value
            elif field == "data":
                self.events.append((name, json.loads(value)))

    def wait_for(self, what: str, is_it: Callable[[str, dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the data of the first event that is wanted."""
        wait_until(lambda: any(is_it(*event) for event in list(self.events)), 60, what)
        return next(data for name, data in self.events if is_it(name, data))


def test_a_page_follows_documents_jobs_and_the_queue(stack: Stack, http: httpx.Client) -> None:
    with Listener(stack.base_url) as page:
        files = {"files": ("skagen.txt", TEXT.encode())}
        added = http.post("/v1/rag/documents/upload", files=files, data={"collection": "live"}).json()["data"][0]
        page.wait_for("the completed document", lambda _, data: is_completed(data, added["id"]))
        # How many of its stages are seen before depends on how fast it is: changes of a moment are one event.
        statuses = [data["status"] for name, data in page.events if name == "document" and data["id"] == added["id"]]
        assert statuses[-1] == "completed"
        page.wait_for(
            "the counts of the collection", lambda name, data: name == "collection" and counts(data) == (1, 1)
        )

        body = {"messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 60}
        job = http.post("/v1/chat/completions", json=body, headers={"prefer": "respond-async"}).json()
        seen: list[dict[str, Any]] = []

        def is_running() -> bool:
            report = http.get("/v1/queue").json()
            seen[:] = [entry for entry in report["data"] if entry["id"] == job["id"] and entry["tokens"]]
            return bool(seen) or http.get(f"/v1/jobs/{job['id']}").json()["status"] == "completed"

        wait_until(is_running, 60, "the job in the queue")
        assert seen, "it was seen while it ran"
        assert (seen[0]["status"], seen[0]["kind"], seen[0]["durable"]) == ("running", "chat", True)
        done = page.wait_for("the end of the job", lambda name, data: name == "job" and data["status"] == "completed")
        assert done["id"] == job["id"] and done["result"] is None
        page.wait_for("a hint of the queue", lambda name, _: name == "queue")
        last_id = page.last_id

    http.delete(f"/v1/rag/documents/{added['id']}").raise_for_status()
    with Listener(stack.base_url, last_id) as page:
        gone = page.wait_for("what happened meanwhile", lambda name, _: name in ("document.deleted", "reset"))
        assert gone.get("id") == added["id"]


def test_the_last_hour_and_the_workers_are_counted(http: httpx.Client) -> None:
    http.post("/v1/rag/documents", json={"texts": [TEXT], "collection": "counted"}).raise_for_status()
    http.post("/v1/rag/search", json={"query": "lighthouse", "explain": True}).raise_for_status()
    http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 5})
    names = ("documents_completed", "chunks", "jobs", "searches", "completion_tokens")

    def is_counted() -> bool:
        minutes = http.get("/v1/throughput").json()["minutes"]
        return all(sum(minute[name] for minute in minutes) for name in names)

    wait_until(is_counted, 60, "the counts")
    workers = http.get("/v1/queue").json()["workers"]
    assert {"inference", "index", "ingest", "api", "supervisor"} <= {worker["role"] for worker in workers}
    assert all(worker["figures"]["slots"] >= 1 for worker in workers if worker["role"] == "inference")


def is_completed(data: dict[str, Any], document_id: str) -> bool:
    return data.get("id") == document_id and data.get("status") == "completed"


def counts(data: dict[str, Any]) -> tuple[int, int]:
    return data["coverage"]["documents"], data["coverage"]["indexed"]
