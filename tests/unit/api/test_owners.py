"""Two owners: over every route of the OpenAPI document, nothing that one made alone is seen or changed by the other.

`PROBES` says for each operation how the other one tries. An operation without probes fails the test: whoever adds a
route says here what the other may get.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
import pytest
import pytest_asyncio
import sqlalchemy as sa

from api.app import create_app
from api.dependencies import Services
from core.catalog import Catalog, FolderState, JobState, WatchedFolder
from core.catalog.tables import collections, documents, jobs, keys, usage
from core.keys import DEFAULT_OWNER, KeyRights, key_digest
from core.usage import DailyUsage
from tests.fakes.job_stream import FakeHints, FakeJobStream
from tests.unit.api.conftest import MODEL, client_of

DOCUMENTS, COLLECTIONS = "/v1/rag/documents", "/v1/rag/collections"
TEXT = "The lighthouse keeper of alice."
#: What alice posts, and bob after her.
TEXTS = {"texts": [TEXT], "collection": "{collection}", "metadata": [{"filename": "alices.txt"}]}
#: The name of one of alice's documents, and of a file that bob uploads.
UPLOADED = "log.txt"
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}


@dataclass(frozen=True)
class Probe:
    """A request by bob for what alice made, and what he may get: if collections are shared, and if his key is limited.

    `{document}`, `{job}`, `{collection}`, `{key}` and `{folder}` in it stand for what alice made.
    """

    shared: Sequence[int] = (200,)
    limited: Sequence[int] = (200,)
    #: After the operation's path; or instead of it, where it has parameters.
    query: str = ""
    path: str = ""
    json: Any = None
    file: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


def same(*statuses: int, **request: Any) -> Probe:
    """Return a probe with the same answers, whether or not bob's key is limited."""
    return Probe(statuses, statuses, **request)


def own_job(**body: Any) -> list[Probe]:
    """Return probes that make a job of bob's, which waits for its answer and which does not."""
    return [same(200, json=body), same(202, json=body, headers={"prefer": "respond-async"})]


def of_document(suffix: str, shared: int, **request: Any) -> Probe:
    """Return a probe for alice's document, which bob sees only if collections are shared."""
    return Probe((shared,), (404,), path=f"{DOCUMENTS}/{{document}}{suffix}", **request)


def of_collection(suffix: str, shared: int, **request: Any) -> Probe:
    return Probe((shared,), (404,), path=f"{COLLECTIONS}/{{collection}}{suffix}", **request)


def of_job(suffix: str = "") -> list[Probe]:
    return [same(404, path=f"/v1/jobs/{{{name}}}{suffix}") for name in ("job", "done_job")]


