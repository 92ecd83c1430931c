"""Parsing and indexing with a real catalog, real blobs, a real Redis and the embedded store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import event

from core.blobs import BlobStore
from core.catalog import Catalog, Claim, Document, DocumentState
from core.errors import Unavailable
from ingest.pipeline import ParseResult, parse_to_chunks
from ingest.vector_store.edge import EdgeVectorStore
from tasks.documents.dispatch import bundles, send_waiting
from tasks.documents.index_run import grouped
from tasks.documents.indexer import Indexer
from tasks.documents.indexing_schedule import SHORT_CHUNKS, Action, Poll
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Queue
from tests.fakes.fake_embedder import FakeEmbedder
from tests.integration.tasks.indexing import LARGE, World, make_empty_store
from tests.support import wait_until

PARSE = {"expected": DocumentState.QUEUED, "claimed": DocumentState.PARSING}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of an empty store. It is made once for all tests, as that takes a second."""
    return make_empty_store(tmp_path_factory.mktemp("empty") / "vectors")


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, producer: Producer, empty_store: Path) -> Iterator[World]:
    with World.opened(tmp_path, catalog, producer, empty_store) as world:
        yield world


def test_a_document_goes_through_all_stages(world: World, producer: Producer) -> None:
    document = world.add("The harbour opens at dawn.")
    world.parsing.parse(document.id)
    assert world.state(document) is DocumentState.PARSED
    assert producer.queue_lengths()[Queue.INDEX.value] == 1, "parsing wakes the indexer"
    world.indexer.start()
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED)
    assert world.store.count(document.id, document.generation) == 1


def test_small_documents_do_not_wait_for_a_large_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.documents.indexing_schedule.INTERRUPT_SECONDS", 0)
    large = world.add(LARGE)
    small, gone = world.add("A short note."), world.add("One that is deleted.")
    world.parsing.parse(large.id)
    embed = world.service.embed

    def embed_and_add(*texts: Any, **options: Any) -> Any:
        # Given documents that arrive while the large one is being embedded
        if world.state(small) is DocumentState.QUEUED:
            world.parsing.parse(small.id)
            world.catalog.delete_document(gone.id)
        return embed(*texts, **options)

    monkeypatch.setattr(world.service, "embed", embed_and_add)
    world.indexer.start()
    wait_until(lambda: world.state(large) is DocumentState.COMPLETED)
    # Then they are completed before it
    rows = world.catalog.documents_by_id([large.id, small.id, gone.id])
    assert rows[large.id].chunk_count > SHORT_CHUNKS
    assert rows[small.id].completed_at < rows[large.id].completed_at
    assert gone.id not in rows
    assert world.store.count(large.id, large.generation) == rows[large.id].chunk_count
    assert world.store.count(small.id, small.generation) == 1


def test_a_large_document_that_is_deleted_while_it_is_indexed_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.documents.indexing_schedule.INTERRUPT_SECONDS", 0)
    large = world.add(LARGE)
    world.parsing.parse(large.id)
    embed = world.service.embed

    def embed_and_delete(*texts: Any, **options: Any) -> Any:
        vectors = embed(*texts, **options)
        world.catalog.delete_document(large.id)
        return vectors

    monkeypatch.setattr(world.service, "embed", embed_and_delete)
    world.indexer.start()
    wait_until(lambda: not world.catalog.documents_by_id([large.id]))
    assert world.store.count(large.id, large.generation) == 0


def test_a_new_version_replaces_the_old_points(world: World) -> None:
    world.indexer.start()
    document = world.add("The harbour opens at dawn.")
    world.parse(document)
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED)
    blob = world.blobs.put(b"The harbour opens at noon.", "note.txt")
    newer = world.catalog.new_version(
        document.id,
        content_hash=blob.content_hash,
        size_bytes=blob.size_bytes,
        mtime_ns=None,
        inode=None,
        blob_key=blob.key,
    )
    world.parse(document)
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED)
    wait_until(lambda: world.store.count(document.id, document.generation) == 0)
    assert world.store.count(document.id, newer.generation) == 1
    assert world.catalog.active_generations([document.id]) == {document.id: newer.generation}


