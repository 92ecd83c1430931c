"""The guard against mass deletion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.catalog import Catalog, FolderState, NewDocument, Source
from core.watch_roots import WatchMode, WatchRoot
from tests.support import migrated_catalog
from watchers.folder import Folder, Identity
from watchers.guard import WINDOW_SECONDS, Guard


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "inbox").mkdir()
    return Folder(WatchRoot(tmp_path / "inbox", "default"))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = migrated_catalog(tmp_path / "catalog.sqlite3")
    yield catalog
    catalog.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def guard(catalog: Catalog, clock: Clock) -> Guard:
    return Guard(catalog, clock)


def identity(folder: Folder) -> Identity:
    found = folder.identity()
    assert found is not None
    return found


def add(catalog: Catalog, folder: Folder, count: int) -> list[str]:
    new = [
        NewDocument(folder.collection, f"{number}.txt", Source.WATCH, "0" * 64, 1, root=folder.key, path=f"{number}")
        for number in range(count)
    ]
    return [catalog.add_document(document).id for document in new]


def test_a_folder_seen_for_the_first_time_is_accepted(folder: Folder, guard: Guard) -> None:
    assert not guard.may_delete(folder)
    assert not guard.knows(folder)
    guard.check_scan(folder, identity(folder), 0, 0)
    assert guard.may_delete(folder)
    assert guard.knows(folder)
    assert guard.state(folder) is FolderState.WATCHED


def test_few_files_may_always_be_deleted(folder: Folder, guard: Guard, catalog: Catalog) -> None:
    guard.check_scan(folder, identity(folder), 4, 0)
    add(catalog, folder, 4)
    assert guard.allows(folder, 4, 0)


def test_the_loss_of_more_than_half_of_the_files_is_held_even_after_a_restart(
    folder: Folder, guard: Guard, catalog: Catalog, clock: Clock
) -> None:
    add(catalog, folder, 10)
    guard.check_scan(folder, identity(folder), 10, 0)
    assert not guard.allows(folder, 6, 0)
    assert guard.state(folder) is FolderState.HELD
    again = Guard(catalog, clock)
    assert not again.may_delete(folder)
    again.check_scan(folder, identity(folder), 10, 6)
    assert again.state(folder) is FolderState.HELD


def test_recent_deletions_count_together(folder: Folder, guard: Guard, catalog: Catalog, clock: Clock) -> None:
    ids = add(catalog, folder, 10)
    guard.check_scan(folder, identity(folder), 10, 0)
    assert guard.allows(folder, 3, 0)
    catalog.delete_documents(ids[:3])
    assert not guard.allows(folder, 3, 0)


def test_deletions_long_ago_do_not_count(folder: Folder, guard: Guard, catalog: Catalog, clock: Clock) -> None:
    ids = add(catalog, folder, 10)
    guard.check_scan(folder, identity(folder), 10, 0)
    assert guard.allows(folder, 3, 0)
    catalog.delete_documents(ids[:3])
    clock.now += WINDOW_SECONDS + 1
    assert guard.allows(folder, 3, 0)


def test_upcoming_deletions_count_too(folder: Folder, guard: Guard, catalog: Catalog) -> None:
    add(catalog, folder, 10)
    guard.check_scan(folder, identity(folder), 10, 0)
    assert not guard.allows(folder, lost_count=1, upcoming_count=8)


def test_ignored_files_are_not_lost(folder: Folder, guard: Guard, catalog: Catalog) -> None:
    add(catalog, folder, 10)
    guard.check_scan(folder, identity(folder), 10, 0)
    assert guard.allows(folder, lost_count=0, upcoming_count=0)


def test_recently_ignored_files_do_not_count_as_lost(folder: Folder, guard: Guard, catalog: Catalog) -> None:
    ids = add(catalog, folder, 16)
    guard.check_scan(folder, identity(folder), 16, 0)
    assert guard.allows(folder, lost_count=0, upcoming_count=0)
    catalog.delete_documents(ids[:11])
    assert guard.allows(folder, lost_count=1, upcoming_count=0)
    catalog.delete_documents(ids[11:12])
    guard.check_scan(folder, identity(folder), 4, 0)
    assert guard.state(folder) is FolderState.WATCHED


def test_a_new_collection_or_mode_in_the_settings_is_saved_at_once(
    folder: Folder, guard: Guard, catalog: Catalog, clock: Clock
) -> None:
    guard.check_scan(folder, identity(folder), 0, 0)
    saved = catalog.watched_folder(folder.key)
    assert saved is not None
    catalog.save_watched_folder(replace(saved, collection="the old one", mode=WatchMode.ADDITIVE))
    Guard(catalog, clock).knows(folder)
    updated = catalog.watched_folder(folder.key)
    assert updated is not None and (updated.collection, updated.mode) == (folder.collection, folder.mode)


def test_a_held_folder_is_watched_again_when_its_files_are_back(folder: Folder, guard: Guard) -> None:
    guard.check_scan(folder, identity(folder), 10, 0)
    guard.check_scan(folder, identity(folder), 10, 8)
    guard.check_scan(folder, identity(folder), 10, 5)
    assert guard.state(folder) is FolderState.HELD, "half of them are not enough"
    guard.check_scan(folder, identity(folder), 90, 5)
    assert guard.state(folder) is FolderState.HELD, "new files do not replace the missing ones"
    guard.check_scan(folder, identity(folder), 10, 1)
    assert guard.may_delete(folder)


def test_another_folder_is_held_even_for_few_missing_files(folder: Folder, guard: Guard, tmp_path: Path) -> None:
    guard.check_scan(folder, identity(folder), 2, 0)
    Path(folder.path).rename(tmp_path / "elsewhere")
    assert not guard.may_delete(folder)
    Path(folder.path).mkdir()
    guard.check_scan(folder, identity(folder), 2, 2)
    assert guard.state(folder) is FolderState.HELD
    guard.check_scan(folder, identity(folder), 2, 0)
    assert guard.may_delete(folder)


def test_a_held_folder_is_watched_again_after_a_confirmation(folder: Folder, guard: Guard, catalog: Catalog) -> None:
    guard.check_scan(folder, identity(folder), 10, 10)
    assert not guard.is_confirmed(folder)
    catalog.confirm_watched_folder(folder.key)
    guard.check_scan(folder, identity(folder), 10, 9)
    assert guard.is_confirmed(folder), "a scan in between does not undo it"
    guard.end_confirmation(folder)
    assert guard.may_delete(folder)
    assert not guard.is_confirmed(folder)


def test_a_missing_folder_is_still_missing_after_a_restart(
    folder: Folder, guard: Guard, catalog: Catalog, clock: Clock
) -> None:
    add(catalog, folder, 3)
    guard.check_scan(folder, identity(folder), 3, 0)
    Path(folder.path).rmdir()
    guard.record_missing(folder)
    again = Guard(catalog, clock)
    assert not again.may_delete(folder)
    assert again.state(folder) is FolderState.MISSING
    saved = catalog.watched_folder(folder.key)
    assert saved is not None
    assert (saved.state, saved.missing_count) == (FolderState.MISSING, 3)