WITH_COLLECTION = {"model": f"{MODEL}@{{collection}}"}
PROBES: dict[str, list[Probe]] = {
    "GET /health": [same(200)],
    "GET /ready": [same(200)],
    "GET /metrics": [same(403)],
    "GET /v1/models": [same(200)],
    "GET /v1/models/recommended": [same(200)],
    "GET /v1/models/{model_id}": [Probe((200,), (404,), path=f"/v1/models/{MODEL}@{{collection}}")],
    **{
        f"POST /v1/models/{{model}}/{action}": [Probe((403,), (403,), path=f"/v1/models/{MODEL}/{action}")]
        for action in ("load", "unload", "default")
    },
    "POST /v1/chat/completions": [
        *own_job(**CHAT),
        *own_job(**CHAT, server_tools=["search_documents"]),
        *own_job(**CHAT, rag={"collection": "{collection}"}),
        Probe((200,), (400,), json=CHAT | WITH_COLLECTION),
    ],
    "POST /v1/completions": [*own_job(prompt="a"), same(400, json={"prompt": "a"} | WITH_COLLECTION)],
    "POST /v1/tokenize": own_job(prompt="a"),
    "POST /v1/detokenize": own_job(tokens=[1]),
    "POST /v1/embeddings": own_job(input="a"),
    "POST /v1/models/pull": [same(403, json={"model": "org/repo"})],
    "POST /v1/rerank": own_job(query="a", documents=["a"]),
    "GET /v1/functions": [same(200)],
    "POST /v1/rag/search": [*own_job(query="a"), *own_job(query="a", collections=["{collection}"])],
    "POST /v1/rag/evaluations": [same(202, json={"questions": [{"question": "a", "files": ["alices.txt"]}]})],
    "POST /v1/rag/chat": [
        *own_job(query="a"),
        *own_job(query="a", collection="{collection}"),
        Probe((200,), (400,), json={"query": "a"} | WITH_COLLECTION),
    ],
    f"POST {DOCUMENTS}": [
        Probe((202,), (403,), json=TEXTS),
        Probe((202,), (403,), json=TEXTS | {"texts": ["Another text."]}),
        Probe((202,), (403,), json=TEXTS, headers={"idempotency-key": "one"}),
        Probe((202,), (403,), json=TEXTS | {"collection": "another"}),
    ],
    f"POST {DOCUMENTS}/upload": [
        Probe((202,), (403,), file=b"Other words.", json={"collection": "{collection}", "replace": "true"}),
        Probe((202,), (403,), file=TEXT.encode(), json={"collection": "{collection}"}),
    ],
    f"GET {DOCUMENTS}": [
        same(200),
        same(200, query="?status=failed&limit=100"),
        same(200, query="?collection={collection}"),
        Probe((200,), (400,), query="?after={document}"),
    ],
    f"GET {DOCUMENTS}/{{document_id}}": [of_document("", 200)],
    f"GET {DOCUMENTS}/{{document_id}}/events": [of_document("/events", 200)],
    f"POST {DOCUMENTS}/{{document_id}}/retry": [
        Probe((403,), (404,), path=f"{DOCUMENTS}/{{{name}}}/retry") for name in ("failed_document", "document")
    ],
    f"GET {DOCUMENTS}/{{document_id}}/chunks": [of_document("/chunks", 404)],
    f"GET {DOCUMENTS}/{{document_id}}/original": [of_document("/original", 200)],
    f"POST {DOCUMENTS}/{{document_id}}/reindex": [of_document("/reindex", 403)],
    f"POST {DOCUMENTS}/reindex": [same(200, json={}), Probe((200,), (404,), json={"collection": "{collection}"})],
    f"POST {DOCUMENTS}/{{document_id}}/cancel": [
        Probe((403,), (404,), path=f"{DOCUMENTS}/{{{name}}}/cancel") for name in ("waiting_document", "document")
    ],
    f"DELETE {DOCUMENTS}/{{document_id}}": [of_document("", 403)],
    f"POST {DOCUMENTS}/retry": [same(200, json={}), Probe((200,), (404,), json={"collection": "{collection}"})],
    f"POST {DOCUMENTS}/cancel": [same(200, json={}), Probe((200,), (404,), json={"collection": "{collection}"})],
    f"POST {COLLECTIONS}": [Probe((400,), (403,), json={"name": "{collection}"})],
    f"GET {COLLECTIONS}": [same(200)],
    f"GET {COLLECTIONS}/{{collection}}": [
        of_collection("", 200),
        Probe((200,), (404,), path=f"{COLLECTIONS}/{{collection_id}}"),
    ],
    f"GET {COLLECTIONS}/{{collection}}/coverage": [of_collection("/coverage", 200)],
    f"GET {COLLECTIONS}/{{collection}}/skipped": [of_collection("/skipped", 200)],
    f"PATCH {COLLECTIONS}/{{collection}}": [
        of_collection("", 403, json={"name": "bobs"}),
        of_collection("", 403, json={"chunk_tokens": 100}),
    ],
    f"DELETE {COLLECTIONS}/{{collection}}": [
        of_collection("", 403),
        Probe((403,), (404,), path=f"{COLLECTIONS}/{{collection_id}}"),
    ],
    "GET /v1/watch": [same(200)],
    "POST /v1/watch/confirm": [same(403, json={}), same(403, json={"path": "{folder}"})],
    "GET /v1/jobs": [same(200), same(200, query="?status=completed"), same(400, query="?after={job}")],
    "GET /v1/jobs/{job_id}": of_job(),
    "DELETE /v1/jobs/{job_id}": of_job(),
    "GET /v1/jobs/{job_id}/events": of_job("/events"),
    "GET /v1/keys": [same(403)],
    "POST /v1/keys": [same(403, json={"owner": "alice"})],
    "GET /v1/keys/{key_id}": [same(403, path="/v1/keys/{key}")],
    "DELETE /v1/keys/{key_id}": [same(403, path="/v1/keys/{key}")],
    "GET /v1/events": [same(503)],
    "GET /v1/queue": [same(200)],
    "GET /v1/throughput": [same(200)],
    "POST /v1/markdown": [same(200, json={"text": "a"})],
    "POST /v1/session": [same(401, json={"key": "alices"}), same(204, json={"key": "bob"})],
    "GET /v1/session": [same(200)],
    "DELETE /v1/session": [same(204, headers={"origin": "http://localhost"})],
    "GET /v1/usage": [same(200), same(200, query="?owner=alice"), same(200, query="?key={key}")],
}


def operations(app: Any) -> set[str]:
    """Return all operations of the OpenAPI document: `GET /v1/models`."""
    return {f"{method.upper()} {path}" for path, found in app.openapi()["paths"].items() for method in found}


