"""Free space on the disks that the program writes to, and the floor below which it takes no new work."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

from core.errors import StorageFull
from core.settings import Settings

log = logging.getLogger(__name__)

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
#: PostgreSQL's `disk_full`.
_POSTGRES_DISK_FULL = "53100"


class DiskSpace:
    """The disks of `DATA_DIR` and `BLOB_DIR`, of which `MIN_FREE_BYTES` each are to stay free.

    Uploads and new work are refused below this floor, so that running work can end and be recorded.
    """

    def __init__(self, settings: Settings) -> None:
        self._min_free_bytes = settings.min_free_bytes
        self._folders = {"DATA_DIR": settings.state_dir}
        if settings.blob_dir is not None:
            self._folders["BLOB_DIR"] = settings.blobs_path
        self._was_short = False

    @classmethod
    def of_models(cls, settings: Settings) -> DiskSpace:
        """Return the disk of `MODELS_DIR`, with the same floor."""
        disk = cls(settings)
        disk._folders = {"MODELS_DIR": settings.models_path}
        return disk

    def shortage(self, new_bytes: int = 0) -> str | None:
        """Return a sentence about a disk that would have too little free space with `new_bytes` more, or None."""
        if not self._min_free_bytes:
            return None
        for name, folder in self._folders.items():
            free = free_bytes(folder)
            if free is not None and free - new_bytes < self._min_free_bytes:
                wanted = f"{new_bytes:,} more are to be written and " if new_bytes > 0 else ""
                kept = f"{self._min_free_bytes:,} must stay free (MIN_FREE_BYTES)"
                return f"The disk of {name} has {free:,} bytes free, but {wanted}{kept}."
        return None

    def require(self, new_bytes: int = 0) -> None:
        """Check that there is room for `new_bytes` above the floor.

        Raises:
            StorageFull: there is not; the message has the numbers.
        """
        shortage = self.shortage(new_bytes)
        if shortage:
            raise StorageFull(f"{shortage} New work is accepted again once there is room.")

    def require_reserve(self) -> None:
        """Check that half of the floor is free: work that is running stops below it, before there is nothing left.

        Raises:
            StorageFull: it is not.
        """
        shortage = self.shortage(-self._min_free_bytes // 2)
        if shortage:
            raise StorageFull(f"{shortage} Work that is running stops until there is room.")

    def is_short(self, report: Callable[[str], None] = log.warning) -> bool:
        """Return whether a disk is below the floor. Report when this changes."""
        shortage = self.shortage()
        if shortage and not self._was_short:
            report(f"{shortage} No new work is begun until there is room.")
        elif self._was_short and not shortage:
            report("The disk has room again, and work goes on.")
        self._was_short = bool(shortage)
        return self._was_short


def free_bytes(folder: Path) -> int | None:
    """Return the free space of a folder's disk, or None if the folder cannot be reached."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def is_disk_full(error: BaseException) -> bool:
    """Return whether an error of the file system or of a store means that a disk or a quota is full."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return True
    if getattr(error, "sqlstate", None) == _POSTGRES_DISK_FULL:
        return True
    # Redis and the embedded vector store have no codes.
    return os.strerror(errno.ENOSPC) in str(error)
