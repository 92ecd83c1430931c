"""The modes other than mirror: additive and consumed folders. And the report of skipped files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.catalog import Document, DocumentState
from tests.integration.watchers.world import World
from tests.support import wait_until
from watchers.originals import Originals
from watchers.service import Watcher
from watchers.skip_report import DELETED, IRREGULAR, LINK, MAX_LISTED, SkipReport


@pytest.fixture
def make(make_world: Callable[..., World], tmp_path: Path) -> Callable[[str], World]:
    return lambda mode: make_world(watch_dirs=(f"{tmp_path / 'inbox'}=papers:{mode}",))


def all_documents(world: World) -> list[Document]:
    return sorted(world.catalog.list_documents(limit=100).items, key=lambda document: document.created_at)


def original(world: World, document: Document) -> str:
    assert document.blob_key is not None
    return (world.settings.blobs_path / "originals" / document.blob_key).read_text()


def test_deletions_in_an_additive_folder_delete_nothing(make: Callable[[str], World]) -> None:
    world = make("additive")
    world.start()
    for name in ("a", "b"):
        (world.inbox / f"{name}.txt").write_text(name)
    before = world.settle_on("a.txt", "b.txt")
    (world.inbox / "a.txt").unlink()
    (world.inbox / "c.txt").write_text("c")
    after = world.settle(lambda documents: "c.txt" in documents)
    wait_until(lambda: world.info["waiting"] == 0)
    assert after["a.txt"] == before["a.txt"]
    assert original(world, after["a.txt"]) == "a", "its text can be read again without the file"
    world.stop()
    world.start()
    wait_until(lambda: world.info["waiting"] == 0)
    assert set(world.documents()) == {"a.txt", "b.txt", "c.txt"}


def test_changes_and_renames_in_an_additive_folder_are_followed(make: Callable[[str], World]) -> None:
    world = make("additive")
    world.start()
    (world.inbox / "a.txt").write_text("one")
    first = world.settle_on("a.txt")["a.txt"]
    (world.inbox / "a.txt").write_text("two")
    second = world.settle(lambda documents: documents["a.txt"].generation == 2)["a.txt"]
    assert second.id == first.id
    assert original(world, second) == "two"
    assert first.blob_key is not None
    wait_until(lambda: not (world.settings.blobs_path / "originals" / str(first.blob_key)).exists())
    (world.inbox / "a.txt").rename(world.inbox / "b.txt")
    assert world.settle_on("b.txt")["b.txt"].id == first.id


def test_a_consumed_file_is_stored_and_removed(make: Callable[[str], World]) -> None:
    world = make("consume")
    (world.inbox / "2024").mkdir(parents=True)
    (world.inbox / "2024" / "scan.txt").write_text("the first")
    world.start()
    wait_until(lambda: not (world.inbox / "2024" / "scan.txt").exists())
    [first] = all_documents(world)
    assert (first.collection, first.path, first.filename) == ("papers", "2024/scan.txt", "scan.txt")
    assert first.attributes == {"folder": "2024", "folder_1": "2024"}
    assert original(world, first) == "the first"
    (world.inbox / "2024" / "scan.txt").write_text("the second")
    wait_until(lambda: not (world.inbox / "2024" / "scan.txt").exists())
    found = all_documents(world)
    assert [original(world, document) for document in found] == ["the first", "the second"]
    assert {document.state for document in found} == {DocumentState.QUEUED}


#: Writes a text of two pages; after the first one it keeps the file open until its standard input is closed.
PAUSED_WRITER = """
import os, sys
file = open(sys.argv[1], "w")
if sys.argv[2] == "preallocated":
    os.posix_fallocate(file.fileno(), 0, 40)
print("page one " * 2, end="", file=file, flush=True)
print("written", flush=True)
sys.stdin.read()
file.write("page two")
file.truncate()
file.close()
if sys.argv[2] == "renamed":
    os.rename(sys.argv[1], sys.argv[1].removesuffix(".half"))
