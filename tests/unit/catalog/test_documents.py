"""Documents, as their producers and readers see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.catalog import Catalog, Document, DocumentState, NewDocument, Source, StoreRecord
from core.errors import Conflict, InvalidRequest, NotFound

Add = Callable[..., Document]
STAT: dict[str, Any] = {"size_bytes": 11, "mtime_ns": 2, "inode": 2}


def complete(catalog: Catalog, document: Document) -> Document:
    states = [(DocumentState.QUEUED, DocumentState.PARSING), (DocumentState.PARSED, DocumentState.INDEXING)]
    for expected, claimed in states:
        claim = catalog.claim(document.id, "worker", expected=expected, claimed=claimed)
        assert claim is not None
        if claimed is DocumentState.PARSING:
            assert catalog.advance(claim, DocumentState.PARSED, chunk_count=3, media_type="text/plain")
        else:
            assert catalog.activate(claim, 3)
    return catalog.get_document(document.id)


def test_a_new_document_is_queued(catalog: Catalog, add: Add) -> None:
    document = add(attributes={"year": 2024, "tags": ["ä", "\0"]}, blob_key="ab/blob-ab.txt")
    assert document == catalog.get_document(document.id)
    assert (document.state, document.generation, document.active_generation) == (DocumentState.QUEUED, 1, None)
    assert document.attributes == {"year": 2024, "tags": ["ä", "\0"]}
    assert document.source_path is None


def test_an_unknown_document_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound) as raised:
        catalog.get_document("doc-none")
    assert raised.value.param == "document_id"


def test_the_same_idempotency_key_is_the_same_document(catalog: Catalog, add: Add) -> None:
    first = add(idempotency_key="k")
    assert add(idempotency_key="k", filename="other.txt") == first
    assert add(idempotency_key="l").id != first.id
    catalog.delete_document(first.id)
    assert add(idempotency_key="k").id != first.id


def test_uploads_of_one_name_are_several_documents(add: Add) -> None:
    assert add(path="a.txt").id != add(path="a.txt").id


def test_a_file_added_again_is_touched_or_a_new_generation(catalog: Catalog, add_file: Add) -> None:
    first = complete(catalog, add_file("a.txt"))
    touched = add_file("a.txt", mtime_ns=5)
    assert (touched.id, touched.generation, touched.mtime_ns) == (first.id, 1, 5)
    changed = add_file("a.txt", content_hash="b" * 64)
    assert (changed.id, changed.generation, changed.active_generation) == (first.id, 2, 1)
    assert changed.state is DocumentState.QUEUED
    other = add_file("a.txt", content_hash="b" * 64, collection="other")
    assert (other.id, other.generation, other.collection) == (first.id, 3, "other")


def test_many_files_are_added_at_once(catalog: Catalog, add_file: Add) -> None:
    known = complete(catalog, add_file("b.txt"))

    def new(path: str, content_hash: str = "a" * 64, root: str = "/inbox") -> NewDocument:
        return NewDocument("default", path, Source.WATCH, content_hash, 10, root=root, path=path, mtime_ns=7, inode=1)

    ids = catalog.add_files([new("a.txt"), new("b.txt", "b" * 64), new("c.txt"), new("b.txt", root="/other")])
    found = catalog.documents_by_id(ids)
    assert [(found[key].root, found[key].path) for key in ids] == [
        ("/inbox", "a.txt"), ("/inbox", "b.txt"), ("/inbox", "c.txt"), ("/other", "b.txt")
    ]  # fmt: skip
    assert ids[1] == known.id and found[ids[1]].generation == 2
    assert {found[key].state for key in ids} == {DocumentState.QUEUED}
    assert catalog.add_files([]) == []


def test_a_new_version_keeps_the_old_one_searchable(catalog: Catalog, add_file: Add) -> None:
    document = complete(catalog, add_file("a.txt"))
    changed = catalog.new_version(document.id, content_hash="b" * 64, **STAT)
    assert (changed.state, changed.generation) == (DocumentState.QUEUED, 2)
    assert catalog.active_generations([document.id, "doc-none"]) == {document.id: 1}
    assert complete(catalog, changed).active_generation == 2


def test_touching_a_file_changes_only_its_state(catalog: Catalog, add_file: Add) -> None:
    document = complete(catalog, add_file("a.txt"))
    touched = catalog.touch_source(document.id, **STAT)
    assert (touched.state, touched.generation) == (DocumentState.COMPLETED, 1)
    assert (touched.size_bytes, touched.mtime_ns, touched.inode) == (11, 2, 2)


def test_a_move_keeps_the_document_and_marks_its_points_as_old(catalog: Catalog, add_file: Add) -> None:
    document = complete(catalog, add_file("a.txt"))
    moved = catalog.move_document(document.id, path="sub/b.txt", filename="b.txt", mtime_ns=1, inode=1)
    assert (moved.state, moved.active_generation, moved.path) == (DocumentState.COMPLETED, 1, "sub/b.txt")
    assert moved.source_path == Path("/inbox/sub/b.txt")
    assert catalog.moved_documents(10) == [moved]
    again = catalog.move_document(document.id, path="c.txt", filename="c.txt", mtime_ns=1, inode=1)
    catalog.confirm_moved([moved])
    assert catalog.moved_documents(10) == [again], "it has been moved again since"
    catalog.confirm_moved([again])
    assert catalog.moved_documents(10) == []


@pytest.mark.parametrize(
    ("expected", "claimed", "after"),
    [
        (DocumentState.QUEUED, DocumentState.PARSING, DocumentState.QUEUED),
        (DocumentState.PARSED, DocumentState.INDEXING, DocumentState.PARSED),
    ],
)
def test_a_move_restarts_a_stage_that_a_worker_is_in(
    catalog: Catalog, add_file: Add, expected: DocumentState, claimed: DocumentState, after: DocumentState
) -> None:
    document = add_file("a.txt")
    parse = catalog.claim(document.id, "w", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
    assert parse is not None
    if expected is DocumentState.PARSED:
        catalog.advance(parse, DocumentState.PARSED)
        assert catalog.claim(document.id, "w", expected=expected, claimed=claimed)
    moved = catalog.move_document(document.id, path="b.txt", filename="b.txt", mtime_ns=1, inode=1)
    assert moved.state is after
    assert not catalog.renew(parse)


def test_a_move_onto_another_document_is_refused(catalog: Catalog, add_file: Add) -> None:
    first, _ = add_file("a.txt"), add_file("b.txt")
    with pytest.raises(Conflict):
        catalog.move_document(first.id, path="b.txt", filename="b.txt", mtime_ns=1, inode=1)


def test_a_deleted_document_is_dropped_from_search_at_once(catalog: Catalog, add_file: Add) -> None:
    document = complete(catalog, add_file("a.txt"))
    deleting = catalog.delete_document(document.id)
    assert (deleting.state, deleting.active_generation) == (DocumentState.DELETING, None)
    assert catalog.delete_document(document.id) == deleting
    assert catalog.active_generations([document.id]) == {}
    assert catalog.find_documents("/inbox") == []
    with pytest.raises(NotFound):
        catalog.new_version(document.id, content_hash="b" * 64, **STAT)
    assert add_file("a.txt").id != document.id


def test_a_finished_deletion_leaves_a_tombstone_until_it_is_purged(
    catalog: Catalog, add: Add, clock: Callable[[], float]
) -> None:
    document = add()
    catalog.delete_document(document.id)
    claim = catalog.claim(document.id, "w", expected=DocumentState.DELETING, claimed=DocumentState.DELETING)
    assert claim is not None
    assert catalog.claim(document.id, "v", expected=DocumentState.DELETING, claimed=DocumentState.DELETING) is None
    assert catalog.finish_delete(claim)
    with pytest.raises(NotFound):
        catalog.get_document(document.id)
    assert catalog.list_documents().items == []
    assert catalog.list_documents(state=DocumentState.DELETED).items[0].id == document.id
    catalog.purge_deleted([add().id])
    assert catalog.tombstones(10, older_than_seconds=10) == []
    clock.advance(11)  # type: ignore[attr-defined]
    assert catalog.tombstones(10, older_than_seconds=10) == [document.id]
    catalog.purge_deleted([document.id])
    assert catalog.list_documents(state=DocumentState.DELETED).items == []
    assert len(catalog.list_documents().items) == 1, "one that is not deleted is not purged"


def test_a_deletion_of_a_collection_that_was_interrupted_goes_on(
    catalog: Catalog, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = complete(catalog, add(collection="c"))
    with monkeypatch.context() as interrupted:
        interrupted.setattr(catalog, "_delete_all", lambda _: 0)
        catalog.delete_collection("c")
    assert catalog.get_document(document.id).state is DocumentState.COMPLETED
    assert catalog.active_generations([document.id]) == {}, "search drops it at once all the same"
    assert catalog.purge_collections() == 0
    assert catalog.get_document(document.id).state is DocumentState.DELETING


def test_changes_of_a_whole_collection_leave_the_write_lock_to_others(
    catalog: Catalog, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.catalog.rows.IDS_PER_STATEMENT", 2)
    ids = [add().id for _ in range(5)]
    others = []
    monkeypatch.setattr(catalog, "_rest", lambda _: others.append(add().id))
    assert catalog.cancel_unsettled() == 5
    assert len(others) == 3, "they were added between two of its transactions"
    states = {key: one.state for key, one in catalog.documents_by_id([*ids, *others]).items()}
    assert states == dict.fromkeys(ids, DocumentState.CANCELLED) | dict.fromkeys(others, DocumentState.QUEUED)


def test_many_documents_are_deleted_at_once(catalog: Catalog, add_file: Add) -> None:
    ids = [add_file(f"{number}.txt").id for number in range(5)]
    assert catalog.delete_documents(ids[:3]) == 3
    assert catalog.delete_documents(ids) == 2
    assert catalog.counts_by_state() == {"deleting": 5}


def test_only_failed_documents_can_be_retried(catalog: Catalog, add: Add) -> None:
    document = add()
    with pytest.raises(Conflict):
        catalog.retry_document(document.id)
    claim = catalog.claim(document.id, "w", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
    assert claim is not None
    assert catalog.fail(claim, "unreadable \0\udcff")
    assert catalog.get_document(document.id).error == "unreadable \\udcff"
    retried = catalog.retry_document(document.id)
    assert (retried.state, retried.error, retried.attempts) == (DocumentState.QUEUED, None, 0)


def test_pages_go_from_the_newest_to_the_oldest(catalog: Catalog, add: Add) -> None:
    ids = [add(collection="even" if number % 2 == 0 else "odd").id for number in range(7)]
    first = catalog.list_documents(limit=3)
    second = catalog.list_documents(limit=4, after=first.items[-1].id)
    assert [document.id for document in first.items + second.items] == ids[::-1]
    assert (first.has_more, second.has_more) == (True, False)
    assert [document.id for document in catalog.list_documents(collection="odd").items] == ids[5::-2]
    assert catalog.list_documents(state=[DocumentState.COMPLETED]).items == []
    with pytest.raises(InvalidRequest) as raised:
        catalog.list_documents(after="doc-none")
    assert raised.value.param == "after"


def test_a_page_of_documents_of_one_moment_is_complete(
    catalog: Catalog, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_clock", lambda: 5.0)
    ids = {add().id for _ in range(6)}
    first = catalog.list_documents(limit=4)
    second = catalog.list_documents(limit=4, after=first.items[-1].id)
    assert {document.id for document in first.items + second.items} == ids


def test_documents_are_found_by_folder_path_and_content(catalog: Catalog, add: Add, add_file: Add) -> None:
    a = add_file("x_y/a.txt", inode=7)
    b = add_file("xzy/b.txt", content_hash="b" * 64, inode=8)
    add()
    assert {document.id for document in catalog.find_documents("/inbox")} == {a.id, b.id}
    assert [file.document_id for file in catalog.mirrored_files("/inbox", "x_y")] == [a.id]
    assert list(catalog.mirrored_files("/inbox", "x")) == []
    assert [document.id for document in catalog.documents_at("/inbox", ["xzy/b.txt", "none"])] == [b.id]
    found = catalog.documents_with_content("/inbox", inodes=[7], hashes=["b" * 64, "a" * 64])
    assert {document.id for document in found} == {a.id, b.id}
    assert set(catalog.documents_by_id([a.id, "doc-none"])) == {a.id}


def test_the_files_of_a_folder_are_read_in_pages(
    catalog: Catalog, add_file: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.catalog.folders.FILES_PER_READ", 2)
    inside = ["a/b", "a/b/c", "a/z", "a/\ue000", "a/𝄞"]
    for path in (*inside, "a", "a-b", "a0", "b/a"):
        add_file(path)
    catalog.delete_document(add_file("a/gone").id)
    assert [file.path for file in catalog.mirrored_files("/inbox", "a")] == inside, "by their bytes"
    assert sorted(file.path for file in catalog.mirrored_files("/inbox")) == sorted([*inside, "a", "a-b", "a0", "b/a"])
    assert list(catalog.mirrored_files("/other")) == []


def test_ignored_files_are_found_by_path_and_inode(catalog: Catalog, add_file: Add) -> None:
    a, b, c = (add_file(f"{name}.txt", inode=number) for number, name in enumerate("abc"))
    for document in (a, b):
        catalog.delete_document(document.id)
    assert {file.document_id for file in catalog.ignored_files("/inbox")} == {a.id, b.id}
    found = catalog.find_ignored_files("/inbox", paths=["a.txt", "c.txt"], inodes=[1, 2])
    assert {file.document_id for file in found} == {a.id, b.id}
    assert catalog.find_ignored_files("/inbox", paths=["c.txt"], inodes=[2]) == []
    assert [catalog.has_in_root("/inbox", number) for number in (1, 2)] == [True, False]


def test_long_lists_of_ids_are_split(catalog: Catalog, add: Add) -> None:
    document = add()
    ids = [f"doc-{number}" for number in range(1200)] + [document.id]
    assert set(catalog.documents_by_id(ids)) == {document.id}


def test_reindexing_queues_everything_and_hides_the_old_points(catalog: Catalog, add: Add) -> None:
    done, queued, failed, gone = complete(catalog, add()), add(), add(), add()
    claim = catalog.claim(failed.id, "w", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
    assert claim is not None
    catalog.fail(claim, "damaged")
    catalog.delete_document(gone.id)
    elsewhere = complete(catalog, add(collection="elsewhere"))
    record = StoreRecord("store-1", "minilm", 384)
    collection = catalog.get_collection("default")
    assert catalog.replace_collection(collection.id, record) == 2
    assert catalog.get_collection("default").store == record
    assert catalog.get_document(elsewhere.id).active_generation == 1
    again = catalog.get_document(done.id)
    assert (again.state, again.generation, again.active_generation) == (DocumentState.QUEUED, 2, None)
    assert catalog.get_document(queued.id).state is DocumentState.QUEUED
    assert catalog.get_document(failed.id).state is DocumentState.FAILED
    assert catalog.get_document(gone.id).state is DocumentState.DELETING


def test_collections_carry_the_store_that_they_were_placed_in(catalog: Catalog, add: Add) -> None:
    add(collection="first")
    assert catalog.get_collection("first").store is None
    record = StoreRecord("store-1", "minilm", 384, "/models/minilm")
    catalog.place_collection(catalog.get_collection("first").id, record)
    second = catalog.create_collection("second", model_choice="org/other")
    assert second == catalog.ensure_collection("second") and second.model_choice == "org/other"
    moved = replace(record, model_source="/elsewhere/minilm")
    catalog.place_collection(second.id, moved)
    assert [item.store for item in catalog.list_collections()] == [moved, moved], "it is the same store"


def test_a_move_is_begun_once_and_ends_when_nothing_is_missing(catalog: Catalog, add: Add) -> None:
    document = complete(catalog, add())
    collection = catalog.get_collection("default")
    here, there = StoreRecord("store-1", "minilm", 384), StoreRecord("store-2", "bge", 768)
    catalog.place_collection(collection.id, here)
    assert catalog.finish_move(collection.id) is None and catalog.queue_for_next(9) == 0
    for _ in range(2):
        catalog.begin_move(collection.id, there)
        assert catalog.finish_move(collection.id) is None, "the document is missing"
    assert (catalog.queue_for_next(9), catalog.queue_for_next(9)) == (1, 0)
    assert catalog.get_document(document.id).generation == 2
    catalog.delete_document(document.id)
    assert catalog.finish_move(collection.id) == 0
    assert (catalog.get_collection("default").store, catalog.get_collection("default").next_store) == (there, None)
    assert [one.id for one in catalog.placed_collections()] == [collection.id]
