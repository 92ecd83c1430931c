"""A folder that takes long to scan is mirrored as promptly as a small one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.watchers.world import World
from watchers.folder import Folder
from watchers.folder_source import pause_between_scans
from watchers.reconcile import FileStat

TEXT = "The warranty lasts two years."


def scan_slowly(
    world: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], until: Callable[[], bool]
) -> None:
    """Scan the folder, act when all files were seen, and end the scan only when something is true."""
    scan = Folder.scan
    began, ended = threading.Event(), threading.Event()

    def slow(folder: Folder, *arguments: Any) -> Iterator[tuple[str, FileStat]]:
        found = list(scan(folder, *arguments))
        yield from found
        if not began.is_set():
            began.set()
            act()
            deadline = time.monotonic() + 10
            while not until() and time.monotonic() < deadline:
                yield found[0]
            ended.set()

    monkeypatch.setattr(Folder, "scan", slow)
    world.source._on_overflow()
    assert ended.wait(20)


def test_a_dropped_file_does_not_wait_for_the_end_of_a_scan(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start()
    (world.inbox / "a.txt").write_text(TEXT)
    world.settle_on("a.txt")
    found_during_scan = []

    def is_found() -> bool:
        found_during_scan.append("b.txt" in world.documents())
        return found_during_scan[-1]

    def drop() -> None:
        (world.inbox / "b.txt").write_text(TEXT + TEXT)

    scan_slowly(world, monkeypatch, drop, is_found)
    assert found_during_scan[-1]


def test_what_changes_during_a_scan_is_no_mass_deletion(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world.start()
    for name in "abc":
        (world.inbox / f"{name}.txt").write_text(name)
    world.settle_on("a.txt", "b.txt", "c.txt")
    new = [f"new-{number}.txt" for number in range(12)]

    def change() -> None:
        (world.inbox / "a.txt").write_text("another text")
        (world.inbox / "b.txt").unlink()
        for name in new:
            (world.inbox / name).write_text(name)

    scan_slowly(world, monkeypatch, change, lambda: set(world.documents()) == {"a.txt", "c.txt", *new})
    (world.inbox / "last.txt").write_text(TEXT)
    documents = world.settle_on("a.txt", "c.txt", "last.txt", *new)
    assert documents["a.txt"].generation == 2
    assert "are gone" not in caplog.text, "the folder is not held, not even for a moment"


def test_scans_take_a_small_share_of_a_core() -> None:
    assert pause_between_scans(60, 0.01) == 60
    assert pause_between_scans(60, 1.5) == 300
