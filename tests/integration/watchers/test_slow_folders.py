"""Several watched folders: one whose files take long to read delays no other."""

from __future__ import annotations

import threading
from collections.abc import Callable
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
