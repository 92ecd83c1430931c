"""A job kind that is registered in one place works from the HTTP request through a real worker to its result."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from api.app import create_app
from core.settings import Settings
from tasks.jobs import kinds
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.support import ROOT, clean_environment, wait_until, wait_until_async


@pytest.fixture
def echo_kind(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module that registers the kind. Restore the table afterwards."""
    monkeypatch.setattr(kinds, "_kinds", dict(kinds._kinds))
    sys.modules.pop("tests.integration.tasks.echo_kind", None)
    from tests.integration.tasks import echo_kind

    return echo_kind


@pytest.fixture
def worker(settings: Settings, redis_url: str, tmp_path: Path) -> Iterator[None]:
    """Start a Celery worker, in a process of its own, that has loaded the module."""
    command = ["celery", "-A", "tests.integration.tasks.echo_kind", "worker", "-P", "solo", "-Q", "maintenance"]
    environment = clean_environment(REDIS_URL=redis_url, DATA_DIR=str(settings.data_dir), WATCH_DIRS=str(tmp_path))
    producer = Producer(settings)
    producer.records.redis.flushdb()
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            wait_until(lambda: producer.workers(Role.MAINTENANCE), 60, "the worker")
            yield
        finally:
            process.terminate()
            process.wait(60)
            producer.close()


@pytest.fixture
async def http(echo_kind: Any, worker: None, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    app: FastAPI = create_app(settings)
    app.include_router(echo_kind.router)
    async with (
        LifespanManager(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client,
    ):
        yield client


async def test_a_kind_registered_in_one_place_works_from_request_to_result(http: httpx.AsyncClient) -> None:
    waited = await http.post("/v1/echo", json={"words": ["good ", "day"]})
    assert (waited.status_code, waited.json()["text"]) == (200, "good day")

    accepted = await http.post("/v1/echo?loud=1", json={"words": ["good ", "day"]}, headers={"prefer": "respond-async"})
    assert (accepted.status_code, accepted.json()["kind"]) == (202, "echo")
    location = accepted.headers["location"]

    async def is_done() -> bool:
        return (await http.get(location)).json()["status"] == "completed"

    await wait_until_async(is_done, 20, "the asynchronous job")
    job = (await http.get(location)).json()
    assert (job["endpoint"], job["result"]["text"]) == ("/v1/echo", "GOOD DAY")
    assert job["id"] in [listed["id"] for listed in (await http.get("/v1/jobs")).json()["data"]]

    lines = (await http.get(f"{location}/events")).text.splitlines()
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert names == ["queued", "accepted", "text", "text", "finished"]


async def test_a_request_of_another_type_is_refused_before_anything_is_sent(echo_kind: Any, settings: Settings) -> None:
    producer = Producer(settings)
    with pytest.raises(TypeError, match="EchoRequest"):
        producer.submit("job-1", echo_kind.ECHO, kinds.DocumentsRequest([]))
    assert producer.records.load("job-1") is None
    producer.close()
