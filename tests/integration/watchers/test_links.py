"""Whatever is put in place of a watched file between its queueing and its reading: nothing of outside is ever read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from core.catalog import Document, DocumentState
from core.safe_open import opened_file
from tests.integration.watchers.workers import Workers
from tests.integration.watchers.world import World
from tests.support import wait_until

INSIDE, OUTSIDE = "The harbour opens at nine.", "The password is swordfish."


@pytest.fixture
def world(make_world: Callable[..., World], tmp_path: Path) -> World:
    world = make_world(watch_rescan_seconds=1)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text(OUTSIDE)
    (world.inbox / "sub").mkdir(parents=True)
    (world.inbox / "sub" / "a.txt").write_text(INSIDE)
    return world


@pytest.fixture
def workers(world: World, tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path, world.settings, world.catalog)
    yield workers
    world.stop()
    workers.close()


def put_link(inbox: Path, outside: Path) -> None:
    (inbox / "sub" / "a.txt").rename(outside / "aside.txt")
    (inbox / "sub" / "a.txt").symlink_to(outside / "a.txt")


def put_linked_folder(inbox: Path, outside: Path) -> None:
    (inbox / "sub").rename(outside / "aside")
    (inbox / "sub").symlink_to(outside)


def put_hard_link(inbox: Path, outside: Path) -> None:
    (inbox / "sub" / "a.txt").rename(outside / "aside.txt")
    os.link(outside / "a.txt", inbox / "sub" / "a.txt")


def put_back(inbox: Path, outside: Path) -> None:
    if (outside / "aside").exists():
        (inbox / "sub").unlink()
        (outside / "aside").rename(inbox / "sub")
    else:
        (inbox / "sub" / "a.txt").unlink()
        (outside / "aside.txt").rename(inbox / "sub" / "a.txt")


def texts(world: World, workers: Workers) -> list[str]:
    """Return the indexed text of all documents."""
    found = []
    for document in world.catalog.list_documents(limit=100).items:
        path = workers.blobs.chunks_path(document.id, document.generation)
        if path.exists():
            found.append(path.read_text())
    return found


def parse(world: World, workers: Workers, document: Document) -> Document:
    """Let a worker parse the document now, and return it."""
    workers.ingest(document.id)
    wait_until(lambda: world.catalog.get_document(document.id).state in (DocumentState.FAILED, DocumentState.PARSED))
    return world.catalog.get_document(document.id)


@pytest.mark.parametrize("put", [put_link, put_linked_folder, put_hard_link])
def test_a_file_that_is_swapped_while_it_is_queued_is_not_read(
    world: World, workers: Workers, tmp_path: Path, put: Callable[[Path, Path], None]
) -> None:
    world.start()
    queued = world.settle_on("sub/a.txt")["sub/a.txt"]
    world.stop()
    put(world.inbox, tmp_path / "outside")
    failed = parse(world, workers, queued)
    assert (failed.state, failed.error_code) == (DocumentState.FAILED, "original_missing")
    assert texts(world, workers) == []
    put_back(world.inbox, tmp_path / "outside")
    world.workers = workers
    world.start()
    wait_until(lambda: workers.is_at_rest() and world.documents()["sub/a.txt"].state is DocumentState.COMPLETED)
    [text] = texts(world, workers)
    assert INSIDE in text


@pytest.mark.parametrize("mode", ["mirror", "additive", "consume"])
@pytest.mark.parametrize("put", [put_link, put_linked_folder])
def test_a_file_that_is_swapped_before_the_watcher_reads_it_is_not_read(
    make_world: Callable[..., World],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    put: Callable[[Path, Path], None],
) -> None:
    """Swap at the worst moment: just before the watcher opens the file that it has found to be stable."""
    world = make_world(watch_dirs=(f"{tmp_path / 'inbox'}=default:{mode}",), watch_rescan_seconds=1)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.txt").write_text(OUTSIDE)
    (world.inbox / "sub").mkdir(parents=True)
    (world.inbox / "sub" / "a.txt").write_text(INSIDE)
    swaps = [put]

    def swapping(root: str, relative: str) -> AbstractContextManager[int]:
        if relative == "sub/a.txt" and swaps:
            swaps.pop()(world.inbox, outside)
        return opened_file(root, relative)

    monkeypatch.setattr("watchers.folder.opened_file", swapping)
    world.start()
    wait_until(lambda: not swaps)
    wait_until(lambda: world.info["waiting"] == 0)
    assert world.catalog.list_documents(limit=10).items == []
    assert (outside / "a.txt").read_text() == OUTSIDE, "nothing outside is removed"
    put_back(world.inbox, outside)
    wait_until(lambda: world.catalog.list_documents(limit=10).items)
    [document] = world.catalog.list_documents(limit=10).items
    assert document.size_bytes == len(INSIDE)


def test_a_link_to_a_file_of_the_folder_is_read(world: World, workers: Workers) -> None:
    (world.inbox / "link.txt").symlink_to("sub/a.txt")
    world.workers = workers
    world.start()
    world.settle_on("sub/a.txt", "link.txt")
    wait_until(workers.is_at_rest)
    assert {document.state for document in world.documents().values()} == {DocumentState.COMPLETED}


def test_a_file_that_changes_while_it_is_queued_is_read_as_the_watcher_sees_it_next(
    world: World, workers: Workers
) -> None:
    world.start()
    queued = world.settle_on("sub/a.txt")["sub/a.txt"]
    world.stop()
    (world.inbox / "sub" / "a.txt").write_text("The harbour opens at ten.")
    failed = parse(world, workers, queued)
    assert failed.error is not None and "has changed since it was found" in failed.error
    world.workers = workers
    world.start()
    wait_until(lambda: workers.is_at_rest() and world.documents()["sub/a.txt"].state is DocumentState.COMPLETED)
    assert "opens at ten" in "".join(texts(world, workers))
    assert list(workers.blobs.staging.iterdir()) == [], "no private copy is left"
