"""Finding out whether somebody has a file open for writing."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from watchers import writers
from watchers.writers import OpenForWriting, without_writers

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells it")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("text")
    return path


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def refuse_leases(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make the kernel refuse leases, as it does for files of other users or on some file systems."""
    real: Callable[..., Any] = fcntl.fcntl

    def refusing(descriptor: int, command: int, argument: int = 0) -> Any:
        if command == fcntl.F_SETLEASE:
            raise OSError(number, os.strerror(number))
        return real(descriptor, command, argument)

    monkeypatch.setattr(writers.fcntl, "fcntl", refusing)


@pytest.mark.parametrize("error", [None, errno.EACCES, errno.EINVAL])
def test_a_file_that_is_open_for_writing_is_found(
    path: Path, descriptor: int, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    if error is not None:
        refuse_leases(monkeypatch, error)
    for mode in ("a", "r+"):
        with path.open(mode), pytest.raises(OpenForWriting), without_writers(descriptor):
            pass
    with path.open("rb"), without_writers(descriptor) as is_unwritten:
        assert is_unwritten()


def test_a_writer_that_comes_later_is_noticed_and_waits(path: Path, descriptor: int) -> None:
    with without_writers(descriptor) as is_unwritten:
        with pytest.raises(BlockingIOError):
            os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        assert not is_unwritten()
    with path.open("a"):
        pass


def test_a_network_file_system_that_refuses_leases_is_no_writer(
    path: Path, descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_leases(monkeypatch, errno.EAGAIN)
    with pytest.raises(OpenForWriting), without_writers(descriptor):
        pass
    device = os.fstat(descriptor).st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"25 1 {os.major(device)}:{os.minor(device)} / / rw,relatime shared:1 - nfs4 server:/srv rw\n")
    monkeypatch.setattr(writers, "_MOUNTS", mounts)
    with without_writers(descriptor) as is_unwritten:
        assert is_unwritten()
    with path.open("a"), pytest.raises(OpenForWriting), without_writers(descriptor):
        pass
