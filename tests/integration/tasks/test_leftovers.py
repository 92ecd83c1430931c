"""Nothing stays of a document that was deleted or replaced while a worker was busy with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.catalog import Catalog, Document, DocumentState
from ingest.indexing.chunk_files import read_chunks
from ingest.pipeline import parse_to_chunks
from ingest.vector_store.base import Point, point_id
from tasks.jobs.producer import Producer
from tests.integration.tasks.indexing import LARGE, World, make_empty_store
from tests.support import wait_until

DELETE = {"expected": DocumentState.DELETING, "claimed": DocumentState.DELETING}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_empty_store(tmp_path_factory.mktemp("empty") / "vectors")


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, producer: Producer, empty_store: Path) -> Iterator[World]:
    with World.opened(tmp_path, catalog, producer, empty_store) as world:
        yield world


@pytest.fixture
def while_parsing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Return a function that makes a call happen after a document was claimed, and before its chunks are written."""

    def during(act: Callable[[], None]) -> None:
        def parse(*arguments: Any, **options: Any) -> Any:
            act()
            return parse_to_chunks(*arguments, **options)

        monkeypatch.setattr("tasks.documents.parsing.parse_to_chunks", parse)

    return during


def remove(world: World, document: Document) -> None:
    """Delete a document, and remove it as another index worker does."""
    world.catalog.delete_document(document.id)
    (claim,) = world.catalog.claim_next("index@other", **DELETE, limit=1)
    world.store.delete_documents([document.id])
    world.blobs.delete_chunks(document.id)
    assert world.catalog.finish_delete(claim)


def replace(world: World, document: Document) -> None:
    blob = world.blobs.put(b"Another text.")
    world.catalog.new_version(
        document.id, content_hash=blob.content_hash, size_bytes=13, mtime_ns=1, inode=1, blob_key=blob.key
    )


def test_a_document_that_is_removed_while_it_is_parsed_leaves_no_chunks(
    world: World, while_parsing: Callable[[Callable[[], None]], None]
) -> None:
    document = world.add("The harbour opens at dawn.")
    while_parsing(lambda: remove(world, document))
    world.parsing.parse(document.id)
    assert world.is_gone(document)
    assert world.chunk_files(document) == set()


def test_a_document_that_is_replaced_while_it_is_parsed_leaves_no_old_chunks(
    world: World, while_parsing: Callable[[Callable[[], None]], None]
) -> None:
    document = world.add("The harbour opens at dawn.")
    while_parsing(lambda: replace(world, document))
    world.parsing.parse(document.id)
    assert world.state(document) is DocumentState.QUEUED
    assert world.chunk_files(document) == set()


@pytest.mark.parametrize("text", ["The harbour opens at dawn.", LARGE], ids=["short", "long"])
@pytest.mark.parametrize("act", [remove, replace])
def test_a_document_that_another_worker_changes_while_it_is_indexed_leaves_no_points(
    world: World, monkeypatch: pytest.MonkeyPatch, text: str, act: Callable[[World, Document], None]
) -> None:
    document = world.add(text)
    world.parsing.parse(document.id)
    written: list[int] = []
    upsert = world.store.upsert

    def act_and_upsert(points: Any) -> None:
        if not written:
            act(world, document)
        upsert(points)
        written.append(len(points))

    monkeypatch.setattr(world.store, "upsert", act_and_upsert)
    world.indexer.start()
    wait_until(lambda: written and world.store.count(document.id, document.generation) == 0)


def test_what_a_killed_worker_wrote_too_late_is_removed_with_the_tombstone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = world.add("The harbour opens at dawn.")
    world.parsing.parse(document.id)
    path = world.blobs.chunks_path(document.id, document.generation)
    (chunk,), written = read_chunks(path), path.read_bytes()
    remove(world, document)
    world.blobs.chunks_path(document.id, document.generation).write_bytes(written)
    payload = {"document_id": document.id, "generation": 1, "chunk_index": 0, "collection": "c", "filename": "a.txt"}
    vector = world.service.embed([chunk.text], "document", "bulk")[0]
    world.store.upsert(
        [Point(point_id(document.id, 1, 0), vector, chunk.text, payload | {"content_hash": chunk.content_hash})]
    )
    monkeypatch.setattr("tasks.documents.indexer.DELETED_RETENTION_SECONDS", -60)
    world.indexer.start()
    wait_until(lambda: not world.catalog.list_documents(state=DocumentState.DELETED).items)
    assert world.store.count(document.id, document.generation) == 0
    assert world.chunk_files(document) == set()
