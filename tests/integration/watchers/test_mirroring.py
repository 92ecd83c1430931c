"""Mirroring of a folder, change by change, with the real observer."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from core.catalog import DocumentState
from tests.integration.watchers.world import STABLE_SECONDS, World
from tests.support import wait_until

TEXT = "The warranty lasts two years."


def test_existing_files_are_ingested_at_the_start(world: World) -> None:
    (world.inbox / "deep" / "er").mkdir(parents=True)
    (world.inbox / "deep" / "er" / "a.txt").write_text(TEXT)
    world.start()
    documents = world.settle_on("deep/er/a.txt")
    assert documents["deep/er/a.txt"].filename == "a.txt"
    assert documents["deep/er/a.txt"].state is DocumentState.QUEUED


def test_a_missing_folder_is_created(world: World) -> None:
    world.start()
    assert world.inbox.is_dir()


def test_a_new_file_is_dispatched_soon_after_its_last_write(world: World) -> None:
    world.start()
    written_at = time.monotonic()
    (world.inbox / "a.txt").write_text(TEXT)
    # Long before the next periodic scan, which is after ten minutes.
    wait_until(lambda: world.messenger.ingested)
    assert time.monotonic() - written_at >= STABLE_SECONDS
    [document] = world.documents().values()
    assert world.messenger.ingested == [document.id]
    assert document.source_path == world.inbox / "a.txt"
    wait_until(lambda: world.catalog.find_documents(str(world.inbox))[0].dispatched_at is not None)


def test_a_file_that_is_written_slowly_is_ingested_once_and_only_when_complete(world: World) -> None:
    world.start()
    pause = threading.Event()  # never set: the slow writer is what is tested
    with (world.inbox / "slow.txt").open("w") as file:
        for number in range(6):
            file.write(f"line {number}\n")
            file.flush()
            pause.wait(STABLE_SECONDS * 0.6)
            assert world.documents() == {}
    document = world.settle_on("slow.txt")["slow.txt"]
    assert document.size_bytes == (world.inbox / "slow.txt").stat().st_size
    assert document.generation == 1


def test_a_file_deleted_before_it_was_stable_is_never_queued(world: World) -> None:
    world.start()
    (world.inbox / "gone.txt").write_text(TEXT)
    (world.inbox / "gone.txt").unlink()
    (world.inbox / "stays.txt").write_text("another text")
    document = world.settle_on("stays.txt")["stays.txt"]
    assert world.messenger.ingested == [document.id]


def test_a_changed_file_becomes_a_new_generation(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    first = world.settle_on("a.txt")["a.txt"]
    world.complete(first)
    (world.inbox / "a.txt").write_text("Three years.")
    second = world.settle(lambda documents: documents["a.txt"].generation == 2)["a.txt"]
    assert second.id == first.id
    assert (second.state, second.active_generation) == (DocumentState.QUEUED, 1)


def test_a_touched_file_is_not_queued_again(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    first = world.settle_on("a.txt")["a.txt"]
    os.utime(world.inbox / "a.txt", ns=(1, 1_700_000_000_000_000_000))
    touched = world.settle(lambda documents: documents["a.txt"].mtime_ns == 1_700_000_000_000_000_000)["a.txt"]
    assert touched.generation == 1
    assert world.messenger.ingested == [first.id]


def test_a_file_replaced_by_the_same_content_is_not_queued_again(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    first = world.settle_on("a.txt")["a.txt"]
    (world.inbox / "a.txt.tmp").write_text(TEXT)
    (world.inbox / "a.txt.tmp").replace(world.inbox / "a.txt")
    replaced = world.settle(lambda documents: documents["a.txt"].inode != first.inode)["a.txt"]
    assert (replaced.id, replaced.generation) == (first.id, 1)


def test_the_document_of_a_deleted_file_is_deleted_and_the_name_can_be_used_again(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    first = world.settle_on("a.txt")["a.txt"]
    (world.inbox / "a.txt").unlink()
    world.settle_on()
    wait_until(lambda: world.messenger.wake_ups)
    (world.inbox / "a.txt").write_text(TEXT)
    assert world.settle_on("a.txt")["a.txt"].id != first.id


def test_a_renamed_file_keeps_its_document(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    first = world.settle_on("a.txt")["a.txt"]
    world.complete(first)
    (world.inbox / "sub").mkdir()
    (world.inbox / "a.txt").rename(world.inbox / "sub" / "b.txt")
    moved = world.settle_on("sub/b.txt")["sub/b.txt"]
    assert (moved.id, moved.generation, moved.state) == (first.id, 1, DocumentState.COMPLETED)
    assert moved.filename == "b.txt"
    assert world.messenger.ingested == [first.id]


def test_a_file_that_was_renamed_before_a_worker_read_it_is_queued_again(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    first = world.settle_on("a.txt")["a.txt"]
    world.lose(first)
    (world.inbox / "a.txt").rename(world.inbox / "b.txt")
    moved = world.settle_on("b.txt")["b.txt"]
    assert (moved.id, moved.state, moved.error) == (first.id, DocumentState.QUEUED, None)
    wait_until(lambda: world.messenger.ingested == [first.id, first.id])


def test_a_file_that_was_missing_when_a_worker_wanted_it_is_queued_again_by_the_next_scan(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    first = world.settle_on("a.txt")["a.txt"]
    world.stop()
    world.lose(first)
    world.start()
    found = world.settle(lambda documents: documents["a.txt"].state is DocumentState.QUEUED)["a.txt"]
    assert (found.id, found.error_code) == (first.id, None)


def test_a_renamed_tree_keeps_its_documents(world: World) -> None:
    world.start()
    (world.inbox / "old" / "deep").mkdir(parents=True)
    for number in range(20):
        (world.inbox / "old" / "deep" / f"{number}.txt").write_text(f"text {number}")
    before = world.settle(lambda documents: len(documents) == 20)
    (world.inbox / "old").rename(world.inbox / "new")
    after = world.settle(lambda documents: all(path.startswith("new/") for path in documents))
    assert {document.id for document in after.values()} == {document.id for document in before.values()}


def test_a_tree_is_ingested_when_it_is_moved_in_and_deleted_when_it_is_moved_out(world: World, tmp_path: Path) -> None:
    world.start()
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "a.txt").write_text("a")
    (outside / "b.txt").write_text("b")
    outside.rename(world.inbox / "tree")
    world.settle_on("tree/deep/a.txt", "tree/b.txt")
    (world.inbox / "tree").rename(outside)
    world.settle_on()


def test_deleting_a_tree_deletes_its_documents_and_no_others(world: World) -> None:
    world.start()
    for path in ("tree/a.txt", "tree/sub/b.txt", "tree2/c.txt"):
        (world.inbox / path).parent.mkdir(parents=True, exist_ok=True)
        (world.inbox / path).write_text(path)
    world.settle_on("tree/a.txt", "tree/sub/b.txt", "tree2/c.txt")
    shutil.rmtree(world.inbox / "tree")
    world.settle_on("tree2/c.txt")


def test_changes_while_the_watcher_was_stopped_are_found(world: World) -> None:
    world.start()
    for name in ("kept", "changed", "moved", "deleted"):
        (world.inbox / f"{name}.txt").write_text(name)
    before = world.settle_on("kept.txt", "changed.txt", "moved.txt", "deleted.txt")
    world.stop()
    (world.inbox / "changed.txt").write_text("other")
    (world.inbox / "moved.txt").rename(world.inbox / "there.txt")
    (world.inbox / "deleted.txt").unlink()
    (world.inbox / "new.txt").write_text("new")
    world.start()
    after = world.settle_on("kept.txt", "changed.txt", "there.txt", "new.txt")
    assert after["kept.txt"] == before["kept.txt"]
    assert after["there.txt"].id == before["moved.txt"].id
    world.settle(lambda documents: documents["changed.txt"].generation == 2)


def test_a_move_by_copy_is_found_by_its_content(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    first = world.settle_on("a.txt")["a.txt"]
    world.stop()
    shutil.copy(world.inbox / "a.txt", world.inbox / "b.txt")
    (world.inbox / "a.txt").unlink()
    world.start()
    assert world.settle_on("b.txt")["b.txt"].id == first.id


def test_ignored_names_and_linked_folders_are_skipped(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    world.start()
    (world.inbox / ".git").mkdir()
    for name in (".DS_Store", "~$a.docx", "b.part", ".git/config"):
        (world.inbox / name).write_text("no document")
    (world.inbox / "linked").symlink_to(outside)
    (world.inbox / "link.txt").symlink_to(outside / "secret.txt")
    (world.inbox / "a.txt").write_text(TEXT)
    document = world.settle_on("a.txt")["a.txt"]
    wait_until(lambda: world.info["waiting"] == 0)
    assert world.messenger.ingested == [document.id]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_tried_again_when_it_can_be_read(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    (world.inbox / "a.txt").chmod(0)
    wait_until(lambda: world.info["waiting"] == 0)
    (world.inbox / "a.txt").chmod(0o644)
    world.settle_on("a.txt")


def test_names_that_are_not_utf8_and_very_long_ones(world: World) -> None:
    world.start()
    odd = os.fsdecode(b"caf\xe9.txt")
    long = "x" * 251 + ".txt"
    (world.inbox / odd).write_text("odd")
    (world.inbox / long).write_text("long")
    documents = world.settle(lambda documents: len(documents) == 2)
    paths = {document.source_path for document in documents.values()}
    assert paths == {world.inbox / odd, world.inbox / long}


def test_a_read_only_folder_is_mirrored_and_never_written_to(world: World) -> None:
    (world.inbox / "sub").mkdir(parents=True)
    (world.inbox / "sub" / "a.txt").write_text(TEXT)
    paths = [world.inbox / "sub" / "a.txt", world.inbox / "sub", world.inbox]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in paths}
    world.start()
    world.settle_on("sub/a.txt")
    world.stop()
    assert {path: path.stat().st_mtime_ns for path in [*world.inbox.rglob("*.txt"), *paths[1:]]} == before
    for path in paths[1:]:
        path.chmod(0o755)


def test_polling_finds_the_same_changes(make_world: Callable[..., World]) -> None:
    world = make_world(watch_polling=True)
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    world.settle_on("a.txt")
    (world.inbox / "a.txt").rename(world.inbox / "b.txt")
    world.settle_on("b.txt")
    (world.inbox / "b.txt").unlink()
    world.settle_on()


# Ignored files: by `.llmignore`, or because a person deleted the document


def test_files_that_become_ignored_are_deleted_and_others_are_added(world: World) -> None:
    world.start()
    for path in ("a.md", "b.txt", "sub/c.md", "sub/d.md", "sub/e.md", "sub/f.md", "sub/g.md"):
        (world.inbox / path).parent.mkdir(exist_ok=True)
        (world.inbox / path).write_text(path)
    world.settle(lambda documents: len(documents) == 7)
    (world.inbox / ".llmignore").write_text("*.md\n")
    world.settle_on("b.txt")
    (world.inbox / "sub" / ".llmignore").write_text("!c.md\n")
    world.settle_on("b.txt", "sub/c.md")
    (world.inbox / ".llmignore").unlink()
    world.settle(lambda documents: len(documents) == 7)


def test_rules_that_changed_while_the_watcher_was_stopped_apply(world: World) -> None:
    world.start()
    for number in range(6):
        (world.inbox / f"{number}.txt").write_text(str(number))
    world.settle(lambda documents: len(documents) == 6)
    world.stop()
    (world.inbox / ".llmignore").write_text("*\n!0.txt\n")
    world.start()
    world.settle_on("0.txt")


def test_a_file_whose_document_was_deleted_is_ignored_until_it_changes(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    (world.inbox / "b.txt").write_text("b")
    documents = world.settle_on("a.txt", "b.txt")
    world.catalog.delete_document(documents["a.txt"].id)
    world.stop()
    world.start()
    os.utime(world.inbox / "a.txt", ns=(1, 1_700_000_000_000_000_000))
    wait_until(lambda: world.catalog.ignored_files(str(world.inbox))[0].mtime_ns == 1_700_000_000_000_000_000)
    (world.inbox / "sub").mkdir()
    (world.inbox / "a.txt").rename(world.inbox / "sub" / "a.txt")
    wait_until(lambda: world.catalog.ignored_files(str(world.inbox))[0].path == "sub/a.txt")
    world.settle_on("b.txt")
    (world.inbox / "sub" / "a.txt").write_text("another text")
    documents = world.settle_on("b.txt", "sub/a.txt")
    assert world.catalog.ignored_files(str(world.inbox)) == []
    assert documents["sub/a.txt"].state is DocumentState.QUEUED


def test_a_file_whose_document_was_deleted_is_ingested_again_after_it_was_gone(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    [document] = world.settle_on("a.txt").values()
    world.catalog.delete_document(document.id)
    (world.inbox / "a.txt").unlink()
    wait_until(lambda: not world.catalog.ignored_files(str(world.inbox)))
    (world.inbox / "a.txt").write_text(TEXT)
    world.settle_on("a.txt")


# Folders as attributes


def test_the_folders_of_a_path_are_attributes_and_follow_a_move(world: World) -> None:
    world.start()
    (world.inbox / "2024" / "may").mkdir(parents=True)
    (world.inbox / "2024" / "may" / "a.txt").write_text(TEXT)
    [document] = world.settle_on("2024/may/a.txt").values()
    assert document.attributes == {"folder": "2024/may", "folder_1": "2024", "folder_2": "2024/may"}
    world.complete(document)
    (world.inbox / "2024").rename(world.inbox / "2025")
    [moved] = world.settle_on("2025/may/a.txt").values()
    assert moved.attributes == {"folder": "2025/may", "folder_1": "2025", "folder_2": "2025/may"}
    assert [document.id for document in world.catalog.moved_documents(10)] == [moved.id]
    (world.inbox / "2025" / "may" / "a.txt").rename(world.inbox / "a.txt")
    [moved] = world.settle_on("a.txt").values()
    assert moved.attributes == {"folder": ""}
