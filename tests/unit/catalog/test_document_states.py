"""A document that is being deleted stays so until it is gone, whatever is called, in whatever order, by whomever."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.catalog import (
    Catalog,
    Claim,
    Document,
    DocumentState,
    Indexed,
    NewDocument,
    Parsed,
    Refused,
    Released,
    Source,
    StoreRecord,
)
from core.catalog.tables import documents
from core.errors import Conflict, NotFound
from tests.unit.catalog.conftest import Clock

Add = Callable[..., Document]
STAGES: list[dict[str, Any]] = [
    {"expected": DocumentState.QUEUED, "claimed": DocumentState.PARSING},
    {"expected": DocumentState.PARSED, "claimed": DocumentState.INDEXING},
    {"expected": DocumentState.DELETING, "claimed": DocumentState.DELETING},
]
STAT: dict[str, Any] = {"size_bytes": 11, "mtime_ns": 2, "inode": 2}
GONE = (DocumentState.DELETING, DocumentState.DELETED)
STORES = [StoreRecord("store-1", "minilm", 384), StoreRecord("store-2", "bge", 768)]


class History:
    """Calls of the catalog on a few documents. Claims are never forgotten, so that most of them are stale."""

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self.catalog = catalog
        self.clock = clock
        self.ids: list[str] = []
        self.claims: list[Claim] = []

    def states(self) -> dict[str, tuple[DocumentState, int | None]]:
        query = sa.select(documents.c.id, documents.c.state, documents.c.active_generation)
        with self.catalog._read() as connection:
            rows = connection.execute(query)
            return {row.id: (DocumentState(row.state), row.active_generation) for row in rows}

    def step(self, action: str, number: int, choice: int) -> None:
        with suppress(NotFound, Conflict):
            getattr(self, action)(number, choice)

    def document(self, number: int) -> str:
        return self.ids[number % len(self.ids)] if self.ids else "doc-none"

    def new(self, number: int, choice: int, **changes: Any) -> NewDocument:
        values = {"collection": "default", "filename": f"{number}.txt", "source": Source.UPLOAD, "size_bytes": 1}
        return NewDocument(**values | {"content_hash": f"{choice:064}", "path": f"{number}.txt"} | changes)

    # Producers and readers

    def upload(self, number: int, choice: int) -> None:
        self.ids.append(self.catalog.add_document(self.new(number, choice)).id)

    def replace(self, number: int, choice: int) -> None:
        self.ids.append(self.catalog.replace_document(self.new(number, choice))[0].id)

    def drop_file(self, number: int, choice: int) -> None:
        self.ids += self.catalog.add_files([self.new(number, choice, source=Source.WATCH, root="/inbox")])

    def change_content(self, number: int, choice: int) -> None:
        self.catalog.new_version(self.document(number), content_hash=f"{choice:064}", **STAT)

    def touch(self, number: int, choice: int) -> None:
        self.catalog.touch_source(self.document(number), **STAT)

    def move(self, number: int, choice: int) -> None:
        path = f"{choice}.txt"
        self.catalog.move_document(self.document(number), path=path, filename=path, mtime_ns=1, inode=1)

    def copy_original(self, number: int, choice: int) -> None:
        self.catalog.store_original(self.document(number), "ab/blob-ab.txt")

    def delete(self, number: int, choice: int) -> None:
        self.catalog.delete_document(self.document(number))

    def delete_file(self, number: int, choice: int) -> None:
        self.catalog.delete_documents([self.document(number)])

    def delete_collection(self, number: int, choice: int) -> None:
        self.catalog.delete_collection("default")

    def retry(self, number: int, choice: int) -> None:
        self.catalog.retry_document(self.document(number))

    def cancel(self, number: int, choice: int) -> None:
        self.catalog.cancel_document(self.document(number))

    def change_all(self, number: int, choice: int) -> None:
        rechunk = {"chunk_tokens": self.clock.now}
        calls: list[Callable[[], object]] = [
            self.catalog.retry_failed,
            self.catalog.cancel_unsettled,
            lambda: self.catalog.update_collection("default", rechunk),
        ]
        calls[choice % len(calls)]()

    # Workers

    def claim(self, number: int, choice: int) -> None:
        claim = self.catalog.claim(self.document(number), f"worker:{choice}", **STAGES[choice % 3])
        self.claims += [claim] if claim else []

    def claim_next(self, number: int, choice: int) -> None:
        self.claims += self.catalog.claim_next(f"worker:{number}", **STAGES[choice % 3], limit=1 + number % 2)

    def end_claim(self, number: int, choice: int) -> None:
        if not self.claims:
            return
        claim = self.claims[-1 - number % len(self.claims)]
        calls: list[Callable[[], object]] = [
            lambda: self.catalog.advance(claim, DocumentState.PARSED, chunk_count=1),
            lambda: self.catalog.activate(claim, 1),
            lambda: self.catalog.release(claim, DocumentState.QUEUED),
            lambda: self.catalog.release(claim, DocumentState.PARSED),
            lambda: self.catalog.fail(claim, "no"),
            lambda: self.catalog.finish_delete(claim),
            lambda: self.catalog.end_parsing([Parsed(claim, 1, "text/plain")]),
            lambda: self.catalog.end_parsing([Refused(claim, "no")]),
            lambda: self.catalog.end_parsing([Released(claim)]),
            lambda: self.catalog.renew(claim),
            lambda: self.catalog.activate_all([Indexed(claim, 1, 1, choice)]),
            lambda: self.catalog.parse_again(claim),
        ]
        calls[choice % len(calls)]()

    def lose_worker(self, number: int, choice: int) -> None:
        self.clock.advance(31)
        self.catalog.reclaim(f"worker:{number}", **STAGES[choice % 3])

    def move_collection(self, number: int, choice: int) -> None:
        key = self.catalog.get_collection("default").id
        calls: list[Callable[[], object]] = [
            lambda: self.catalog.place_collection(key, STORES[number % 2]),
            lambda: self.catalog.replace_collection(key, STORES[number % 2]),
            lambda: self.catalog.begin_move(key, STORES[number % 2]),
            lambda: self.catalog.queue_for_next(2),
            lambda: self.catalog.finish_move(key),
        ]
        calls[choice % len(calls)]()


ACTIONS = [name for name in vars(History) if name not in ("states", "step", "document", "new") and name[0] != "_"]
STEPS = st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(0, 5), st.integers(0, 11)), max_size=50)


@pytest.fixture
def compacted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let counts be added up even if there are few."""
    monkeypatch.setattr("core.catalog.progress.COUNT_ROWS", 0)
    monkeypatch.setattr(Catalog, "_compacted_rows", 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_call_brings_a_document_back_that_is_being_deleted(
    catalog: Catalog, clock: Clock, compacted: None, steps: list[tuple[str, int, int]]
) -> None:
    with catalog._write() as connection:
        connection.execute(sa.delete(documents))
    history = History(catalog, clock)
    # Without these, few examples would have something to delete.
    history.upload(0, 0)
    history.delete(0, 0)
    history.claim(0, 2)
    history.drop_file(1, 1)
    before = history.states()
    for step in steps:
        history.step(*step)
        after = history.states()
        for document_id, (state, _) in before.items():
            if state in GONE:
                assert after[document_id][0] in GONE[GONE.index(state) :], step
        assert all(active is None for state, active in after.values() if state in GONE), step
        before = after
    check_counts(catalog)
    catalog.compact_counts()
    check_counts(catalog)


def check_counts(catalog: Catalog) -> None:
    """Compare the counts that triggers keep with the documents themselves."""
    with catalog._read() as connection:
        rows = connection.execute(sa.select(documents)).all()
    alive = [row for row in rows if row.state not in GONE]
    assert catalog.counts_by_state() == Counter(row.state for row in rows if row.state != DocumentState.DELETED)
    known = {one.id: one.name for one in catalog.list_collections()}
    for coverage in catalog.coverage():
        mine = [row for row in alive if known.get(row.collection_id) == coverage.collection]
        searchable = [row.generation == row.active_generation for row in mine if row.active_generation is not None]
        assert (coverage.documents, coverage.indexed, coverage.stale) == (
            len(mine),
            searchable.count(True),
            searchable.count(False),
        )
        assert coverage.chunks == sum(row.chunk_count for row in mine)
        assert coverage.size_bytes == sum(row.size_bytes for row in mine)
        assert coverage.failed == Counter(row.error for row in mine if row.state == DocumentState.FAILED)
        assert coverage.skipped == Counter(row.error for row in mine if row.state == DocumentState.CANCELLED)


@pytest.mark.parametrize("state", [DocumentState.QUEUED, DocumentState.PARSED])
def test_the_claim_of_a_deletion_cannot_be_released_into_another_state(
    catalog: Catalog, add: Add, state: DocumentState
) -> None:
    document = add()
    catalog.delete_document(document.id)
    (claim,) = catalog.claim_next("index", **STAGES[2], limit=1)
    assert not catalog.release(claim, state)
    assert catalog.get_document(document.id).state is DocumentState.DELETING
    assert catalog.finish_delete(claim)


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Call in so many threads at once, and return the results in order."""
    start = threading.Barrier(count)

    def run(number: int) -> Any:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


def test_replacements_at_once_are_versions_of_one_document(catalog: Catalog) -> None:
    def replace(number: int) -> tuple[Document, str | None]:
        new = NewDocument("default", "a.txt", Source.UPLOAD, f"{number:064}", 1, f"ab/blob-{number}", path="a.txt")
        return catalog.replace_document(new)

    for _ in range(3):
        answers = at_once(8, replace)
        assert len({document.id for document, _ in answers}) == 1
        document = catalog.get_document(answers[0][0].id)
        # Every original but the present one was given back to be removed, each once.
        unneeded = [key for _, key in answers if key is not None]
        assert len(set(unneeded)) == len(unneeded)
        catalog.delete_document(document.id)
        assert {document.blob_key, *unneeded} == {f"ab/blob-{number}" for number in range(8)}


def test_a_change_at_the_same_time_as_a_deletion_does_not_undo_it(catalog: Catalog, add_file: Add) -> None:
    for number in range(20):
        document = add_file(f"{number}.txt")

        def act(thread: int, document: Document = document) -> None:
            with suppress(NotFound, Conflict):
                if thread == 0:
                    catalog.delete_document(document.id)
                elif thread == 1:
                    catalog.new_version(document.id, content_hash="b" * 64, **STAT)
                elif thread == 2:
                    catalog.move_document(document.id, path=f"m-{document.path}", filename="m", mtime_ns=1, inode=1)
                else:
                    catalog.cancel_document(document.id)

        at_once(4, act)
        assert catalog.get_document(document.id).state is DocumentState.DELETING


def test_a_document_that_is_added_while_its_collection_is_deleted_is_not_lost_in_it(catalog: Catalog) -> None:
    for number in range(10):
        catalog.ensure_collection("c")

        def act(thread: int, number: int = number) -> str | None:
            if thread == 0:
                catalog.delete_collection("c")
                return None
            new = NewDocument("c", "a.txt", Source.UPLOAD, f"{number:032}{thread:032}", 1)
            return catalog.add_document(new).id

        ids = [document_id for document_id in at_once(4, act) if document_id]
        names = {row.id for row in catalog.list_collections()}
        for document in catalog.documents_by_id(ids).values():
            assert document.state is DocumentState.DELETING or document.collection == "c", names


def test_of_many_retries_at_once_one_succeeds(catalog: Catalog, add_file: Add) -> None:
    for number in range(5):
        document = add_file(f"{number}.txt")
        catalog.cancel_document(document.id)

        def retry(_: int, document: Document = document) -> bool:
            try:
                catalog.retry_document(document.id)
            except Conflict:
                return False
            return True

        assert sum(at_once(4, retry)) == 1
