"""The lock that gives the embedded store to one process. The kernel releases it, however that process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from core.errors import ConfigurationError


class OwnerLock:
    """A lock that is held from construction to `release`.

    Raises:
        ConfigurationError: another process holds the lock; the message names it.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(folder / f"owner.{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(self._descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(self._descriptor)
            raise ConfigurationError(
                f"DATA_DIR: the vector store in {folder} is in use by the running process {owner}, and only one "
                "process can use an embedded store. Stop that process, choose another DATA_DIR, or share a server "
                "with QDRANT_URL"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Release the lock, so that another process can take it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