@dataclass
class World:
    """What alice made, by the names in probes, and two clients."""

    catalog: Catalog
    stream: FakeJobStream
    made: dict[str, str]
    alice: httpx.AsyncClient
    bob: httpx.AsyncClient
    is_limited: bool

    @property
    def secrets(self) -> set[str]:
        """What bob must not get to see."""
        private = {"job", "done_job", "key"} if not self.is_limited else set(self.made)
        return {value for name, value in self.made.items() if name in private} | {"alice's answer", '"alice"'}

    @property
    def document_ids(self) -> set[str]:
        return {value for name, value in self.made.items() if name.endswith("document")}

    def alices_rows(self) -> dict[str, list[tuple[Any, ...]]]:
        found = {}
        with self.catalog._read() as connection:
            for table in (collections, documents, jobs, usage):
                query = sa.select(table).where(table.c.owner == "alice").order_by(*table.primary_key.columns)
                found[table.name] = [tuple(row) for row in connection.execute(query)]
            # The time of the last use is not alice's own.
            found["keys"] = [tuple(row) for row in connection.execute(sa.select(keys.c.id, keys.c.revoked_at))]
        return found

    async def send(self, client: httpx.AsyncClient, operation: str, probe: Probe) -> tuple[str, httpx.Response]:
        """Send a probe. Return what was sent, as text, too."""
        method, path = operation.split(" ")
        target = self._filled((probe.path or path) + probe.query)
        assert "{" not in target, f"{operation}: its probe does not say what {path} stands for"
        body = json.loads(self._filled(json.dumps(probe.json)))
        content: dict[str, Any] = {} if body is None else {"json": body}
        if probe.file is not None:
            content = {"files": {"files": (UPLOADED, probe.file)}, "data": body}
        answer = await client.request(
            method, target, headers=probe.headers | {"prefer": "wait=0"} | probe.headers, **content
        )
        return f"{target} {body}", answer

    def _filled(self, text: str) -> str:
        for name, value in self.made.items():
            text = text.replace(f"{{{name}}}", value)
        return text


@pytest.fixture
def made(catalog: Catalog, services: Services, hints: FakeHints) -> Iterator[dict[str, str]]:
    """Let alice make one of everything without a route, and yield what she made."""
    folder = WatchedFolder("/srv/alices", "alices", "mirror", FolderState.HELD, "1:2", 10, 6, False, 0.0)
    catalog.save_watched_folder(folder)
    job, done_job = "job-alices-waiting", "job-alices-done"
    for job_id in (job, done_job):
        catalog.create_job(job_id, "chat", "/v1/chat/completions", "{}", owner="alice", collections=None)
    result = {"model": MODEL, "choices": [{"text": "alice's answer", "finish_reason": "stop"}]}
    catalog.finish_job(done_job, JobState.COMPLETED, result=json.dumps(result))
    catalog.add_usage([DailyUsage("2026-11-30", "alice", "key-of-alice", 3, 4, 5)])
    yield {"job": job, "done_job": done_job, "folder": "/srv/alices", "collection": "alices"}


@pytest_asyncio.fixture(params=["shared", "limited"])
async def world(
    request: Any, services: Services, catalog: Catalog, stream: FakeJobStream, hints: FakeHints, made: dict[str, str]
) -> AsyncIterator[World]:
    is_limited = request.param == "limited"
    for owner in ("alice", "bob"):
        limit = (f"{owner}s",) if is_limited else None
        key = catalog.create_key(key_digest(owner), KeyRights(owner=owner, collections=limit))
        made |= {"key": key.id} if owner == "alice" else {}
    if is_limited:
        with catalog._write() as connection:
            connection.execute(sa.update(jobs).values(collections='["alices"]'))
    app = create_app(services=services)
    app.state.services = services
    clients = [_client(app, owner) for owner in ("alice", "bob")]
    async with clients[0] as alice, clients[1] as bob:
        made |= await _documents(alice, catalog, hints)
        made["collection_id"] = catalog.get_collection("alices").id
        yield World(catalog, stream, made, alice, bob, is_limited)


def _client(app: Any, owner: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {owner}"}
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers)


