"""The progress of documents: stages, timings, waiting and stalled, events, and retrying or cancelling many at once."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx
import pytest

from api.dependencies import Services
from core.catalog import Catalog, Claim, DocumentState
from core.errors import Unavailable
from tasks.jobs.queues import Role
from tests.fakes.job_stream import FakeHints, FakeJobStream
from tests.support import wait_until

pytestmark = pytest.mark.asyncio

DOCUMENTS = "/v1/rag/documents"


@pytest.fixture
def hints() -> FakeHints:
    """Return hints that complete no documents: the tests do the workers' part."""
    return FakeHints()


async def add(http: httpx.AsyncClient, text: str = "One.", collection: str = "default") -> str:
    answer = await http.post(DOCUMENTS, json={"texts": [text], "collection": collection}, headers={"prefer": "wait=0"})
    document_id: str = answer.json()["data"][0]["id"]
    return document_id


def claim(catalog: Catalog, document_id: str, expected: DocumentState, claimed: DocumentState, **options: Any) -> Claim:
    found = catalog.claim(document_id, "w", expected=expected, claimed=claimed, **options)
    assert found is not None
    return found


def parse(catalog: Catalog, document_id: str, chunk_count: int = 4) -> None:
    held = claim(catalog, document_id, DocumentState.QUEUED, DocumentState.PARSING)
    assert catalog.advance(held, DocumentState.PARSED, chunk_count=chunk_count)


async def progress(http: httpx.AsyncClient, document_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await http.get(f"{DOCUMENTS}/{document_id}")).json()["progress"]
    return found


async def test_progress_shows_stage_percent_and_timings(http: httpx.AsyncClient, catalog: Catalog) -> None:
    first, document_id = await add(http), await add(http, "Two.")
    queued = await progress(http, document_id)
    held = claim(catalog, document_id, DocumentState.QUEUED, DocumentState.PARSING)
    parsing = await progress(http, document_id)
    assert catalog.advance(held, DocumentState.PARSED, chunk_count=4)
    parsed = await progress(http, document_id)
    held = claim(catalog, document_id, DocumentState.PARSED, DocumentState.INDEXING)
    assert catalog.renew(held, progress=(2, 1))
    indexing = await progress(http, document_id)
    assert catalog.activate(held, 4, 3)
    done = await progress(http, document_id)

    stages = [(one["stage"], one["percent"], one["activity"]) for one in (queued, parsing, parsed, indexing, done)]
    assert stages == [
        ("queued", 0, "waiting"),
        ("parsing", 0, "working"),
        ("parsed", 20, "waiting"),
        ("indexing", 60, "working"),
        ("completed", 100, None),
    ]
    assert (queued["waiting_before"], parsed["waiting_before"]) == (1, 0)
    assert queued["timings"]["queued_ms"] >= 0 and queued["timings"]["parsing_ms"] is None
    parts = [done["timings"][name] for name in ("queued_ms", "parsing_ms", "index_wait_ms", "indexing_ms")]
    assert sum(parts) == pytest.approx(done["timings"]["total_ms"], abs=0.5)
    assert (done["chunks_indexed"], done["chunks_embedded"], done["searchable"], done["stale"]) == (4, 3, True, False)
    assert (await progress(http, first))["searchable"] is False


async def test_waiting_and_stalled_are_distinguished(
    http: httpx.AsyncClient, catalog: Catalog, stream: FakeJobStream
) -> None:
    document_id = await add(http)
    waiting = await progress(http, document_id)
    stream.live[Role.INGEST] = {}
    no_worker = await progress(http, document_id)
    stream.failure = Unavailable("The queue (Redis) does not answer.")
    no_queue = await progress(http, document_id)
    stream.failure = None
    claim(catalog, document_id, DocumentState.QUEUED, DocumentState.PARSING, lease_seconds=-1)
    silent = await progress(http, document_id)

    assert waiting["activity"] == "waiting"
    assert [one["activity"] for one in (no_worker, no_queue, silent)] == ["stalled"] * 3
    assert "ingest worker" in no_worker["activity_reason"] and "Redis" in no_queue["activity_reason"]
    assert "stopped responding" in silent["activity_reason"]