def test_a_deleted_document_leaves_no_point_and_no_original(world: World) -> None:
    world.indexer.start()
    document = world.add("The harbour opens at dawn.")
    world.parse(document)
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED)
    world.catalog.delete_document(document.id)
    world.indexer.wake()
    wait_until(lambda: not world.catalog.counts_by_state())
    assert world.store.count(document.id, document.generation) == 0
    assert document.blob_key and not world.blobs.path(document.blob_key).exists()


def test_a_wiped_store_is_filled_again_from_the_originals(world: World, tmp_path: Path) -> None:
    world.indexer.start()
    document = world.add("The harbour opens at dawn.")
    world.parse(document)
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED)
    other = EdgeVectorStore(tmp_path / "other", FakeEmbedder.model_name, FakeEmbedder.dimension)
    second = world.another_indexer(other)
    second.start()
    assert world.state(document) is DocumentState.QUEUED
    assert world.catalog.active_generations([document.id]) == {}
    world.indexer.close()
    world.parsing.parse(document.id)
    second.wake()
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED)
    second.close()
    assert other.count(document.id, world.catalog.get_document(document.id).generation) == 1
    other.close()


@pytest.mark.parametrize("left", [None, 0, 1])
def test_chunks_that_a_power_cut_has_destroyed_are_made_again(world: World, left: int | None) -> None:
    document = world.add("# One\n\nThe harbour opens at dawn.\n\n# Two\n\nThe ferry leaves at noon.", "note.md")
    world.parsing.parse(document.id)
    path = world.blobs.chunks_path(document.id, document.generation)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    if left is None:
        world.blobs.delete_chunks(document.id)
    else:
        path.write_bytes(b"".join(lines[:left]))
    world.indexer.start()
    wait_until(lambda: world.state(document) is DocumentState.QUEUED)


