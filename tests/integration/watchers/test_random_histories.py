"""After any history of changes, also while the watcher is stopped, catalog and vector store match the folder."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from core.catalog import DocumentState, FolderState
from tests.integration.watchers.workers import Workers
from tests.integration.watchers.world import World
from tests.store_contents import points_expected, points_in
from tests.support import wait_until

#: watchdog warns if a folder gets the name of a renamed one. It overwrites its entry, which is right.
pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning:watchdog")

OPERATIONS = 40
FOLDERS = ("", "a", "a/b", "c")
NAMES = ("1.txt", "2.txt", "3.txt")


class History:
    """Random changes to a folder."""

    def __init__(self, world: World, outside: Path, seed: int) -> None:
        self._world = world
        self._inbox = world.inbox
        self._outside = outside
        self._random = random.Random(seed)
        self._is_running = False
        self._number = 0
        #: Files that are still being written.
        self._open: list[TextIO] = []

    def step(self) -> None:
        for file in self._open:
            file.write(self._text())
            file.flush()
        actions = (
            self.write,
            self.write,
            self.write_slowly,
            self.end_writing,
            self.append,
            self.touch,
            self.replace,
            self.rename,
            self.rename,
            self.delete,
            self.rename_tree,
            self.delete_tree,
            self.move_out,
            self.move_in,
            self.toggle,
            self.rest,
        )
        self._random.choice(actions)()

    def finish(self) -> None:
        while self._open:
            self.end_writing()
        if not self._is_running:
            self.toggle()

    def toggle(self) -> None:
        if self._is_running:
            self._world.stop()
        else:
            self._world.start()
        self._is_running = not self._is_running

    def write(self) -> None:
        path = self._free_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._text())

    def rest(self) -> None:
        """Let the watcher mirror everything, unless files are still being written."""
        if self._is_running and not self._open:
            wait_until(lambda: is_mirrored(self._world), 15)

    def write_slowly(self) -> None:
        path = self._free_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open.append(path.open("a"))

    def end_writing(self) -> None:
        if self._open:
            self._open.pop(0).close()

    def append(self) -> None:
        for path in self._some_file():
            with path.open("a") as file:
                file.write(self._text())

    def touch(self) -> None:
        for path in self._some_file():
            os.utime(path)

    def replace(self) -> None:
        for path in self._some_file():
            draft = path.with_name("draft.tmp")
            draft.write_text(self._text())
            draft.replace(path)

    def rename(self) -> None:
        for path in self._some_file():
            target = self._free_path()
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)

    def delete(self) -> None:
        for path in self._some_file():
            path.unlink()

    def rename_tree(self) -> None:
        self._number += 1
        for tree in self._some_tree():
            tree.rename(self._inbox / f"tree{self._number}")

    def delete_tree(self) -> None:
        for tree in self._some_tree():
            shutil.rmtree(tree)

    def move_out(self) -> None:
        self._number += 1
        for tree in self._some_tree():
            tree.rename(self._outside / f"tree{self._number}")

    def move_in(self) -> None:
        trees = sorted(self._outside.iterdir())
        if trees:
            self._random.choice(trees).rename(self._inbox / f"back{self._number}")
            self._number += 1

    def _text(self) -> str:
        # Only a few texts, so that the same content is often at several paths.
        return self._random.choice(("One harbour.\n", "Two harbours.\n", "Three lighthouses.\n"))

    def _free_path(self) -> Path:
        return self._inbox / self._random.choice(FOLDERS) / self._random.choice(NAMES)

    def _some_file(self) -> list[Path]:
        files = sorted(path for path in self._inbox.rglob("*.txt"))
        return [self._random.choice(files)] if files else []

    def _some_tree(self) -> list[Path]:
        trees = sorted(path for path in self._inbox.iterdir() if path.is_dir())
        return [self._random.choice(trees)] if trees else []


def on_disk(inbox: Path) -> dict[str, str]:
    return {
        path.relative_to(inbox).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in inbox.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def workers(world: World, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path, world.settings, world.catalog)
    world.workers = workers
    yield workers
    world.stop()
    workers.close()


def confirm(world: World) -> None:
    """Confirm all held deletions, as a person would."""
    for folder in world.catalog.watched_folders():
        if folder.state is FolderState.HELD and not folder.confirmed:
            world.catalog.confirm_watched_folder(folder.root)


def is_mirrored(world: World) -> bool:
    """Return whether the catalog has the files of the folder. Confirm held deletions."""
    confirm(world)
    return {path: document.content_hash for path, document in world.documents().items()} == on_disk(world.inbox)


def run_history(world: World, workers: Workers, outside: Path, seed: int, operations: int) -> None:
    """Run a random history, then compare folder, catalog and store."""
    outside.mkdir()
    world.inbox.mkdir()
    history = History(world, outside, seed)
    for _ in range(operations):
        history.step()
    history.finish()

    wait_until(lambda: is_mirrored(world) and world.info["waiting"] == 0 and workers.is_at_rest(), 30)
    documents = world.documents()
    assert {path: found.content_hash for path, found in documents.items()} == on_disk(world.inbox)
    for path, document in documents.items():
        status = (world.inbox / path).stat()
        state = (document.size_bytes, document.mtime_ns, document.inode, document.ctime_ns, document.state)
        # An empty file has nothing to index.
        ended = DocumentState.COMPLETED if status.st_size else DocumentState.FAILED
        assert state == (status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns, ended)
    assert points_in(workers.store) == points_expected(world.catalog, workers.blobs)


@pytest.mark.check
@pytest.mark.parametrize("seed", range(3))
def test_catalog_and_store_match_the_folder(world: World, workers: Workers, tmp_path: Path, seed: int) -> None:
    run_history(world, workers, tmp_path / "outside", seed, OPERATIONS)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 140))
def test_catalog_and_store_match_the_folder_after_long_histories(
    world: World, workers: Workers, tmp_path: Path, seed: int
) -> None:
    run_history(world, workers, tmp_path / "outside", seed, 10 * OPERATIONS)