def frames(body: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Return id, event and data of each event of a stream."""
    found = []
    for block in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def test_events_follow_a_document_to_its_end(http: httpx.AsyncClient, services: Services) -> None:
    catalog = services.catalog
    document_id = await add(http)
    reading = threading.Event()
    ask = catalog.documents_by_id

    def asked(ids: Any) -> Any:
        reading.set()
        return ask(ids)

    catalog.documents_by_id = asked  # type: ignore[method-assign]

    def work() -> None:
        assert reading.wait(60)
        parse(catalog, document_id)
        assert catalog.activate(claim(catalog, document_id, DocumentState.PARSED, DocumentState.INDEXING), 4)

    worker = threading.Thread(target=work)
    worker.start()
    answer = await http.get(f"{DOCUMENTS}/{document_id}/events")
    worker.join()

    assert answer.headers["content-type"].startswith("text/event-stream")
    events = frames(answer.text)
    assert events[-1][1] == "completed" and events[-1][2]["progress"]["percent"] == 100
    assert len({number for number, _, _ in events}) == len(events)
    wait_until(lambda: catalog.get_document(document_id).state is DocumentState.COMPLETED)
    # A client that resumes does not get an event again.
    seen_all = await http.get(f"{DOCUMENTS}/{document_id}/events", headers={"last-event-id": events[-1][0]})
    seen_less = await http.get(f"{DOCUMENTS}/{document_id}/events", headers={"last-event-id": "anything"})
    assert seen_all.status_code == 204
    assert [name for _, name, _ in frames(seen_less.text)] == ["completed"]
    assert (await http.get(f"{DOCUMENTS}/doc-none/events")).status_code == 404


async def test_a_cancelled_document_is_fenced_off_and_can_be_retried(
    http: httpx.AsyncClient, catalog: Catalog, hints: FakeHints
) -> None:
    document_id = await add(http)
    held = claim(catalog, document_id, DocumentState.QUEUED, DocumentState.PARSING)
    cancelled = (await http.post(f"{DOCUMENTS}/{document_id}/cancel")).json()
    again = (await http.post(f"{DOCUMENTS}/{document_id}/cancel")).json()

    assert cancelled["status"] == again["status"] == "cancelled" and cancelled["error_code"] == "cancelled"
    assert not catalog.advance(held, DocumentState.PARSED, chunk_count=4)
    assert not catalog.renew(held)
    assert [one["id"] for one in (await http.get(DOCUMENTS, params={"status": "cancelled"})).json()["data"]] == [
        document_id
    ]
    hints.ingested.clear()
    retried = (await http.post(f"{DOCUMENTS}/{document_id}/retry")).json()
    assert (retried["status"], retried["error"], hints.ingested) == ("queued", None, [document_id])
    parse(catalog, document_id)
    assert catalog.activate(claim(catalog, document_id, DocumentState.PARSED, DocumentState.INDEXING), 4)
    refused = await http.post(f"{DOCUMENTS}/{document_id}/cancel")
    assert refused.status_code == 400 and "completed" in refused.json()["error"]["message"]


async def test_all_failed_are_retried_and_all_unfinished_cancelled(
    http: httpx.AsyncClient, catalog: Catalog, hints: FakeHints
) -> None:
    ids = {name: await add(http, f"{name} text.", name[0]) for name in ("a1", "a2", "b1")}
    for document_id in ids.values():
        held = claim(catalog, document_id, DocumentState.QUEUED, DocumentState.PARSING)
        assert catalog.fail(held, "The disk was full.", "server_error")
    waiting = await add(http, "Waiting.", "a")
    hints.ingested.clear()
    of_a = (await http.post(f"{DOCUMENTS}/retry", json={"collection": "a"})).json()

    assert of_a == {"object": "documents.retried", "count": 2}
    assert {ids["a1"], ids["a2"]} <= set(hints.ingested)
    assert (await http.post(f"{DOCUMENTS}/retry", json={"collection": "none"})).status_code == 404
    assert (await http.post(f"{DOCUMENTS}/retry", json={})).json()["count"] == 1
    assert (await http.post(f"{DOCUMENTS}/cancel", json={})).json()["count"] == 4
    assert catalog.get_document(waiting).state is DocumentState.CANCELLED
    assert catalog.coverage("b")[0].skipped == {"It was cancelled. Retry it to have it indexed.": 1}


async def test_an_upload_says_which_documents_existed_already(http: httpx.AsyncClient) -> None:
    files = [("files", ("a.txt", b"one")), ("files", ("b.txt", b"one")), ("files", ("c.txt", b"two"))]
    first = (await http.post(f"{DOCUMENTS}/upload", files=files)).json()["data"]
    again = (await http.post(f"{DOCUMENTS}/upload", files=files[1:])).json()["data"]

    assert [one["duplicate"] for one in first] == [False, False, False], "the same content under two names is two"
    assert [(one["id"], one["duplicate"]) for one in again] == [(one["id"], True) for one in first[1:]]
