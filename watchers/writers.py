"""Whether somebody has a file open for writing, as far as the operating system tells.

Linux tells it by leases: a read lease is refused while a file is open for writing, and whoever opens it afterwards
waits until the lease is released. A process gets leases only on files of its own user, unless it is root or has
CAP_LEASE. Otherwise, the descriptors of those processes that it may inspect are looked through.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PROCESSES = Path("/proc")
_MOUNTS = Path("/proc/self/mountinfo")
#: File systems that also refuse a lease if the server did not delegate the file.
_AMBIGUOUS_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3"})


class OpenForWriting(Exception):
    """Somebody has the file open for writing."""


@contextmanager
def without_writers(descriptor: int) -> Iterator[Callable[[], bool]]:
    """Yield a question: is it still true that nobody has opened this file for writing?

    Where the system cannot tell, the answer is yes.

    Raises:
        OpenForWriting: somebody has it open now.
    """
    is_leased = _take_lease(descriptor)
    if is_leased is None and _has_writer(descriptor):
        raise OpenForWriting
    if is_leased is False:
        raise OpenForWriting
    try:
        yield lambda: not is_leased or fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    finally:
        if is_leased:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _take_lease(descriptor: int) -> bool | None:
    """Take a read lease. Return False if the file is open for writing, or None if that cannot be found out this way."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        # If the file is then opened for writing, the kernel sends a signal: by default SIGIO, which would end this
        # process. SIGURG is ignored.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN and not _is_ambiguous(descriptor) else None
    return True


def _is_ambiguous(descriptor: int) -> bool:
    """Return whether the file is on a file system that refuses leases for other reasons too."""
    device = os.fstat(descriptor).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in _MOUNTS.read_text(errors="replace").splitlines():
        mount, _, system = line.partition(" - ")
        if mount.split()[2] == number:
            return system.split()[0] in _AMBIGUOUS_SYSTEMS
    return False


def _has_writer(descriptor: int) -> bool:
    """Return whether a process that this one may inspect has the file open for writing."""
    status = os.fstat(descriptor)
    return any(
        _identity(opened) == (status.st_dev, status.st_ino) and _is_writable(opened)
        for process in _entries(_PROCESSES)
        if process.name.isdecimal()
        for opened in _entries(process / "fd")
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []  # the process has ended, or belongs to another user; or this system has no /proc


def _identity(opened: Path) -> tuple[int, int] | None:
    try:
        status = opened.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_writable(opened: Path) -> bool:
    try:
        lines = (opened.parent.parent / "fdinfo" / opened.name).read_text().splitlines()
    except OSError:
        return False
    flags = next((int(line.split()[1], 8) for line in lines if line.startswith("flags:")), os.O_RDONLY)
    return flags & os.O_ACCMODE != os.O_RDONLY
