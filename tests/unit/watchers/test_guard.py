"""The guard against losing a folder's documents with the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.settings import WatchRoot
from watchers.folder import Folder, Identity
from watchers.guard import Guard


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "inbox").mkdir()
    return Folder(WatchRoot(tmp_path / "inbox", "default"))


def identity(folder: Folder) -> Identity:
    found = folder.identity()
    assert found is not None
    return found


def test_a_folder_seen_for_the_first_time_is_accepted(folder: Folder, tmp_path: Path) -> None:
    guard = Guard(tmp_path / "state.json")
    assert not guard.may_delete(folder)
    guard.consider(folder, identity(folder), row_count=0, vanished_count=0)
    assert guard.may_delete(folder)
    assert guard.knows(folder)


def test_the_same_folder_may_lose_everything_even_after_a_restart(folder: Folder, tmp_path: Path) -> None:
    Guard(tmp_path / "state.json").consider(folder, identity(folder), 0, 0)
    guard = Guard(tmp_path / "state.json")
    guard.consider(folder, identity(folder), row_count=10, vanished_count=10)
    assert guard.may_delete(folder)
    assert not guard.is_doubted(folder)


def test_another_folder_is_doubted_while_most_files_are_missing(folder: Folder, tmp_path: Path) -> None:
    guard = Guard(tmp_path / "state.json")
    guard.consider(folder, identity(folder), 0, 0)
    Path(folder.path).rename(tmp_path / "elsewhere")
    assert not guard.may_delete(folder)
    Path(folder.path).mkdir()
    guard.consider(folder, identity(folder), row_count=10, vanished_count=6)
    assert guard.is_doubted(folder)
    assert not guard.may_delete(folder)
    guard.consider(folder, identity(folder), row_count=10, vanished_count=5)
    assert not guard.is_doubted(folder)
    assert guard.may_delete(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": {"wrong": 1}}'])
def test_a_damaged_memory_is_an_empty_one(folder: Folder, tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert not Guard(tmp_path / "state.json").knows(folder)
