"""Reconciliation over a real catalog and a real Redis: what it costs, and that it reaches everything."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from core.blobs import BlobStore
from core.catalog import Catalog, JobState, NewDocument, Source
from core.messages import DocumentsRequest
from core.settings import Settings
from tasks.documents.reconciliation import Reconciliation
from tasks.jobs.keys import worker_key
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role


@pytest.fixture
def reconciliation(tmp_path: Path, job_settings: Settings, catalog: Catalog, producer: Producer) -> Reconciliation:
    return Reconciliation(job_settings, catalog, BlobStore(tmp_path / "blobs"), producer)


def test_every_unfinished_job_has_its_turn(
    reconciliation: Reconciliation, catalog: Catalog, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.documents.reconciliation.JOBS_PER_PASS", 2)
    document = catalog.add_document(NewDocument("default", "a.txt", Source.UPLOAD, "a" * 64, 1))
    request = msgspec.json.encode(DocumentsRequest([document.id])).decode()
    ids = [f"job-{number}" for number in range(5)]
    for job_id in ids:
        catalog.create_job(job_id, "documents", "/v1/rag/documents", request)
    for _ in range(3):
        reconciliation.reconcile()
    assert all(producer.records.load_many(ids)), "each was sent, though only two are looked at in a pass"
    catalog.cancel_document(document.id)
    for _ in range(3):
        reconciliation.reconcile()
    assert {catalog.get_job(job_id).state for job_id in ids} == {JobState.COMPLETED}


def test_workers_that_died_long_ago_are_forgotten(reconciliation: Reconciliation, producer: Producer) -> None:
    producer.announce(Role.INDEX, "alive", {})
    for name, age in (("stalled", 60), ("dead", 7200)):
        producer.records.redis.hset(worker_key(Role.INDEX), name, json.dumps({"at": time.time() - age}))
    reconciliation.expire()
    assert {name.decode() for name in producer.records.redis.hkeys(worker_key(Role.INDEX))} == {"alive", "stalled"}
    assert set(producer.workers(Role.INDEX)) == {"alive"}
