"""Jobs that pull models, over a real Redis and a real catalog, from a server that speaks the hub's protocol."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from core import events
from core.catalog import Catalog, JobState
from core.ids import new_id
from core.messages import PullRequest
from core.models import download
from core.models.library import ModelLibrary
from core.settings import Settings, load_settings
from tasks.jobs.heartbeats import JobHeartbeats
from tasks.jobs.kinds import PULL
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role, Tasks
from tasks.jobs.runner import JobRunner
from tasks.model_pulls import ModelPulls
from tests.fakes.hub import Hub, running_hub
from tests.gguf_files import tiny_model
from tests.support import ROOT, clean_environment, private_redis, wait_until

REPO, FILE, NAME = "org/tiny-GGUF", "Tiny-Q4_K_M.gguf", "Tiny-Q4_K_M"
BREAK_BYTES = 40_000


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    return tiny_model(tmp_path / "source" / FILE, weights=100_000).read_bytes()


@pytest.fixture
def hub(content: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with running_hub({REPO: {FILE: content}}) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr(download, "RETRY_SECONDS", (0.0, 0.0))
        yield hub


@pytest.fixture
def broken_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Return a hub that breaks off the first answer, after which pulls wait for longer than the test."""
    hub.breaks = [BREAK_BYTES]
    monkeypatch.setattr(download, "RETRY_SECONDS", (600.0,))
    return hub


@pytest.fixture
def pull_settings(tmp_path: Path) -> Settings:
    return load_settings(_env_file=None, data_dir=tmp_path / "data", min_free_bytes=0)


@contextmanager
def worker(settings: Settings, producer: Producer, catalog: Catalog) -> Iterator[ModelPulls]:
    """Run the part of a maintenance worker that pulls. At the end it stops, as a worker does."""
    heartbeats = JobHeartbeats(producer.records)
    pulls = ModelPulls(settings, producer, JobRunner(producer, catalog, heartbeats))
    yield pulls
    pulls.close()
    heartbeats.close()


def submit(producer: Producer, catalog: Catalog, reference: str = REPO) -> str:
    job_id, request = new_id("job"), PullRequest(reference)
    catalog.create_job(job_id, PULL.name, "/v1/models/pull", msgspec.json.encode(request).decode())
    producer.submit(job_id, PULL, request, durable=True)
    return job_id


def events_of(producer: Producer, job_id: str) -> list[events.AnyEvent]:
    return [event for _, event in producer.records.replay(job_id)]


def partial_bytes(settings: Settings) -> int:
    return sum(path.stat().st_size for path in settings.models_path.rglob("*.part"))


def has_ended(producer: Producer, job_id: str) -> bool:
    found = events_of(producer, job_id)
    return bool(found) and events.is_terminal(found[-1])


def test_a_pull_reports_its_progress_and_ends_with_a_usable_model(
    hub: Hub, pull_settings: Settings, producer: Producer, catalog: Catalog, content: bytes
) -> None:
    job_id = submit(producer, catalog)
    with worker(pull_settings, producer, catalog) as pulls:
        pulls.start(job_id)
        wait_until(lambda: has_ended(producer, job_id), 20, "the pull")
    found = events_of(producer, job_id)
    progress = [event for event in found if isinstance(event, events.Progress)]
    assert (progress[-1].done_bytes, progress[-1].total_bytes) == (len(content), len(content))
    assert isinstance(found[-1], events.Finished) and found[-1].result["model"] == NAME
    job = catalog.get_job(job_id)
    assert job.state is JobState.COMPLETED and json.loads(job.result or "")["result"]["files"] == [FILE]
    assert ModelLibrary(pull_settings).find(NAME) is not None


def test_a_pull_that_cannot_be_done_says_why(
    hub: Hub, pull_settings: Settings, producer: Producer, catalog: Catalog
) -> None:
    job_id = submit(producer, catalog, f"{REPO}:Q2_K")
    with worker(pull_settings, producer, catalog) as pulls:
        pulls.start(job_id)
        wait_until(lambda: has_ended(producer, job_id), 20, "the pull")
    failed = events_of(producer, job_id)[-1]
    assert isinstance(failed, events.Failed) and (failed.error.status, failed.error.param) == (404, "model")
    assert FILE in failed.error.message and catalog.get_job(job_id).state is JobState.FAILED


