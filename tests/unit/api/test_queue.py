"""The queue as its owners see it, and the throughput of the last hour."""

from __future__ import annotations

import httpx
import pytest

from core.catalog import Catalog, DocumentState, NewDocument, Source
from core.keys import KeyRights, Scope, key_digest
from core.messages import TokenizeRequest
from tasks.jobs.kinds import TOKENIZE
from tasks.jobs.queues import Role
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import MODEL
from tests.unit.api.test_keys import bearer

pytestmark = pytest.mark.asyncio


async def test_jobs_are_shown_to_their_owners_with_positions_among_all(
    http: httpx.AsyncClient, stream: FakeJobStream, catalog: Catalog
) -> None:
    catalog.create_key(key_digest("bob"), KeyRights(owner="bob"))
    catalog.create_key(key_digest("root"), KeyRights(owner="root", scopes=(Scope.ADMIN,)))
    for job_id, owner in (("job-a", "alice"), ("job-b", "bob")):
        await stream.submit(job_id, TOKENIZE, TokenizeRequest(text="a"), owner=owner, model="a-model")
    stream.live[Role.SUPERVISOR] = {"s@host": {"models": [{"slug": "a-model", "name": "A model"}]}}
    seen = (await http.get("/v1/queue", headers=bearer("bob"))).json()
    assert seen["data"] == [
        {
            "id": "job-b",
            "object": "queue.entry",
            "kind": "tokenize",
            "model": "A model",
            "owner": "bob",
            "status": "queued",
            "position": 1,
            "age_seconds": 1.0,
            "running_seconds": None,
            "estimated_start_seconds": 0.5,
            "tokens": 0,
            "tokens_per_second": None,
            "durable": False,
        }
    ]
    assert {worker["name"] for worker in seen["workers"]} == {worker["host"] for worker in seen["workers"]} == {None}
    everything = (await http.get("/v1/queue", headers=bearer("root"))).json()
    assert [one["id"] for one in everything["data"]] == ["job-a", "job-b"]


async def test_workers_say_what_they_do(http: httpx.AsyncClient, stream: FakeJobStream, catalog: Catalog) -> None:
    document = catalog.add_document(NewDocument("notes", "a", Source.UPLOAD, "a", 1))
    stream.live[Role.INGEST] = {"ingest@box:7": {"started_at": 5.5}, "ingest@other": {}}
    states = {"expected": DocumentState.QUEUED, "claimed": DocumentState.PARSING}
    assert catalog.claim(document.id, "ingest@box:7:123", **states)
    stream.live[Role.INFERENCE]["inference@host"]["engine"] = {"slots": 4, "running": 2, "state": "x"}
    found = {worker["name"]: worker for worker in (await http.get("/v1/queue")).json()["workers"]}
    parsing = found["ingest@box:7"]
    assert (parsing["doing"], parsing["busy"], parsing["host"], parsing["since"]) == ("parsing", 1, "box", 5)
    assert (found["ingest@other"]["doing"], found["ingest@other"]["busy"]) == ("idle", 0)
    engine = found["inference@host"]
    assert (engine["model"], engine["doing"], engine["busy"]) == (MODEL, "generating", 2)
    assert engine["figures"] == {"slots": 4, "running": 2}


async def test_the_last_hour_has_sixty_minutes(http: httpx.AsyncClient) -> None:
    minutes = (await http.get("/v1/throughput")).json()["minutes"]
    assert len(minutes) == 60 and minutes[-1]["at"] - minutes[0]["at"] == 59 * 60
    assert minutes[0] == {
        "at": 60,
        "documents_completed": 0,
        "documents_failed": 0,
        "chunks": 0,
        "jobs": 1,
        "searches": 0,
        "completion_tokens": 0,
    }
