"""Claims: one worker at a time, and a worker that lost its claim can change nothing."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

from core.catalog import (
    Activation,
    Catalog,
    Claim,
    Document,
    DocumentState,
    Indexed,
    Parsed,
    Refused,
    Released,
    StoreRecord,
)
from tests.unit.catalog.conftest import Clock

Add = Callable[..., Document]
PARSE: dict[str, Any] = {"expected": DocumentState.QUEUED, "claimed": DocumentState.PARSING}
INDEX: dict[str, Any] = {"expected": DocumentState.PARSED, "claimed": DocumentState.INDEXING}
DELETE: dict[str, Any] = {"expected": DocumentState.DELETING, "claimed": DocumentState.DELETING}


def complete(catalog: Catalog, document: Document) -> Document:
    assert catalog.advance(claimed(catalog, document), DocumentState.PARSED)
    assert catalog.activate(claimed(catalog, document, INDEX), 1)
    return document


def claimed(catalog: Catalog, document: Document, stage: dict[str, Any] = PARSE, worker: str = "worker") -> Claim:
    claim = catalog.claim(document.id, worker, **stage)
    assert claim is not None
    return claim


def test_a_document_is_claimed_once(catalog: Catalog, add: Add) -> None:
    document = add()
    claim = claimed(catalog, document)
    assert claim.document == catalog.get_document(document.id)
    assert claim.document.state is DocumentState.PARSING
    assert catalog.claim(document.id, "other", **PARSE) is None
    assert catalog.claim(document.id, "other", **INDEX) is None
    assert catalog.claim("doc-none", "other", **PARSE) is None


def test_several_are_claimed_and_ended_at_once(catalog: Catalog, add: Add, clock: Clock) -> None:
    first, second, third, fourth = (add() for _ in range(4))
    claimed(catalog, second)
    claims = catalog.claim_all([third.id, second.id, first.id, "doc-none", fourth.id], "w", **PARSE)
    assert [claim.document.id for claim in claims] == [third.id, first.id, fourth.id]
    assert catalog.claim_all([], "w", **PARSE) == []
    clock.advance(31)
    claimed(catalog, first, worker="other")
    read, refused = Parsed(claims[0], 2, "text/plain", {"pages": "3"}), Refused(claims[2], "no \0", "empty_file")
    catalog.end_parsing([read, Parsed(claims[1], 9, "text/plain"), refused])
    found = catalog.documents_by_id([third.id, first.id, fourth.id])
    assert found[first.id].state is DocumentState.PARSING, "it was taken over"
    done = found[third.id]
    assert (done.state, done.chunk_count, done.properties) == (DocumentState.PARSED, 2, {"pages": "3"})
    failed = found[fourth.id]
    assert (failed.state, failed.error, failed.error_code) == (DocumentState.FAILED, "no ", "empty_file")


def test_a_document_that_is_released_by_the_parser_waits_as_before(catalog: Catalog, add: Add) -> None:
    document = add()
    catalog.mark_dispatched([document.id])
    catalog.end_parsing([Released(claimed(catalog, document))])
    again = catalog.get_document(document.id)
    assert (again.state, again.attempts, again.dispatched_at) == (DocumentState.QUEUED, 0, None)
    catalog.end_parsing([])


def test_a_claim_holds_as_long_as_it_is_renewed(catalog: Catalog, add: Add, clock: Clock) -> None:
    document = add()
    claim = claimed(catalog, document)
    clock.advance(25)
    assert catalog.renew(claim)
    clock.advance(25)
    assert catalog.claim(document.id, "other", **PARSE) is None
    clock.advance(6)
    taken_over = claimed(catalog, document, worker="other")
    assert taken_over.token > claim.token
    assert taken_over.document.attempts == 1
    assert not catalog.renew(claim)


@pytest.mark.parametrize(
    "act",
    [
        lambda catalog, claim: catalog.renew(claim),
        lambda catalog, claim: catalog.advance(claim, DocumentState.PARSED),
        lambda catalog, claim: catalog.release(claim, DocumentState.QUEUED),
        lambda catalog, claim: catalog.activate(claim, 1),
        lambda catalog, claim: catalog.fail(claim, "no"),
        lambda catalog, claim: catalog.finish_delete(claim),
    ],
)
@pytest.mark.parametrize("fence", ["taken over", "new version", "deleted", "finished", "reindexed"])
def test_a_lost_claim_changes_nothing(
    catalog: Catalog, add_file: Add, clock: Clock, act: Callable[[Catalog, Claim], bool], fence: str
) -> None:
    document = add_file("a.txt")
    claim = claimed(catalog, document)
    match fence:
        case "taken over":
            clock.advance(31)
            claimed(catalog, document, worker="other")
        case "new version":
            catalog.new_version(document.id, content_hash="b" * 64, size_bytes=1, mtime_ns=2, inode=3)
        case "deleted":
            catalog.delete_document(document.id)
        case "finished":
            assert catalog.advance(claim, DocumentState.PARSED)
        case "reindexed":
            catalog.replace_collection(catalog.get_collection("default").id, StoreRecord("s", "m", 4))
    before = catalog.get_document(document.id)
    assert not act(catalog, claim)
    assert catalog.get_document(document.id) == before


def test_a_claim_still_holds_after_its_lease_if_no_worker_took_over(catalog: Catalog, add: Add, clock: Clock) -> None:
    claim = claimed(catalog, add())
    clock.advance(100)
    assert catalog.advance(
        claim, DocumentState.PARSED, chunk_count=2, media_type="text/plain", properties={"pages": "2"}
    )
    document = catalog.get_document(claim.document.id)
    assert (document.chunk_count, document.media_type, document.properties) == (2, "text/plain", {"pages": "2"})


def test_a_document_that_crashes_three_workers_fails(catalog: Catalog, add: Add, clock: Clock) -> None:
    document, other = add(), add()
    for _ in range(3):
        claimed(catalog, document)
        clock.advance(31)
    assert catalog.claim(document.id, "worker", **PARSE) is None
    failed = catalog.get_document(document.id)
    assert (failed.state, failed.attempts) == (DocumentState.FAILED, 3)
    assert "crashed its worker 3 times" in (failed.error or "")
    claimed(catalog, other)


def test_the_success_of_a_stage_resets_the_attempts(catalog: Catalog, add: Add, clock: Clock) -> None:
    document = add()
    claimed(catalog, document)
    clock.advance(31)
    claim = claimed(catalog, document)
    assert claim.document.attempts == 1
    catalog.advance(claim, DocumentState.PARSED)
    assert claimed(catalog, document, INDEX).document.attempts == 0


def test_the_claims_of_a_dead_child_end_at_once(catalog: Catalog, add: Add) -> None:
    document, other = add(), add()
    claimed(catalog, other, worker="w:8")
    for attempt in (1, 2):
        claimed(catalog, document, worker="w:7")
        assert catalog.reclaim("another", **PARSE, document_id=document.id) == 0
        assert catalog.reclaim("w", **PARSE, document_id=document.id) == 1
        lost = catalog.get_document(document.id)
        assert (lost.state, lost.attempts) == (DocumentState.QUEUED, attempt)
    claimed(catalog, document, worker="w:7")
    catalog.reclaim("w", **PARSE, document_id=document.id)
    assert catalog.get_document(document.id).state is DocumentState.FAILED
    assert catalog.get_document(other.id).state is DocumentState.PARSING


def test_a_worker_reclaims_its_own_claims_at_its_start(catalog: Catalog, add: Add) -> None:
    document, other = add(), add()
    for item in (document, other):
        catalog.advance(claimed(catalog, item), DocumentState.PARSED)
    claim = claimed(catalog, document, INDEX, worker="indexer")
    assert catalog.reclaim("index", **INDEX) == 0, "a longer name belongs to another worker"
    assert catalog.reclaim("indexer", **INDEX) == 1
    assert not catalog.renew(claim)
    again = catalog.claim_next("indexer", **INDEX, limit=9)
    assert [(item.document.id, item.document.attempts) for item in again] == [(document.id, 1), (other.id, 0)]


def test_a_released_document_is_as_before(catalog: Catalog, add: Add) -> None:
    document = add()
    catalog.mark_dispatched([document.id])
    assert catalog.release(claimed(catalog, document), DocumentState.QUEUED)
    released = catalog.get_document(document.id)
    assert (released.state, released.attempts, released.dispatched_at) == (DocumentState.QUEUED, 0, None)


def test_a_deletion_never_fails(catalog: Catalog, add: Add, clock: Clock) -> None:
    document = add()
    catalog.delete_document(document.id)
    for _ in range(5):
        claim = claimed(catalog, document, DELETE)
        clock.advance(31)
    assert catalog.finish_delete(claim)


def test_the_oldest_are_claimed_first(catalog: Catalog, add: Add) -> None:
    ids = [add().id for _ in range(5)]
    first = catalog.claim_next("w", **PARSE, limit=3)
    second = catalog.claim_next("w", **PARSE, limit=3)
    assert [claim.document.id for claim in first + second] == ids
    assert catalog.claim_next("w", **PARSE, limit=3) == []


def test_documents_that_come_one_by_one_go_before_those_of_a_whole_collection(catalog: Catalog, add: Add) -> None:
    old = [complete(catalog, add()) for _ in range(3)]
    failed = add()
    catalog.fail(claimed(catalog, failed), "damaged")
    catalog.update_collection("default", {"chunk_tokens": 100})
    catalog.retry_failed()
    new = add()
    queue = [document.id for document in (new, *old, failed)]
    assert [document.id for document in catalog.dispatchable(9)] == queue
    assert [catalog.waiting_before(catalog.get_document(key)) for key in queue] == [0, 1, 2, 3, 4]
    for claim in catalog.claim_next("w", **PARSE, limit=9):
        catalog.advance(claim, DocumentState.PARSED)
    assert [claim.document.id for claim in catalog.claim_next("w", **INDEX, limit=9)] == queue
    # A person asks for one of them: it no longer waits behind the others.
    catalog.cancel_document(old[2].id)
    catalog.retry_document(old[2].id)
    assert [claim.document.id for claim in catalog.claim_next("w", **PARSE, limit=1)] == [old[2].id]


def test_a_document_whose_chunks_are_missing_again_and_again_fails(catalog: Catalog, add: Add, clock: Clock) -> None:
    document = add()
    for times in (1, 2, 3):
        waits = catalog.dispatchable(1) == []
        assert waits == (times == 3), "the first time it is sent again at once"
        clock.advance(31)
        assert [one.id for one in catalog.dispatchable(1)] == [document.id]
        catalog.advance(claimed(catalog, document), DocumentState.PARSED, chunk_count=1)
        assert catalog.parse_again(claimed(catalog, document, INDEX))
    failed = catalog.get_document(document.id)
    assert (failed.state, failed.error_code) == (DocumentState.FAILED, "chunks_missing")
    assert "BLOB_DIR" in (failed.error or "") and "3 times" in (failed.error or "")
    assert catalog.retry_document(document.id).chunks_missing == 0


def test_points_in_stores_that_a_collection_has_left_are_not_activated(catalog: Catalog, add: Add) -> None:
    here, there = StoreRecord("store-1", "minilm", 384), StoreRecord("store-2", "bge", 768)
    document = add()
    collection = catalog.get_collection("default")
    catalog.place_collection(collection.id, here)
    placement = catalog.get_collection("default").placement
    catalog.advance(claimed(catalog, document), DocumentState.PARSED)
    claim = claimed(catalog, document, INDEX)
    catalog.begin_move(collection.id, there)
    assert catalog.activate_all([Indexed(claim, 1, 1, placement)]) == [Activation.MISPLACED]
    assert catalog.release(claim, DocumentState.PARSED), "the claim still holds"
    assert catalog.activate_all([Indexed(claim, 1, 1, placement)]) == [Activation.FENCED]
    claim = claimed(catalog, document, INDEX)
    placement = catalog.get_collection("default").placement
    assert catalog.activate_all([Indexed(claim, 1, 1, placement)]) == [Activation.ACTIVE]
    assert catalog.queue_for_next(9) == 0, "it is in both stores"
    assert catalog.finish_move(collection.id) == 0
    catalog.begin_move(collection.id, here)
    assert catalog.finish_move(collection.id) is None
    assert catalog.queue_for_next(9) == 1, "another move begins anew"


def test_claims_can_be_limited_to_small_documents(catalog: Catalog, add: Add, clock: Clock) -> None:
    documents = [add() for _ in range(3)]
    for document, chunks in zip(documents, (65, 64, 0), strict=True):
        catalog.advance(claimed(catalog, document), DocumentState.PARSED, chunk_count=chunks)
    small = [documents[1].id, documents[2].id]
    assert [claim.document.id for claim in catalog.claim_next("w", **INDEX, limit=9, max_chunks=64)] == small
    assert [claim.document.id for claim in catalog.claim_next("w", **INDEX, limit=9)] == [documents[0].id]
    clock.advance(31)
    assert [claim.document.id for claim in catalog.claim_next("w", **INDEX, limit=9, max_chunks=64)] == small


def test_claiming_many_fails_documents_that_crash_workers(catalog: Catalog, add: Add, clock: Clock) -> None:
    for _ in range(2):
        add()
    for _ in range(3):
        assert len(catalog.claim_next("w", **PARSE, limit=9)) == 2
        clock.advance(31)
    assert catalog.claim_next("w", **PARSE, limit=9) == []
    assert catalog.counts_by_state() == {"failed": 2}


def test_documents_without_a_recent_message_are_dispatchable(catalog: Catalog, add: Add, clock: Clock) -> None:
    queued, running, abandoned = add(), add(), add()
    assert [document.id for document in catalog.dispatchable(10)] == [queued.id, running.id, abandoned.id]
    assert len(catalog.dispatchable(2)) == 2
    catalog.mark_dispatched([queued.id, running.id, abandoned.id])
    assert catalog.dispatchable(10) == []
    claim = claimed(catalog, running)
    claimed(catalog, abandoned)
    clock.advance(31)
    catalog.renew(claim)
    assert [document.id for document in catalog.dispatchable(10)] == [abandoned.id, queued.id]
    catalog.mark_dispatched([abandoned.id])
    assert [document.id for document in catalog.dispatchable(10)] == [queued.id]


def claim_all(url: str, worker: str) -> list[str]:
    """Claim documents one by one until none is left. Runs in threads and in processes."""
    catalog = Catalog.open(url)
    taken = []
    while claims := catalog.claim_next(worker, **PARSE, limit=1):
        taken += [claim.document.id for claim in claims if catalog.advance(claim, DocumentState.PARSED)]
    catalog.close()
    return taken


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_no_document_is_claimed_twice(catalog: Catalog, database_url: str, add: Add, pool: Any) -> None:
    ids = [add().id for _ in range(150)]
    context = {"mp_context": multiprocessing.get_context("spawn")} if pool is ProcessPoolExecutor else {}
    with pool(3, **context) as workers:
        futures = [workers.submit(claim_all, database_url, f"worker-{number}") for number in range(3)]
        taken = [document_id for future in futures for document_id in future.result()]
    assert Counter(taken) == Counter(ids)


def test_one_document_is_claimed_by_one_of_many(catalog: Catalog, add: Add) -> None:
    document = add()
    start = threading.Barrier(8)

    def claim(worker: str) -> Claim | None:
        start.wait()
        return catalog.claim(document.id, worker, **PARSE)

    with ThreadPoolExecutor(8) as workers:
        claims = list(workers.map(claim, map(str, range(8))))
    assert sum(claim is not None for claim in claims) == 1
