"""Faults that must not lose a document: folders that vanish, stores that do not answer, events that are lost."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core.catalog import Catalog, Document, NewDocument, Source
from core.errors import Unavailable
from tests.integration.watchers.world import World
from tests.support import wait_until
from watchers.folder_source import FolderSource

REPOSITORY = Path(__file__).parents[3]


def test_a_vanished_folder_deletes_nothing_and_is_mirrored_again_when_it_is_back(world: World, tmp_path: Path) -> None:
    world.start()
    (world.inbox / "a.txt").write_text("a")
    before = world.settle_on("a.txt")
    world.inbox.rename(tmp_path / "elsewhere")
    wait_until(lambda: world.info["folders"][0]["state"] == "missing", 5)
    assert world.documents() == before
    (tmp_path / "elsewhere").rename(world.inbox)
    (world.inbox / "b.txt").write_text("b")
    after = world.settle_on("a.txt", "b.txt")
    assert after["a.txt"] == before["a.txt"]


def test_a_missing_folder_with_documents_is_not_created_at_the_start(world: World, tmp_path: Path) -> None:
    world.start()
    (world.inbox / "a.txt").write_text("a")
    before = world.settle_on("a.txt")
    world.stop()
    world.inbox.rename(tmp_path / "elsewhere")
    world.start()
    assert world.info["folders"][0]["state"] == "missing"
    assert not world.inbox.exists()
    assert world.documents() == before


def test_a_folder_that_cannot_be_created_is_logged_once(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[FolderSource] = []
    create = FolderSource._create

    def counted(source: FolderSource) -> None:
        create(source)
        tries.append(source)

    monkeypatch.setattr(FolderSource, "_create", counted)
    monkeypatch.setattr("watchers.folder_source.FOLDER_CHECK_SECONDS", 0.05)
    world.inbox.write_text("a file")
    world.start()
    wait_until(lambda: len(tries) >= 3)
    assert caplog.text.count("inbox cannot be created") == 1
    world.inbox.unlink()
    wait_until(lambda: world.info["folders"][0]["state"] == "watched")


def test_an_empty_mount_point_in_place_of_the_folder_deletes_nothing(world: World, tmp_path: Path) -> None:
    world.start()
    for name in "abc":
        (world.inbox / f"{name}.txt").write_text(name)
    before = world.settle(lambda documents: len(documents) == 3)
    world.inbox.rename(tmp_path / "elsewhere")
    world.inbox.mkdir()
    (world.inbox / "new.txt").write_text("new")
    after = world.settle(lambda documents: "new.txt" in documents)
    assert {path: after[path] for path in before} == before
    assert world.info["folders"][0]["state"] == "held"


def fill(world: World, count: int) -> dict[str, Document]:
    for number in range(count):
        (world.inbox / f"{number}.txt").write_text(str(number))
    return world.settle(lambda documents: len(documents) == count)


def state(world: World) -> str:
    return str(world.info["folders"][0]["state"])


def test_few_files_are_deleted_without_confirmation(world: World) -> None:
    world.start()
    fill(world, 4)
    for path in world.inbox.iterdir():
        path.unlink()
    world.settle_on()


@pytest.mark.parametrize("is_running", [True, False])
def test_the_loss_of_more_than_half_of_the_files_must_be_confirmed(world: World, is_running: bool) -> None:
    world.start()
    before = fill(world, 10)
    if not is_running:
        world.stop()
    for number in range(6):
        (world.inbox / f"{number}.txt").unlink()
    if not is_running:
        world.start()
    wait_until(lambda: state(world) == "held")
    (world.inbox / "new.txt").write_text("new files are ingested all the same")
    after = world.settle(lambda documents: "new.txt" in documents)
    assert {path: after[path] for path in before} == before
    world.stop()
    world.start()
    assert state(world) == "held"
    world.catalog.confirm_watched_folder(str(world.inbox))
    world.settle_on("6.txt", "7.txt", "8.txt", "9.txt", "new.txt")
    wait_until(lambda: state(world) == "watched")


def test_a_held_folder_is_watched_again_when_its_files_are_back(world: World, tmp_path: Path) -> None:
    world.start()
    before = fill(world, 10)
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(8):
        (world.inbox / f"{number}.txt").rename(outside / f"{number}.txt")
    wait_until(lambda: state(world) == "held")
    for number in range(7):
        (outside / f"{number}.txt").rename(world.inbox / f"{number}.txt")
    wait_until(lambda: state(world) == "watched")
    after = world.settle(lambda documents: len(documents) == 9)
    assert "7.txt" not in after
    assert {document.id for document in after.values()} < {document.id for document in before.values()}


def test_the_documents_of_a_vanished_folder_are_deleted_once_that_is_confirmed(world: World, tmp_path: Path) -> None:
    world.start()
    fill(world, 2)
    world.inbox.rename(tmp_path / "elsewhere")
    wait_until(lambda: state(world) == "missing")
    world.catalog.confirm_watched_folder(str(world.inbox))
    world.settle_on()
    assert not world.inbox.exists()


def test_renaming_all_files_is_not_a_loss(world: World) -> None:
    world.start()
    (world.inbox / "tree").mkdir()
    for number in range(10):
        (world.inbox / "tree" / f"{number}.txt").write_text(str(number))
    before = world.settle(lambda documents: len(documents) == 10)
    world.stop()
    (world.inbox / "tree").rename(world.inbox / "other")
    world.start()
    after = world.settle(lambda documents: all(path.startswith("other/") for path in documents))
    assert {document.id for document in after.values()} == {document.id for document in before.values()}
    assert state(world) == "watched"


def test_files_are_mirrored_while_the_queue_does_not_answer(world: World) -> None:
    world.start()
    world.messenger.is_unavailable = True
    (world.inbox / "a.txt").write_text("a")
    world.settle_on("a.txt")
    assert [one.dispatched_at for one in world.catalog.find_documents(str(world.inbox))] == [None]
    (world.inbox / "a.txt").unlink()
    world.settle_on()
    world.messenger.is_unavailable = False
    (world.inbox / "b.txt").write_text("b")
    wait_until(lambda: world.messenger.ingested)


def test_the_watcher_waits_for_a_catalog_that_does_not_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = threading.Event()
    add = world.catalog.add_files

    def refuse_at_first(new: Sequence[NewDocument]) -> list[str]:
        if not refused.is_set():
            refused.set()
            raise Unavailable("The catalog does not answer.")
        return add(new)

    monkeypatch.setattr(world.catalog, "add_files", refuse_at_first)
    world.start()
    (world.inbox / "a.txt").write_text("a")
    world.settle_on("a.txt")
    assert refused.is_set()


def test_a_scan_follows_lost_events(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("watchers.observer.FolderObserver.watch", lambda *_: True)
    world.start()
    (world.inbox / "a.txt").write_text("a")
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    world.settle_on("a.txt")


def test_a_failed_observer_is_started_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.start()
    with monkeypatch.context() as patch:
        patch.setattr("watchers.observer.FolderObserver.is_alive", False)
        (world.inbox / "a.txt").write_text("a")
        wait_until(lambda: len(world.documents()) == 1)
    (world.inbox / "b.txt").write_text("b")
    world.settle_on("a.txt", "b.txt")


def test_the_periodic_scan_finds_changes_without_events(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watchers.observer.FolderObserver.watch", lambda *_: True)
    world = make_world(watch_rescan_seconds=1)
    world.start()
    (world.inbox / "a.txt").write_text("a")
    world.settle_on("a.txt")
    (world.inbox / "a.txt").unlink()
    world.settle_on()


def test_uploads_are_never_touched(world: World) -> None:
    upload = world.catalog.add_document(NewDocument("default", "u.txt", Source.UPLOAD, "0" * 64, 1, path="u.txt"))
    world.start()
    (world.inbox / "a.txt").write_text("a")
    world.settle_on("a.txt")
    assert world.catalog.get_document(upload.id) == upload


def test_several_folders_feed_their_collections(make_world: Callable[..., World], tmp_path: Path) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer" / "inner"
    world = make_world(watch_dirs=(str(outer), f"{inner}=contracts"))
    world.start()
    (outer / "a.txt").write_text("a")
    (inner / "b.txt").write_text("b")
    wait_until(lambda: world.documents(outer) and world.documents(inner))
    assert [document.collection for document in world.documents(outer).values()] == ["default"]
    assert [document.collection for document in world.documents(inner).values()] == ["contracts"]


@pytest.mark.check
def test_the_process_ends_after_sigterm_while_redis_does_not_answer(tmp_path: Path) -> None:
    environment = os.environ | {
        "DATA_DIR": str(tmp_path / "data"),
        "WATCH_DIRS": str(tmp_path / "inbox"),
        "REDIS_URL": f"unix://{tmp_path}/nobody.sock",
        "WATCH_STABLE_SECONDS": "0.2",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "watchers"], cwd=REPOSITORY, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until((tmp_path / "inbox").is_dir, 20)
        (tmp_path / "inbox" / "a.txt").write_text("a")
        catalog = Catalog.open(f"sqlite:///{tmp_path}/data/catalog.sqlite3")
        wait_until(lambda: catalog.find_documents(str(tmp_path / "inbox")), 10)
        catalog.close()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, log