def test_a_pull_is_cancelled_like_any_job(
    broken_hub: Hub, pull_settings: Settings, producer: Producer, catalog: Catalog
) -> None:
    job_id = submit(producer, catalog)
    with worker(pull_settings, producer, catalog) as pulls:
        pulls.start(job_id)
        wait_until(lambda: broken_hub.sent, 20, "the download")
        producer.cancel(job_id)
        wait_until(lambda: has_ended(producer, job_id), 20, "the end of the pull")
    assert isinstance(events_of(producer, job_id)[-1], events.Cancelled)
    assert catalog.get_job(job_id).state is JobState.CANCELLED and ModelLibrary(pull_settings).find(NAME) is None


def test_a_worker_that_stops_leaves_its_pull_to_the_next(
    broken_hub: Hub, pull_settings: Settings, producer: Producer, catalog: Catalog, content: bytes
) -> None:
    job_id = submit(producer, catalog)
    with worker(pull_settings, producer, catalog) as pulls:
        pulls.start(job_id)
        wait_until(lambda: partial_bytes(pull_settings) == BREAK_BYTES, 20, "the download")
    assert not has_ended(producer, job_id)
    record = producer.records.load(job_id)
    assert record is not None and record.state == "queued" and record.task == Tasks.PULL
    broken_hub.sent.clear()
    with worker(pull_settings, producer, catalog) as pulls:
        pulls.start(job_id)
        wait_until(lambda: has_ended(producer, job_id), 20, "the pull")
    assert isinstance(events_of(producer, job_id)[-1], events.Finished)
    assert broken_hub.sent == [(FILE, BREAK_BYTES, len(content))]


@pytest.mark.check
@pytest.mark.slow
def test_a_pull_survives_the_death_of_its_worker(hub: Hub, tmp_path: Path, content: bytes) -> None:
    with private_redis() as (url, _):
        settings = load_settings(_env_file=None, redis_url=url, data_dir=tmp_path / "data")
        producer, catalog = Producer(settings), Catalog.open(settings.catalog_url)
        catalog.migrate()
        hub.hold = threading.Event()
        first = maintenance_worker(settings, hub, tmp_path)
        try:
            wait_until(lambda: producer.workers(Role.MAINTENANCE), 60, "the worker")
            job_id = submit(producer, catalog)
            wait_until(lambda: partial_bytes(settings), 60, "the download")
            first.kill()
            first.wait(20)
            hub.hold.set()
            hub.sent.clear()
            second = maintenance_worker(settings, hub, tmp_path)
            try:
                wait_until(lambda: has_ended(producer, job_id), 90, "the pull")
            finally:
                second.terminate()
                second.wait(60)
        finally:
            first.kill()
            first.wait(20)
        assert isinstance(events_of(producer, job_id)[-1], events.Finished)
        assert catalog.get_job(job_id).attempt > 1
        # What the first worker had received was not sent again
        [(_, start, end)] = hub.sent
        assert start > 0 and end == len(content)
        assert ModelLibrary(settings).find(NAME) is not None
        catalog.close()
        producer.close()


def maintenance_worker(settings: Settings, hub: Hub, tmp_path: Path) -> subprocess.Popen[bytes]:
    """Start a maintenance worker in a process of its own, which pulls from this hub."""
    environment = clean_environment(
        REDIS_URL=settings.redis_url or "", DATA_DIR=str(settings.data_dir), HF_ENDPOINT=hub.url, MIN_FREE_BYTES="0"
    )
    command = [
        sys.executable,
        "-P",
        "-m",
        "tasks",
        "worker",
        "-P",
        "solo",
        "-Q",
        "maintenance",
        f"-n{time.time_ns()}@x",
    ]
    with (tmp_path / "worker.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
