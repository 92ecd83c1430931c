"""Documents over HTTP: texts, uploads, lists and deletion."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.dependencies import Services
from core.blobs import Blob, StagedBlob
from core.catalog import Catalog, DocumentState, JobState
from tests.fakes.job_stream import FakeHints, FakeJobStream

pytestmark = pytest.mark.asyncio

DOCUMENTS = "/v1/rag/documents"
UPLOAD = f"{DOCUMENTS}/upload"
FIELDS = {"id", "object", "filename", "path", "collection", "status", "error", "chunk_count", "created_at"}


def stored_files(services: Services) -> list[str]:
    """Return the names of all files in the blob store."""
    return [path.name for path in services.blobs.root.rglob("*") if path.is_file()]


async def test_posted_texts_are_searchable_when_the_answer_comes(http: httpx.AsyncClient, services: Services) -> None:
    body = {"texts": ["One.", "Two ünd."], "metadata": [{"filename": "one.md", "page": 3}, {}], "collection": "manuals"}
    answer = await http.post(DOCUMENTS, json=body)

    assert answer.status_code == 201
    first, second = answer.json()["data"]
    assert set(first) >= FIELDS
    assert (first["filename"], first["status"], first["collection"]) == ("one.md", "completed", "manuals")
    assert first["attributes"] == {"filename": "one.md", "page": 3}
    assert second["filename"].endswith(".txt") and second["size_bytes"] == len("Two ünd.".encode())
    original = services.catalog.get_document(second["id"]).blob_key
    assert original is not None and services.blobs.path(original).read_text() == "Two ünd."


async def test_the_wait_for_texts_is_bounded(
    http: httpx.AsyncClient, hints: FakeHints, monkeypatch: pytest.MonkeyPatch
) -> None:
    hints.on_ingest = lambda _: None
    monkeypatch.setattr("api.document_intake.WAIT_POLL_SECONDS", 1000)  # longer than a test may take
    answer = await http.post(DOCUMENTS, json={"texts": ["One."]}, headers={"prefer": "wait=0"})

    assert answer.status_code == 202
    assert answer.json()["data"][0]["status"] == "queued"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"texts": []}, "texts"),
        ({"texts": "One."}, "texts"),
        ({"texts": ["One.", "  "]}, "texts.1"),
        ({"texts": ["One."], "metadata": []}, "metadata"),
        ({"texts": ["One."], "metadata": [{}, {}]}, "metadata"),
        ({"texts": ["One."], "metadata": {}}, "metadata"),
        ({"texts": ["One."], "metadata": [{"deep": {"x": 1}}]}, "metadata"),
        ({"texts": ["One."], "metadata": [{"long": "x" * 513}]}, "metadata"),
        ({"texts": ["One."], "collection": ""}, "collection"),
        ({"texts": ["One."], "collection": "a\nb"}, "collection"),
    ],
)
async def test_invalid_texts_leave_nothing_behind(
    http: httpx.AsyncClient, services: Services, body: dict[str, Any], param: str
) -> None:
    answer = await http.post(DOCUMENTS, json=body)

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert stored_files(services) == []


async def test_the_same_text_again_is_the_same_document(http: httpx.AsyncClient, services: Services) -> None:
    first = (await http.post(DOCUMENTS, json={"texts": ["One."]})).json()["data"][0]
    again = (await http.post(DOCUMENTS, json={"texts": ["One."]})).json()["data"][0]
    elsewhere = (await http.post(DOCUMENTS, json={"texts": ["One."], "collection": "b"})).json()["data"][0]

    assert first["id"] == again["id"] != elsewhere["id"]
    assert len(stored_files(services)) == 2


async def test_a_failed_document_is_tried_again_when_it_is_posted_again(
    http: httpx.AsyncClient, catalog: Catalog, hints: FakeHints
) -> None:
    succeed = hints.on_ingest

    def fail(document_id: str) -> None:
        claim = catalog.claim(document_id, "test", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
        assert claim is not None and catalog.fail(claim, "unreadable")

    hints.on_ingest = fail
    failed = (await http.post(DOCUMENTS, json={"texts": ["One."]})).json()["data"][0]
    hints.on_ingest = succeed
    retried = (await http.post(f"{DOCUMENTS}/{failed['id']}/retry")).json()
    posted = (await http.post(DOCUMENTS, json={"texts": ["One."]})).json()["data"][0]

    assert (failed["status"], failed["error"]) == ("failed", "unreadable")
    assert retried["id"] == posted["id"] == failed["id"]
    assert posted["status"] == "completed"


async def test_uploads_are_stored_as_they_came(http: httpx.AsyncClient, services: Services, hints: FakeHints) -> None:
    content = bytes(range(256)) * 600
    files = [
        ("files", ("dir/a.PDF", content, "application/pdf")),
        ("anything", ("../../etc/pässword\x01.txt", b"--not a boundary\r\n", "text/plain")),
    ]
    form = {"collection": "uploads", "metadata": json.dumps([{"year": 2024}, {}])}
    answer = await http.post(UPLOAD, files=files, data=form)

    assert answer.status_code in (201, 202), answer.text
    first, second = answer.json()["data"]
    assert (first["filename"], first["path"], first["attributes"]) == ("a.PDF", "dir/a.PDF", {"year": 2024})
    assert second["path"] == "etc/pässword.txt" or second["path"].startswith("etc/p")
    assert first["collection"] == second["collection"] == "uploads"
    document = services.catalog.get_document(first["id"])
    assert document.blob_key is not None and services.blobs.path(document.blob_key).read_bytes() == content
    assert hints.ingested == [first["id"], second["id"]]


async def test_an_upload_over_the_limit_leaves_nothing_behind(http: httpx.AsyncClient, services: Services) -> None:
    files = [("files", ("small.txt", b"small")), ("files", ("big.bin", b"x" * (256 * 1024 + 1)))]
    answer = await http.post(UPLOAD, files=files)

    assert answer.status_code == 413
    assert "MAX_UPLOAD_BYTES" in answer.json()["error"]["message"]
    assert stored_files(services) == []
    assert services.catalog.list_documents().items == []


def part(filename: str = "a.txt", content: bytes = b"text") -> bytes:
    return b'--B\r\nContent-Disposition: form-data; name="f"; filename="%s"\r\n\r\n%s\r\n' % (
        filename.encode(),
        content,
    )


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data; boundary=B", b""),
        ("multipart/form-data; boundary=B", b"nonsense"),
        ("multipart/form-data; boundary=B", part()),
        ("multipart/form-data; boundary=B", b"--B--\r\n"),
        ("multipart/form-data; boundary=B", part("", b"") + b"--B--\r\n"),
        ("multipart/form-data; boundary=B", b"--B\r\nbroken header\r\n\r\nx\r\n--B--\r\n"),
        ("multipart/form-data", part() + b"--B--\r\n"),
        ("application/json", b"{}"),
        ("", b""),
    ],
)
async def test_a_broken_upload_leaves_nothing_behind(
    http: httpx.AsyncClient, services: Services, content_type: str, body: bytes
) -> None:
    answer = await http.post(UPLOAD, content=body, headers={"content-type": content_type})

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]
    assert stored_files(services) == []


@pytest.mark.parametrize("form", [{"metadata": "{"}, {"metadata": "[{}, {}]"}, {"metadata": "5"}, {"collection": "\n"}])
async def test_invalid_fields_of_an_upload_are_refused(
    http: httpx.AsyncClient, services: Services, form: dict[str, str]
) -> None:
    answer = await http.post(UPLOAD, files={"file": ("a.txt", b"text")}, data=form)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == next(iter(form))
    assert services.catalog.list_documents().items == []


async def test_a_full_disk_is_reported_and_leaves_nothing_behind(
    http: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = StagedBlob.commit
    commits: list[StagedBlob] = []

    def full_at_the_second(blob: StagedBlob) -> Blob:
        commits.append(blob)
        if len(commits) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return commit(blob)

    monkeypatch.setattr(StagedBlob, "commit", full_at_the_second)
    answer = await http.post(UPLOAD, files=[("files", ("a.txt", b"one")), ("files", ("b.txt", b"two"))])

    assert answer.status_code == 507
    assert "disk of the originals is full" in answer.json()["error"]["message"]
    assert stored_files(services) == []


async def test_an_upload_that_ends_early_is_refused(http: httpx.AsyncClient, services: Services) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield part(content=b"x" * 100_000)
        yield b"--B\r\nContent-Disposition: form-data; name="

    answer = await http.post(UPLOAD, content=body(), headers={"content-type": "multipart/form-data; boundary=B"})

    assert answer.status_code == 400
    assert stored_files(services) == []


async def test_documents_are_accepted_and_deleted_without_redis(http: httpx.AsyncClient, hints: FakeHints) -> None:
    hints.away = True
    answer = await http.post(UPLOAD, files={"file": ("a.txt", b"text")})
    document_id = answer.json()["data"][0]["id"]

    assert answer.json()["data"][0]["status"] == "queued"
    assert (await http.delete(f"{DOCUMENTS}/{document_id}")).status_code == 200


async def test_documents_are_listed_by_page_status_and_collection(http: httpx.AsyncClient, hints: FakeHints) -> None:
    for number in range(3):
        await http.post(DOCUMENTS, json={"texts": [f"Text {number}."], "collection": "c"})
    hints.on_ingest = lambda _: None
    await http.post(UPLOAD, files={"file": ("waiting.txt", b"text")})

    page = (await http.get(DOCUMENTS, params={"limit": 2})).json()
    rest = (await http.get(DOCUMENTS, params={"limit": 2, "after": page["last_id"]})).json()
    waiting = (await http.get(DOCUMENTS, params={"status": "queued"})).json()
    of_c = (await http.get(DOCUMENTS, params={"collection": "c", "status": "completed"})).json()

    assert page["object"] == "list" and page["has_more"] and not rest["has_more"]
    assert len({document["id"] for document in page["data"] + rest["data"]}) == 4
    assert [document["filename"] for document in waiting["data"]] == ["waiting.txt"]
    assert len(of_c["data"]) == 3


async def test_a_parsed_document_is_shown_as_indexing(
    http: httpx.AsyncClient, catalog: Catalog, hints: FakeHints
) -> None:
    hints.on_ingest = lambda _: None
    document_id = (await http.post(UPLOAD, files={"file": ("a.txt", b"text")})).json()["data"][0]["id"]
    claim = catalog.claim(document_id, "test", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
    assert claim is not None and catalog.advance(claim, DocumentState.PARSED)

    assert (await http.get(f"{DOCUMENTS}/{document_id}")).json()["status"] == "indexing"
    listed = (await http.get(DOCUMENTS, params={"status": "indexing"})).json()
    assert [document["id"] for document in listed["data"]] == [document_id]


async def test_a_document_can_be_deleted_twice(http: httpx.AsyncClient, hints: FakeHints, catalog: Catalog) -> None:
    document_id = (await http.post(DOCUMENTS, json={"texts": ["One."]})).json()["data"][0]["id"]

    first = await http.delete(f"{DOCUMENTS}/{document_id}")
    again = await http.delete(f"{DOCUMENTS}/{document_id}")
    claim = catalog.claim(document_id, "test", expected=DocumentState.DELETING, claimed=DocumentState.DELETING)
    assert claim is not None and catalog.finish_delete(claim)

    assert first.json() == again.json() == {"id": document_id, "object": "document", "deleted": True}
    assert hints.woken == 2
    assert (await http.get(f"{DOCUMENTS}/{document_id}")).status_code == 404
    assert (await http.delete(f"{DOCUMENTS}/{document_id}")).status_code == 404


async def test_a_job_can_wait_for_documents(http: httpx.AsyncClient, catalog: Catalog, stream: FakeJobStream) -> None:
    answer = await http.post(DOCUMENTS, json={"texts": ["One."]}, headers={"prefer": "respond-async"})
    job = answer.json()

    assert answer.status_code == 202 and answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["status"]) == ("documents", "queued")
    ids = stream.submitted[0].request.document_ids
    assert catalog.finish_job(job["id"], JobState.COMPLETED, result=json.dumps({"result": {"documents": ids}}))
    result = (await http.get(answer.headers["location"])).json()["result"]
    assert [document["id"] for document in result["data"]] == ids
