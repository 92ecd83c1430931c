"""Documents and jobs that wait while a disk is below MIN_FREE_BYTES, and go on by themselves afterwards."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from core import disk
from core.blobs import BlobStore
from core.catalog import Catalog, Document, DocumentState, NewDocument, Source
from core.disk import DiskSpace
from core.errors import StorageFull
from core.messages import EmbedRequest
from core.settings import Settings, load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.vector_store.edge import EdgeVectorStore
from tasks.documents.embedding_models import Model, Models
from tasks.documents.indexer import Indexer
from tasks.documents.parsing import ParsingService
from tasks.documents.reconciliation import Reconciliation
from tasks.jobs.kinds import EMBEDDINGS
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue
from tests.fakes.fake_embedder import FakeEmbedder
from tests.support import SmallDisk, private_redis, wait_until


@dataclass
class World:
    """The stages of a document, on a disk whose free space the test sets."""

    catalog: Catalog
    blobs: BlobStore
    parsing: ParsingService
    indexer: Indexer
    reconciliation: Reconciliation
    free: dict[str, int]

    def add(self, text: str) -> Document:
        blob = self.blobs.put(text.encode(), "note.txt")
        new = NewDocument("default", "note.txt", Source.UPLOAD, blob.content_hash, blob.size_bytes, blob_key=blob.key)
        return self.catalog.add_document(new)

    def state(self, document: Document) -> DocumentState:
        return self.catalog.get_document(document.id).state


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, producer: Producer, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    settings: Settings = load_settings(_env_file=None, data_dir=tmp_path / "data")
    free = {"bytes": 2 * settings.min_free_bytes}
    monkeypatch.setattr(disk, "free_bytes", lambda _: free["bytes"])
    blobs = BlobStore(settings.blobs_path)
    store = EdgeVectorStore(tmp_path / "vectors", FakeEmbedder.model_name, FakeEmbedder.dimension)
    service = EmbeddingService(cast(Embedder, FakeEmbedder()))
    parsing = ParsingService(settings, catalog, blobs, producer, "ingest@test")
    indexer = Indexer(catalog, blobs, Models(Model(service, store)), "index@test", DiskSpace(settings))
    yield World(catalog, blobs, parsing, indexer, Reconciliation(settings, catalog, blobs, producer), free)
    indexer.close()
    service.close()
    store.close()


def test_queued_documents_wait_for_room(world: World, producer: Producer) -> None:
    enough = world.free["bytes"]
    document = world.add("The harbour opens at dawn.")
    world.free["bytes"] = 0
    world.reconciliation.reconcile()
    assert producer.queue_lengths()[Queue.INGEST.value] == 0, "no message is sent for it"
    world.parsing.parse(document.id)
    assert world.state(document) is DocumentState.QUEUED, "nor is a message that was sent before carried out"
    world.free["bytes"] = enough
    world.reconciliation.reconcile()
    assert producer.queue_lengths()[Queue.INGEST.value] == 1
    world.parsing.parse(document.id)
    assert world.state(document) is DocumentState.PARSED


def test_a_document_that_found_the_disk_full_is_not_at_fault(
    world: World, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    documents = [world.add(f"Text {number}.") for number in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr("tasks.documents.parsing.parse_to_chunks", full)
        for _ in range(5):
            world.parsing.parse(*(document.id for document in documents))
    assert producer.queue_lengths()[Queue.INGEST.value] == 0, "it is not sent again at once"
    rows = world.catalog.documents_by_id([document.id for document in documents]).values()
    assert [(row.state, row.attempts, row.error) for row in rows] == [(DocumentState.QUEUED, 0, None)] * 3
    world.parsing.parse(*(document.id for document in documents))
    assert {world.state(document) for document in documents} == {DocumentState.PARSED}


def test_parsed_documents_wait_for_room_and_deletions_do_not(world: World) -> None:
    enough = world.free["bytes"]
    kept, deleted = world.add("The harbour opens at dawn."), world.add("A text that is not wanted.")
    world.parsing.parse(kept.id, deleted.id)
    world.free["bytes"] = 0
    world.catalog.delete_document(deleted.id)
    world.indexer.start()
    wait_until(lambda: not world.catalog.documents_by_id([deleted.id]))
    assert world.state(kept) is DocumentState.PARSED
    world.free["bytes"] = enough
    world.indexer.wake()
    wait_until(lambda: world.state(kept) is DocumentState.COMPLETED)


def test_documents_that_are_being_indexed_are_released_by_a_full_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    enough = world.free["bytes"]
    documents = [world.add(f"Text {number}.") for number in range(3)]
    world.parsing.parse(*(document.id for document in documents))

    def full(*_: Any, **__: Any) -> None:
        world.free["bytes"] = 0
        raise RuntimeError("the engine cannot write its log")

    with monkeypatch.context() as patch:
        patch.setattr(EdgeVectorStore, "upsert", full)
        world.indexer.start()
        wait_until(lambda: world.free["bytes"] == 0)
        wait_until(lambda: {world.state(document) for document in documents} == {DocumentState.PARSED})
    world.free["bytes"] = enough
    world.indexer.wake()
    wait_until(lambda: {world.state(document) for document in documents} == {DocumentState.COMPLETED}, 20)


def test_a_long_document_is_released_before_the_disk_is_full(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    enough = world.free["bytes"]
    text = "\n\n".join(f"Paragraph {number}. " + "The harbour opens at dawn. " * 60 for number in range(200))
    document = world.add(text)
    world.parsing.parse(document.id)
    upsert, written = EdgeVectorStore.upsert, list[int]()

    def fill_up(store: EdgeVectorStore, points: Any) -> None:
        # Given a disk that goes below the floor while the document is indexed, and then below half of it
        upsert(store, points)
        written.append(len(points))
        world.free["bytes"] = enough // 2 - 1 if len(written) == 1 else 0

    with monkeypatch.context() as patch:
        patch.setattr(EdgeVectorStore, "upsert", fill_up)
        world.indexer.start()
        wait_until(lambda: world.state(document) is DocumentState.PARSED and written)
    # Then indexing goes on at first, and stops before nothing is left
    assert len(written) == 2 and world.catalog.get_document(document.id).chunk_count > sum(written)
    world.free["bytes"] = enough
    world.indexer.wake()
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED, 20)


def test_batch_jobs_wait_for_room(world: World, producer: Producer) -> None:
    enough = world.free["bytes"]
    sent: list[str] = []
    world.free["bytes"] = 0
    producer.feed_batch = lambda: sent.append("fed")  # type: ignore[method-assign]
    world.reconciliation.reconcile()
    assert not sent
    world.free["bytes"] = enough
    world.reconciliation.reconcile()
    assert sent == ["fed"]


def test_a_redis_without_room_for_its_log_is_said_to_be_full_and_recovers(small_disk: SmallDisk) -> None:
    with private_redis(data_dir=small_disk.path / "redis") as (url, _):
        producer = Producer(load_settings(_env_file=None, redis_url=url))
        numbers = itertools.count()

        def submit() -> None:
            producer.submit(f"job-{next(numbers)}", EMBEDDINGS, EmbedRequest(["a" * 10_000]), durable=True)

        def is_refused() -> bool:
            try:
                submit()
            except StorageFull as refused:
                assert "queue (Redis)" in refused.message
                return True
            return False

        submit()
        small_disk.fill()
        wait_until(is_refused)
        assert producer.position("job-0") == 0, "reading goes on"
        small_disk.free()
        wait_until(lambda: not is_refused())
        producer.close()
