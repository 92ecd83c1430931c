"""The floor of free space, over file systems whose numbers the test makes up."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
import redis

from core import disk
from core.disk import DiskSpace, free_bytes, is_disk_full
from core.errors import StorageFull
from core.settings import Settings, load_settings

FLOOR = 1000


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """Return the free bytes of folders by their name, for the test to change."""
    numbers: dict[str, int | None] = {"data": 5000, "blobs": 5000}
    monkeypatch.setattr(disk, "free_bytes", lambda folder: numbers[folder.name])
    return numbers


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(_env_file=None, data_dir=tmp_path / "data", blob_dir=tmp_path / "blobs", min_free_bytes=FLOOR)


@pytest.mark.parametrize(("folder", "name"), [("data", "DATA_DIR"), ("blobs", "BLOB_DIR")])
def test_new_work_is_refused_below_the_floor_of_each_disk(
    settings: Settings, free: dict[str, int | None], folder: str, name: str
) -> None:
    space = DiskSpace(settings)
    space.require()
    free[folder] = FLOOR - 1
    with pytest.raises(StorageFull) as raised:
        space.require()
    assert raised.value.info.status == 507
    assert f"The disk of {name} has 999 bytes free, but 1,000 must stay free (MIN_FREE_BYTES)" in raised.value.message
    free[folder] = FLOOR
    space.require()


def test_what_a_request_brings_counts(settings: Settings, free: dict[str, int | None]) -> None:
    space = DiskSpace(settings)
    space.require(4000)
    with pytest.raises(StorageFull, match=r"4,001 more are to be written and 1,000 must stay free"):
        space.require(4001)


def test_running_work_may_use_half_of_the_floor(settings: Settings, free: dict[str, int | None]) -> None:
    space = DiskSpace(settings)
    free["data"] = FLOOR // 2
    space.require_reserve()
    free["data"] = FLOOR // 2 - 1
    with pytest.raises(StorageFull, match="499 bytes free"):
        space.require_reserve()


def test_a_floor_of_zero_refuses_nothing(settings: Settings, free: dict[str, int | None]) -> None:
    free["data"] = 0
    space = DiskSpace(settings.model_copy(update={"min_free_bytes": 0}))
    space.require(10**9)
    space.require_reserve()


def test_a_disk_that_cannot_be_asked_is_not_full(settings: Settings, free: dict[str, int | None]) -> None:
    free["data"] = None
    DiskSpace(settings).require()
    assert free_bytes(Path("/nowhere/at/all")) is None


def test_a_shortage_and_its_end_are_reported_once(settings: Settings, free: dict[str, int | None]) -> None:
    space, reported = DiskSpace(settings), list[str]()
    for number in (5000, 10, 20, 5000, 5000):
        free["data"] = number
        assert space.is_short(reported.append) is (number < FLOOR)
    assert len(reported) == 2
    assert "10 bytes free" in reported[0] and "has room again" in reported[1]


def test_errors_that_mean_a_full_disk(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "small.sqlite3")
    connection.execute("CREATE TABLE t (a)")
    connection.execute("PRAGMA max_page_count = 3")
    with pytest.raises(sqlite3.OperationalError) as full:
        connection.execute("INSERT INTO t VALUES (?)", ("x" * 100_000,))
    connection.close()
    assert is_disk_full(full.value)
    assert is_disk_full(OSError(errno.ENOSPC, "No space left on device"))
    assert is_disk_full(OSError(errno.EDQUOT, "Disk quota exceeded"))
    assert is_disk_full(redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"))
    assert not is_disk_full(OSError(errno.ENOENT, "No such file or directory"))
    assert not is_disk_full(sqlite3.OperationalError("database is locked"))