"""


@pytest.mark.parametrize("content", [b"page one" + bytes(1024), bytes(10_000_000), b"%PDF-1.4 page one"])
def test_a_file_that_looks_incomplete_is_not_consumed_though_nobody_has_it_open(
    make: Callable[[str], World], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    world = make("consume")
    world.start()
    path = world.inbox / "pages.txt"
    path.write_bytes(content)
    for name in ("other.txt", "another.txt"):
        (world.inbox / name).write_text(name)
        wait_until(lambda name=name: not (world.inbox / name).exists())
    assert path.exists()
    with path.open("r+") as file:
        file.write("page one page two")
        file.truncate()
    wait_until(lambda: not path.exists())
    assert original(world, all_documents(world)[-1]) == "page one page two"
    monkeypatch.setattr("watchers.originals.INCOMPLETE_SECONDS", 0)
    path.write_bytes(content)
    wait_until(lambda: not path.exists())


@pytest.mark.parametrize("way", ["plain", "preallocated", "renamed"])
def test_a_file_is_not_consumed_while_its_writer_pauses(make: Callable[[str], World], way: str) -> None:
    world = make("consume")
    world.start()
    path = world.inbox / ("pages.txt.half" if way == "renamed" else "pages.txt")
    command = [sys.executable, "-c", PAUSED_WRITER, str(path), way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        writer.stdout.readline()
        (world.inbox / "other.txt").write_text("other")
        wait_until(lambda: not (world.inbox / "other.txt").exists())
        size = path.stat().st_size
        # The other file became stable after this one. Now let this one be found to be stable a few times more.
        (world.inbox / "another.txt").write_text("another")
        wait_until(lambda: not (world.inbox / "another.txt").exists())
        assert path.stat().st_size == size
        writer.stdin.close()
        writer.wait(10)
    wait_until(lambda: not list(world.inbox.iterdir()))
    found = {document.filename: original(world, document) for document in all_documents(world)}
    assert found == {"pages.txt": "page one page one page two", "other.txt": "other", "another.txt": "another"}


def test_a_file_that_is_too_large_stays_in_the_folder(make_world: Callable[..., World], tmp_path: Path) -> None:
    world = make_world(watch_dirs=(f"{tmp_path / 'inbox'}=papers:consume",), max_upload_bytes=10)
    world.start()
    (world.inbox / "large.txt").write_text("more than ten bytes")
    [document] = world.settle_on("large.txt").values()
    assert (world.inbox / "large.txt").exists()
    assert document.blob_key is None
    (world.inbox / "large.txt").write_text("small")
    wait_until(lambda: not (world.inbox / "large.txt").exists())
    wait_until(lambda: [original(world, found) for found in all_documents(world) if found.blob_key] == ["small"])


def test_a_file_that_cannot_be_removed_is_ingested_once(
    make: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make("consume")
    with monkeypatch.context() as patch:

        def refuse(_name: str, dir_fd: int) -> None:
            raise PermissionError(30, "Read-only file system")

        patch.setattr("watchers.folder.os.unlink", refuse)
        world.start()
        (world.inbox / "a.txt").write_text("a")
        wait_until(lambda: all_documents(world))
        (world.inbox / "b.txt").write_text("b")
        wait_until(lambda: len(all_documents(world)) == 2)
        wait_until(lambda: world.info["waiting"] == 0)
        world.stop()
    world.start()
    wait_until(lambda: not list(world.inbox.iterdir()))
    assert len(all_documents(world)) == 2, "after the next start they are known and only removed"


def test_a_crash_before_the_removal_makes_no_second_document(
    make: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make("consume")
    with monkeypatch.context() as patch:
        patch.setattr("watchers.originals.Originals.remove", lambda *_: None)
        world.start()
        (world.inbox / "a.txt").write_text("a")
        wait_until(lambda: all_documents(world))
        world.stop()
    blobs = list((world.settings.blobs_path / "originals").rglob("blob-*"))
    world.start()
    wait_until(lambda: not (world.inbox / "a.txt").exists())
    assert len(all_documents(world)) == 1
    assert list((world.settings.blobs_path / "originals").rglob("blob-*")) == blobs


def test_a_copy_for_a_document_that_is_deleted_meanwhile_is_removed(
    make: Callable[[str], World], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make("additive")
    world.start()
    (world.inbox / "a.txt").write_text("first")
    [document] = world.settle_on("a.txt").values()
    copy = Originals.copy

    def copy_and_delete(originals: Originals, *arguments: Any) -> str | None:
        key = copy(originals, *arguments)
        monkeypatch.setattr(Originals, "copy", copy)
        world.catalog.delete_document(document.id)
        return key

    monkeypatch.setattr(Originals, "copy", copy_and_delete)
    (world.inbox / "a.txt").write_text("second")
    wait_until(lambda: [one for one in world.documents().values() if one.id != document.id])
    blobs = (world.settings.blobs_path / "originals").rglob("blob-*")
    assert sorted(path.read_text() for path in blobs) == ["first", "second"], "what is to be deleted, and the new one"


def test_a_mirrored_folder_is_emptied_when_its_mode_becomes_consume(world: World) -> None:
    world.start()
    (world.inbox / "a.txt").write_text("a")
    [mirrored] = world.settle_on("a.txt").values()
    world.stop()
    watcher_settings = world.settings.model_copy(update={"watch_dirs": (f"{world.inbox}=default:consume",)})
    world.settings = watcher_settings
    assert Watcher(watcher_settings, world.catalog, world.messenger).info()["folders"][0]["mode"] == "consume"
    world.start()
    wait_until(lambda: not (world.inbox / "a.txt").exists())
    wait_until(lambda: world.catalog.get_document(mirrored.id).state is DocumentState.DELETING)
    [consumed] = [document for document in all_documents(world) if document.state is DocumentState.QUEUED]
    assert original(world, consumed) == "a"


def test_skipped_files_are_reported_with_the_reason(make_world: Callable[..., World], tmp_path: Path) -> None:
    world = make_world(watch_rescan_seconds=1)
    files = {".llmignore": "*.old\n", "a.txt": "a", "b.old": "b", "~$c.docx": "c", "sub/.llmignore": "drafts/\n"}
    files |= {"sub/drafts/d.txt": "d", "sub/.git/e": "e", "gone.txt": "gone"}
    for name, text in files.items():
        path = world.inbox / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    os.mkfifo(world.inbox / "pipe")
    (world.inbox / "out").symlink_to(tmp_path)
    world.start()
    gone = world.settle_on("a.txt", "gone.txt")["gone.txt"]
    world.catalog.delete_document(gone.id)

    def listed() -> dict[str, str]:
        return {file.path: file.reason for file in world.catalog.list_skipped("default", limit=100).items}

    wait_until(lambda: "gone.txt" in listed())
    expected = {
        "b.old": ".llmignore: *.old",
        "gone.txt": DELETED,
        "out": LINK,
        "pipe": IRREGULAR,
        "sub/.git/": "built-in rule: .git",
        "sub/drafts/": "sub/.llmignore: drafts/",
        "~$c.docx": "built-in rule: ~$*",
    }
    assert listed() == expected and list(listed()) == sorted(expected)
    (coverage,) = world.catalog.coverage("default")
    assert coverage.skipped == dict.fromkeys(expected.values(), 1) and coverage.documents == 1
    pages = [world.catalog.list_skipped("default", limit=4)]
    pages.append(world.catalog.list_skipped("default", limit=4, after=pages[0].items[-1].id))
    assert [len(page.items) for page in pages] == [4, 3] and pages[0].has_more and not pages[1].has_more
    (world.inbox / ".llmignore").unlink()
    wait_until(lambda: "b.old" not in listed())
    assert "b.old" in world.settle(lambda documents: "b.old" in documents)


def test_of_many_skipped_files_the_first_are_listed_and_all_are_counted(tmp_path: Path) -> None:
    skips = SkipReport(str(tmp_path))
    for number in range(MAX_LISTED + 5):
        skips.add(f"{number}.bak", "rule")
    assert skips.counts == {"rule": MAX_LISTED + 5} and len(skips.files) == MAX_LISTED
