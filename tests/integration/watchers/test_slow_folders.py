"""Files that take long to read delay no others, in other folders and in their own."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.catalog import Document
from tests.integration.watchers.world import World
from tests.support import wait_until
from watchers.folder import Folder


@pytest.mark.parametrize("mode", ["mirror", "consume"])
def test_a_small_file_does_not_wait_for_a_huge_one_of_another_folder(
    make_world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    slow, fast = tmp_path / "slow", tmp_path / "fast"
    world = make_world(watch_dirs=(f"{slow}=slow:{mode}", f"{fast}=fast:{mode}"))
    is_reading, may_end = threading.Event(), threading.Event()
    read = Folder.read

    def reading(folder: Folder, relative: str, *arguments: Any) -> None:
        if relative == "huge.bin":
            is_reading.set()
            assert may_end.wait(20)
        read(folder, relative, *arguments)

    def found(collection: str) -> list[Document]:
        return world.catalog.list_documents(collection=collection).items

    monkeypatch.setattr(Folder, "read", reading)
    world.start()
    (slow / "huge.bin").write_text("it stands for many gigabytes")
    assert is_reading.wait(20)
    (fast / "small.txt").write_text("small")
    try:
        wait_until(lambda: found("fast"))
        assert not found("slow")
    finally:
        may_end.set()
    wait_until(lambda: found("slow"))


@pytest.fixture
def slow_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Take files of more than 20 bytes for large, and read those with `huge` in their names once the event is set."""
    may_end = threading.Event()
    read = Folder.read

    def reading(folder: Folder, relative: str, *arguments: Any) -> None:
        if "huge" in relative:
            assert may_end.wait(30)
        read(folder, relative, *arguments)

    monkeypatch.setattr("watchers.mirror.LARGE_BYTES", 20)
    monkeypatch.setattr(Folder, "read", reading)
    yield may_end
    may_end.set()


@pytest.mark.parametrize("mode", ["mirror", "additive", "consume"])
def test_a_small_file_does_not_wait_for_a_huge_one_of_its_own_folder(
    make_world: Callable[..., World], tmp_path: Path, slow_reads: threading.Event, mode: str
) -> None:
    world = make_world(watch_dirs=(f"{tmp_path / 'inbox'}=papers:{mode}",))
    world.start()

    def found() -> dict[str, Document]:
        return {one.filename: one for one in world.catalog.list_documents(limit=100).items}

    (world.inbox / "huge.txt").write_text("it stands for many gigabytes")
    (world.inbox / "first.txt").write_text("first")
    wait_until(lambda: "first.txt" in found())
    (world.inbox / "second.txt").write_text("second")
    wait_until(lambda: "second.txt" in found())
    assert "huge.txt" not in found()
    slow_reads.set()
    wait_until(lambda: "huge.txt" in found())
    huge = found()["huge.txt"]
    assert huge.content_hash == hashlib.sha256(b"it stands for many gigabytes").hexdigest()
    if mode != "mirror":
        originals = world.settings.blobs_path / "originals"
        assert (originals / str(huge.blob_key)).read_text() == "it stands for many gigabytes"
        wait_until(lambda: not list((world.settings.blobs_path / ".staging").iterdir()))
    if mode == "consume":
        wait_until(lambda: not list(world.inbox.iterdir()))


def test_a_huge_file_that_changes_or_goes_while_it_is_read_is_mirrored_as_it_is_then(
    world: World, slow_reads: threading.Event
) -> None:
    world.start()
    for name in ("huge-gone", "huge-changed", "huge-moved"):
        (world.inbox / f"{name}.txt").write_text(f"{name}: it stands for many gigabytes")
    (world.inbox / "small.txt").write_text("small")
    world.settle_on("small.txt")
    (world.inbox / "huge-gone.txt").unlink()
    (world.inbox / "huge-changed.txt").write_text("it stands for many other gigabytes")
    (world.inbox / "huge-moved.txt").rename(world.inbox / "huge-there.txt")
    slow_reads.set()
    found = world.settle_on("small.txt", "huge-changed.txt", "huge-there.txt")
    content = (world.inbox / "huge-changed.txt").read_bytes()
    assert found["huge-changed.txt"].content_hash == hashlib.sha256(content).hexdigest()
    (world.inbox / "huge-there.txt").rename(world.inbox / "huge-moved.txt")
    moved = world.settle_on("small.txt", "huge-changed.txt", "huge-moved.txt")
    assert moved["huge-moved.txt"].id == found["huge-there.txt"].id
    shutil.copy(world.inbox / "huge-moved.txt", world.inbox / "huge-copy.txt")
    (world.inbox / "huge-moved.txt").unlink()
    copied = world.settle_on("small.txt", "huge-changed.txt", "huge-copy.txt")
    assert copied["huge-copy.txt"].id == moved["huge-moved.txt"].id


def test_a_fault_that_ends_a_source_ends_the_watcher(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start()
    assert world.watcher is not None
    watcher, errors = world.watcher, list[BaseException]()
    monkeypatch.setattr(world.source, "_step", lambda: 1 / 0)
    thread = world._thread
    world._thread = None
    monkeypatch.setattr(threading, "excepthook", lambda arguments: errors.append(arguments.exc_value))
    watcher.sources[0]._hints.put(None)  # type: ignore[attr-defined]
    assert thread is not None
    thread.join(20)
    assert not thread.is_alive() and isinstance(errors[0], ZeroDivisionError)
