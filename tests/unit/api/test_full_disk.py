"""What the API answers while a disk is below MIN_FREE_BYTES, and the bounds of asynchronous jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.dependencies import Services
from core import disk
from core.catalog import Catalog, JobState
from core.settings import Settings
from tests.fakes.job_stream import FakeHints, FakeJobStream
from tests.unit.api.conftest import client_of

pytestmark = pytest.mark.asyncio

UPLOAD = "/v1/rag/documents/upload"
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
WORK: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, "stream": True}),
    ("/v1/completions", {"prompt": "Hello"}),
    ("/v1/embeddings", {"input": "a"}),
    ("/v1/rerank", {"query": "a", "documents": ["a"]}),
    ("/v1/rag/chat", {"query": "How long is the warranty?"}),
    ("/v1/rag/search", {"query": "warranty"}),
    ("/v1/rag/documents", {"texts": ["One text."]}),
]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> dict[str, int]:
    """Return the free bytes of the disk, for the test to change."""
    numbers = {"bytes": settings.min_free_bytes + 10_000}
    monkeypatch.setattr(disk, "free_bytes", lambda _: numbers["bytes"])
    return numbers


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("headers", [{}, {"prefer": "respond-async"}])
@pytest.mark.parametrize(("path", "body"), WORK)
async def test_new_work_is_refused_with_the_numbers_until_there_is_room(
    http: httpx.AsyncClient,
    stream: FakeJobStream,
    catalog: Catalog,
    free: dict[str, int],
    settings: Settings,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> None:
    free["bytes"] = 1_234_567
    refused = await http.post(path, json=body, headers=headers)
    assert refused.status_code == 507
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_storage", "storage_full")
    assert "1,234,567 bytes free" in error["message"] and f"{settings.min_free_bytes:,}" in error["message"]
    assert not stream.submitted and not catalog.list_jobs().items and not catalog.list_documents().items
    free["bytes"] = settings.min_free_bytes
    assert (await http.post(path, json=body, headers=headers)).status_code in (200, 201, 202)


async def test_an_upload_is_refused_before_it_is_read_and_leaves_nothing(
    http: httpx.AsyncClient, settings: Settings, free: dict[str, int]
) -> None:
    free["bytes"] = settings.min_free_bytes + 50_000
    refused = await http.post(UPLOAD, files={"files": ("large.txt", b"x" * 100_000)})
    assert refused.status_code == 507 and "more are to be written" in refused.json()["error"]["message"]
    assert not files_in(settings.blobs_path)
    assert (await http.post(UPLOAD, files={"files": ("small.txt", b"x" * 1000)})).status_code == 202


async def test_an_upload_ends_when_others_fill_the_disk_meanwhile(
    http: httpx.AsyncClient, settings: Settings, free: dict[str, int]
) -> None:
    head = b'--b\r\ncontent-disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield head + b"x" * 1000
        free["bytes"] = settings.min_free_bytes - 1
        yield b"x" * 1000
        yield b"\r\n--b--\r\n"

    refused = await http.post(UPLOAD, content=body(), headers={"content-type": "multipart/form-data; boundary=b"})
    assert refused.status_code == 507
    assert not files_in(settings.blobs_path)


async def test_reading_cancelling_and_deleting_go_on(
    http: httpx.AsyncClient, settings: Settings, free: dict[str, int]
) -> None:
    document = (await http.post("/v1/rag/documents", json={"texts": ["One text."]})).json()["data"][0]["id"]
    job = (await http.post("/v1/chat/completions", json=CHAT, headers={"prefer": "respond-async"})).json()["id"]
    free["bytes"] = 0
    for path in ("/v1/rag/documents", f"/v1/rag/documents/{document}", f"/v1/jobs/{job}", "/v1/models", "/health"):
        assert (await http.get(path)).status_code == 200
    assert (await http.delete(f"/v1/jobs/{job}")).json()["status"] == "cancelled"
    assert (await http.delete(f"/v1/rag/documents/{document}")).status_code == 200


async def test_readiness_says_what_a_request_would_get(
    http: httpx.AsyncClient, settings: Settings, free: dict[str, int]
) -> None:
    assert (await http.get("/ready")).json()["checks"]["disk"] == "ok"
    free["bytes"] = settings.min_free_bytes - 1
    refused = await http.get("/ready")
    assert (refused.status_code, refused.json()["checks"]["disk"]) == (503, "full")


@pytest.fixture
def bounded(settings: Settings, catalog: Catalog, services: Services) -> Iterator[Services]:
    limits = {"max_async_jobs": 2, "max_async_job_bytes": 2000}
    yield Services(settings.model_copy(update=limits), catalog, services.blobs, services.stream, FakeHints())


async def ask_later(http: httpx.AsyncClient, text: str = "Hello") -> httpx.Response:
    body = {"messages": [{"role": "user", "content": text}]}
    return await http.post("/v1/chat/completions", json=body, headers={"prefer": "respond-async"})


async def test_unfinished_asynchronous_jobs_are_bounded_in_number(bounded: Services, catalog: Catalog) -> None:
    async with client_of(bounded) as http:
        jobs = [(await ask_later(http)).json()["id"] for _ in range(2)]
        refused = await ask_later(http)
        assert refused.status_code == 503 and "retry-after" in refused.headers
        assert refused.json()["error"]["code"] == "queue_full" and "MAX_ASYNC_JOBS" in refused.text
        uploaded = await http.post(UPLOAD, files={"files": ("a.txt", b"A text.")}, headers={"prefer": "respond-async"})
        assert uploaded.status_code == 503 and not catalog.list_documents().items
        assert (await http.post("/v1/chat/completions", json=CHAT)).status_code == 200, "others are not affected"
        catalog.finish_job(jobs[0], JobState.COMPLETED, result="{}")
        assert (await ask_later(http)).status_code == 202


async def test_asynchronous_jobs_are_bounded_in_size(
    bounded: Services, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.catalog.jobs.JOB_BYTES_SECONDS", 0)
    async with client_of(bounded) as http:
        job = (await ask_later(http)).json()["id"]
        catalog.finish_job(job, JobState.COMPLETED, result='"' + "é" * 1000 + '"')
        assert catalog.job_bytes() > 2000
        refused = await ask_later(http)
        assert refused.status_code == 507
        assert "MAX_ASYNC_JOB_BYTES" in refused.text and "JOB_RETENTION_SECONDS" in refused.text
        catalog.purge_jobs(-1)
        assert (await ask_later(http)).status_code == 202