def test_a_folder_of_blobs_that_is_not_shared_is_reported_and_ends_the_attempts(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    document = world.add("The harbour opens at dawn.")
    indexer = Indexer(world.catalog, BlobStore(tmp_path / "elsewhere"), world.models, "index@test")
    indexer.start()
    for times in (1, 2, 3):
        world.parsing.parse(document.id)
        indexer.wake()
        wait_until(lambda: world.state(document) in (DocumentState.QUEUED, DocumentState.FAILED))
        assert world.state(document) is (DocumentState.FAILED if times == 3 else DocumentState.QUEUED)
    indexer.close()
    assert "one BLOB_DIR" in (world.catalog.get_document(document.id).error or "")
    assert str(tmp_path / "elsewhere") in caplog.text


def test_the_document_of_a_killed_child_is_released_at_once(world: World) -> None:
    document = world.add("The harbour opens at dawn.")
    assert world.catalog.claim(document.id, "ingest@test:123", **PARSE)
    world.parsing.child_lost([document.id], "signal 9")
    assert world.state(document) is DocumentState.QUEUED


def test_a_rejected_file_fails_with_its_reason(world: World) -> None:
    document = world.add(" \n", "blank.txt")
    world.parsing.parse(document.id)
    failed = world.catalog.get_document(document.id)
    assert failed.state is DocumentState.FAILED and failed.error


def test_many_waiting_documents_are_few_messages(world: World, producer: Producer) -> None:
    limit = producer.max_parse_messages
    documents = [world.add(f"Text number {number}.", f"{number}.txt", str(number)) for number in range(3 * limit)]
    assert send_waiting(world.catalog, producer) == 3 * limit
    assert producer.queue_lengths()[Queue.INGEST.value] == limit, "small ones share a message"
    assert send_waiting(world.catalog, producer) == 0
    producer.records.redis.delete(Queue.INGEST.value)
    world.add("One more.")
    world.parsing.parse(documents[0].id)
    assert producer.queue_lengths()[Queue.INGEST.value] == 1, "a message for the next one is sent after parsing"


def test_documents_that_a_lost_child_had_not_begun_are_sent_again(world: World, producer: Producer) -> None:
    first, second, third = (world.add(f"Text number {number}.", key=str(number)) for number in range(3))
    world.catalog.mark_dispatched([first.id, second.id, third.id])
    world.parsing.parse(first.id)
    assert world.catalog.claim(second.id, "ingest@test:1", **PARSE) is not None
    world.parsing.child_lost([first.id, second.id, third.id], "signal 9")
    states = [world.state(document) for document in (first, second, third)]
    assert states == [DocumentState.PARSED, DocumentState.QUEUED, DocumentState.QUEUED]
    found = world.catalog.documents_by_id([second.id, third.id])
    assert (found[second.id].attempts, found[third.id].attempts) == (1, 0)
    assert producer.queue_lengths()[Queue.INGEST.value] == 2


def test_documents_that_a_lost_child_had_claimed_are_sent_again_one_by_one(world: World, producer: Producer) -> None:
    documents = [world.add(f"Text number {number}.", key=str(number)) for number in range(40)]
    ids = [document.id for document in documents]
    assert len(world.catalog.claim_all(ids[:3], "ingest@test:1", **PARSE)) == 3
    world.parsing.child_lost(ids[:3], "signal 9")
    sent = list(bundles(list(world.catalog.documents_by_id(ids).values()), 32))
    assert sorted(map(len, sent)) == [1, 1, 1, 5, 32]
    assert [ids[:1], ids[1:2], ids[2:3]] == [bundle for bundle in sent if bundle[0] in ids[:3]]


def test_a_slow_file_delays_no_other_of_its_message(
    world: World, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [world.add(f"Text number {number}.", key=str(number)) for number in range(3)]
    seen = []

    def slow(*arguments: Any, **options: Any) -> ParseResult:
        if len(seen) == 1:
            wait_until(lambda: world.state(documents[2]) is DocumentState.QUEUED)
            assert world.state(documents[0]) is DocumentState.PARSED, "known results are recorded"
        seen.append(arguments)
        return parse_to_chunks(*arguments, **options)

    monkeypatch.setattr("tasks.documents.parsing.BUNDLE_SECONDS", 0.5)
    monkeypatch.setattr("tasks.documents.parsing.parse_to_chunks", slow)
    world.catalog.mark_dispatched([document.id for document in documents])
    world.parsing.parse(*[document.id for document in documents])
    states = [world.state(document) for document in documents]
    assert states == [DocumentState.PARSED, DocumentState.PARSED, DocumentState.QUEUED]
    assert world.catalog.get_document(documents[2].id).attempts == 0
    assert producer.queue_lengths()[Queue.INGEST.value] == 1, "the third gets another message"


def test_small_documents_share_batches_and_a_text_is_embedded_once(world: World) -> None:
    documents = [world.add(f"The harbour of town {number % 20} opens at dawn.") for number in range(40)]
    for document in documents:
        world.parsing.parse(document.id)
    world.indexer.start()
    wait_until(lambda: all(world.state(document) is DocumentState.COMPLETED for document in documents))
    batches = cast(FakeEmbedder, world.service.embedder).batches
    assert sum(map(len, batches)) == 20
    assert len(batches) == 2
    found = world.catalog.documents_by_id([document.id for document in documents]).values()
    assert sum(document.chunks_embedded for document in found) == 20


def test_a_document_that_cannot_be_embedded_delays_no_other(world: World) -> None:
    documents = [world.add(text) for text in ("The harbour opens at dawn.", "poison", "The ferry leaves at noon.")]
    for document in documents:
        world.parsing.parse(document.id)
    world.indexer.start()
    wait_until(lambda: [world.state(one) is DocumentState.COMPLETED for one in documents] == [True, False, True])


def shorten_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten leases, pauses and the time between interruptions to a tenth of a second."""
    for module in ("indexer", "index_run"):
        monkeypatch.setattr(f"tasks.documents.{module}.LEASE_SECONDS", 0.1)
    for name in ("IDLE_SECONDS", "FAULT_PAUSE_SECONDS", "INTERRUPT_SECONDS"):
        monkeypatch.setattr(f"tasks.documents.indexing_schedule.{name}", 0.1)


def test_a_document_that_cannot_be_indexed_fails_once_others_have_been(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_intervals(monkeypatch)
    monkeypatch.setattr("tasks.documents.indexer.MAX_INDEX_ATTEMPTS", 1000)
    culprit = world.add("poison")
    world.parse(culprit)
    world.indexer.start()
    # While nothing else is indexed, the store may be at fault.
    wait_until(lambda: world.catalog.get_document(culprit.id).attempts > 1)
    assert world.state(culprit) is not DocumentState.FAILED
    world.parse(world.add("The harbour opens at dawn."))
    wait_until(lambda: world.state(culprit) is DocumentState.FAILED)
    failed = world.catalog.get_document(culprit.id)
    assert (failed.error, failed.error_code) == ("It could not be indexed: poisoned", "not_indexed")


def test_documents_are_grouped_by_their_chunks() -> None:
    def claim(chunks: int) -> Claim:
        return Claim(cast(Document, SimpleNamespace(chunk_count=chunks)), 1)

    groups = grouped([claim(chunks) for chunks in (1, 63, 1, 500, 2, 3)])
    assert [[one.document.chunk_count for one in group] for group in groups] == [[1, 63], [1], [500], [2, 3]]
    assert list(grouped([])) == []


def test_a_fault_of_a_small_document_does_not_affect_a_large_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_intervals(monkeypatch)
    poison, large = world.add("poison"), world.add(LARGE)
    world.parse(poison)
    world.parse(large)
    world.indexer.start()
    wait_until(lambda: world.state(large) is DocumentState.COMPLETED)
    wait_until(lambda: world.state(poison) is DocumentState.FAILED)


def test_a_message_does_not_make_the_indexer_spin_while_it_pauses_after_a_fault(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule, actions = world.indexer._schedule, []
    next_action = schedule.next_action

    def record(*arguments: Any) -> Action:
        actions.append(next_action(*arguments))
        return actions[-1]

    monkeypatch.setattr(schedule, "next_action", record)
    schedule.failed(time.monotonic())
    world.indexer.wake()
    world.indexer.start()
    wait_until(lambda: any(isinstance(action, Poll) for action in actions))
    assert len(actions) < 10


def test_an_idle_indexer_takes_no_write_lock_and_asks_little(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.documents.indexing_schedule.BUSY_SECONDS", 0)
    document = world.add("The harbour opens at dawn.")
    world.parse(document)
    world.indexer.start()
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED)
    polls, statements = 0, []
    polled = world.indexer._schedule.polled

    def count(now: float, *, found: bool) -> None:
        nonlocal polls
        polls += 1
        polled(now, found=found)
        world.indexer.wake()

    def collect(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    monkeypatch.setattr(world.indexer._schedule, "polled", count)
    world.indexer.wake()
    wait_until(lambda: polls >= 2)  # the first one may still have found the end of the document
    event.listen(world.catalog._engine, "before_cursor_execute", collect)
    first = polls
    wait_until(lambda: polls >= first + 10)
    event.remove(world.catalog._engine, "before_cursor_execute", collect)
    assert "BEGIN IMMEDIATE" not in statements
    assert len(statements) <= 4 * (polls - first + 1), "a poll asks for the placements and for work"


def test_the_points_of_a_renamed_document_get_its_new_path(world: World) -> None:
    document = world.add("The harbour opens at dawn.")
    world.parse(document)
    world.indexer.start()
    wait_until(lambda: world.state(document) is DocumentState.COMPLETED)
    world.catalog.move_document(document.id, path="b/note.txt", filename="note.txt", mtime_ns=None, inode=None)
    world.indexer.wake()
    wait_until(lambda: world.catalog.moved_documents(1) == [])
    assert world.state(document) is DocumentState.COMPLETED


def test_an_outage_is_the_fault_of_no_document(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.documents.indexing_schedule.FAULT_PAUSE_SECONDS", 0.01)
    documents = [world.add(f"The harbour of town {number} opens at dawn.") for number in range(3)]
    count, upsert = [0], world.store.upsert

    def fail_at_first(points: Any) -> None:
        count[0] += 1
        if count[0] <= 30:
            raise Unavailable("The store does not answer.")
        upsert(points)

    monkeypatch.setattr(world.store, "upsert", fail_at_first)
    for document in documents:
        world.parse(document)
    world.indexer.start()
    wait_until(lambda: all(world.state(document) is DocumentState.COMPLETED for document in documents))
    found = world.catalog.documents_by_id([document.id for document in documents]).values()
    assert [document.attempts for document in found] == [0, 0, 0]