async def _documents(alice: httpx.AsyncClient, catalog: Catalog, hints: FakeHints) -> dict[str, str]:
    """Let alice make a document in each state that someone can change."""
    work, found = hints.on_ingest, {}
    for name, text, headers in (
        ("document", TEXT, {"idempotency-key": "one"}),
        ("waiting_document", "Another text.", {}),
        ("failed_document", "A third text.", {}),
    ):
        body = TEXTS | {"texts": [text], "collection": "alices"}
        if name == "failed_document":
            body |= {"metadata": [{"filename": UPLOADED}]}
        hints.on_ingest = work if name == "document" else lambda _: None
        answer = await alice.post(DOCUMENTS, json=body, headers={"prefer": "wait=0"} | headers)
        assert answer.is_success, answer.text
        found[name] = str(answer.json()["data"][0]["id"])
    with catalog._write() as connection:
        failed = sa.update(documents).where(documents.c.id == found["failed_document"])
        connection.execute(failed.values(state="failed", error="It is damaged.", error_code="invalid_file"))
    hints.on_ingest = lambda _: None
    return found


async def test_what_one_made_is_neither_seen_nor_changed_by_the_other(world: World) -> None:
    before, problems = world.alices_rows(), list[str]()
    for operation, probes in PROBES.items():
        for probe in probes:
            world.stream.submitted.clear()
            sent, answer = await world.send(world.bob, operation, probe)
            problems += [f"{operation} {sent}: {one}" for one in _problems(world, probe, sent, answer)]
            if world.alices_rows() != before:
                pytest.fail(f"{operation} {sent} changed what alice made")
    assert not problems, "\n".join(problems)


def _problems(world: World, probe: Probe, sent: str, answer: httpx.Response) -> Iterator[str]:
    allowed = probe.limited if world.is_limited else probe.shared
    if answer.status_code not in allowed:
        yield f"answered {answer.status_code} and not {allowed}: {answer.text[:300]}"
    # An error may repeat what bob sent himself.
    secrets = world.secrets | (world.document_ids if answer.request.method != "GET" else set())
    for secret in secrets:
        if secret in answer.text and secret not in sent:
            yield f"shows {secret}: {answer.text[:300]}"
    within = ["bobs"] if world.is_limited else None
    for job in world.stream.submitted:
        if job.owner != "bob" or getattr(job.request, "within", within) != within:
            yield f"made a job of {job.owner} with {job.request}"
    if set(world.stream.cancelled) & {world.made["job"], world.made["done_job"]}:
        yield "cancelled alice's job"


async def test_what_bob_is_not_shown_is_there_to_be_seen(world: World) -> None:
    """Send the same probes as alice: if they did not show her what she made, the test above would prove nothing."""
    shown = ""
    for operation, probes in PROBES.items():
        if operation.startswith("GET ") and "{job_id}/events" not in operation:
            for probe in probes:
                _, answer = await world.send(world.alice, operation, probe)
                shown += answer.text
    missing = {secret for secret in world.secrets if secret not in shown}
    assert not missing - {world.made["key"]}


async def test_every_route_is_judged(services: Services) -> None:
    found = operations(create_app(services=services))
    assert found - set(PROBES) == set(), "say in PROBES what others may get of these"
    assert set(PROBES) - found == set()


async def test_the_default_owner_is_the_owner_of_all_that_was_made_without_keys(
    services: Services, catalog: Catalog
) -> None:
    async with client_of(services) as http:
        made = await http.post(DOCUMENTS, json={"texts": ["A text."]}, headers={"prefer": "wait=0"})
        job = await http.post("/v1/embeddings", json={"input": "a"}, headers={"prefer": "respond-async"})
        catalog.create_key(key_digest("secret"), KeyRights(owner=DEFAULT_OWNER))
        catalog.create_key(key_digest("other"), KeyRights(owner="other"))
    async with client_of(replace(services)) as http:
        for secret, statuses in (("other", (404, 403)), ("secret", (200, 200))):
            headers = {"authorization": f"Bearer {secret}"}
            found = await http.get(f"/v1/jobs/{job.json()['id']}", headers=headers)
            deleted = await http.delete(f"{DOCUMENTS}/{made.json()['data'][0]['id']}", headers=headers)
            assert (found.status_code, deleted.status_code) == statuses


async def test_idempotency_keys_and_repeated_uploads_are_those_of_an_owner(
    services: Services, catalog: Catalog
) -> None:
    for name, owner in (("alice", "alice"), ("rotated", "alice"), ("bob", "bob")):
        catalog.create_key(key_digest(name), KeyRights(owner=owner))
    async with client_of(services) as http:
        for headers in ({}, {"idempotency-key": "one"}):
            found = {}
            for name in ("alice", "rotated", "bob"):
                sent = {"prefer": "wait=0", "authorization": f"Bearer {name}"} | headers
                answer = await http.post(DOCUMENTS, json={"texts": [f"A text. {headers}"]}, headers=sent)
                found[name] = answer.json()["data"][0]["id"]
            assert found["alice"] == found["rotated"] != found["bob"]
