"""`/v1/rag/evaluations` through Redis and a worker: a job that searches for each question with each setting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

import httpx
import pytest

from api.app import create_app
from api.dependencies import Services
from core.blobs import BlobStore
from core.catalog import Catalog
from core.errors import InvalidRequest
from core.messages import Hit, SearchOptions
from core.settings import Settings
from ingest.embedding.embedder import Embedder
from tasks.jobs.stream import JobStream
from tests.fakes.fake_embedder import FakeEmbedder
from tests.fakes.job_stream import FakeHints
from tests.integration.api.query_worker import QueryWorker

HITS = [
    Hit("doc-1", 0, "The pump is red.", 1.0, "pump.txt", "default"),
    Hit("doc-2", 0, "The hose is blue.", 0.5, "hose.txt", "default"),
]


@pytest.fixture
def worker(settings: Settings, redis_url: str, catalog: Catalog) -> Iterator[QueryWorker]:
    settings = settings.model_copy(update={"redis_url": redis_url})
    worker = QueryWorker(settings, catalog, cast(Embedder, FakeEmbedder()))
    yield worker
    worker.close()


@pytest.fixture
async def client(
    settings: Settings, redis_url: str, worker: QueryWorker, catalog: Catalog
) -> AsyncIterator[httpx.AsyncClient]:
    settings = settings.model_copy(update={"redis_url": redis_url})
    stream = JobStream(settings, worker.producer)
    await stream.start()
    services = Services(settings, catalog, BlobStore(settings.blobs_path), stream, FakeHints())
    app = create_app(services=services)
    app.state.services = services
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        yield client
    await stream.close()


async def report_of(client: httpx.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    accepted = await client.post("/v1/rag/evaluations", json=body)
    assert accepted.status_code == 202, accepted.text
    async with asyncio.timeout(30):
        while True:
            job: dict[str, Any] = (await client.get(accepted.headers["location"])).json()
            if job["status"] not in ("queued", "running"):
                return job
            await asyncio.sleep(0.02)


async def test_each_question_is_searched_for_with_each_setting(
    client: httpx.AsyncClient, worker: QueryWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(queries: Sequence[str], options: SearchOptions, within: Sequence[str] | None) -> list[Hit]:
        if "none" in options.collections:
            raise InvalidRequest("There is no collection named 'none'.", param="collection")
        assert within is None
        return HITS[: options.top_k]

    monkeypatch.setattr(worker.query, "_find", find)
    questions = [{"question": "Red?", "files": ["pump.txt"]}, {"question": "Blue?", "passages": ["hose is blue"]}]
    settings = [{"name": "one", "top_k": 1}, {"name": "two", "top_k": 2}]
    job = await report_of(client, {"questions": questions, "settings": settings})
    assert job["status"] == "completed" and job["kind"] == "evaluation"
    assert [(row["name"], row["recall"], row["mrr"]) for row in job["result"]["settings"]] == [
        ("one", 0.5, 0.5),
        ("two", 1.0, 0.75),
    ]
    assert job["result"]["questions"][1]["ranks"] == {"one": [None], "two": [2]}
    failed = await report_of(client, {"questions": questions, "settings": [{"collection": "none"}]})
    assert failed["status"] == "failed" and "no collection named 'none'" in failed["error"]["message"]
