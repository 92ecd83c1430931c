"""The private directory of a stack's sockets, generated configuration and locks."""

from __future__ import annotations

import fcntl
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from core.errors import ConfigurationError


@dataclass(frozen=True)
class RuntimeDir:
    """The paths in a stack's runtime directory."""

    path: Path

    @property
    def supervisor_socket(self) -> Path:
        return self.path / "supervisor.sock"

    @property
    def supervisor_config(self) -> Path:
        return self.path / "supervisord.conf"

    @property
    def supervisor_pidfile(self) -> Path:
        return self.path / "supervisord.pid"

    @property
    def redis_config(self) -> Path:
        return self.path / "redis.conf"

    @property
    def flower_config(self) -> Path:
        return self.path / "flowerconfig.py"

    @property
    def up_lock(self) -> Path:
        """Lock file that `llm-api up` holds as long as it runs; contains its pid."""
        return self.path / "up.lock"

    @property
    def guard_lock(self) -> Path:
        """Lock file that the guard holds as long as it runs; contains its pid."""
        return self.path / "guard.lock"

    def prepare(self) -> None:
        """Create the directory, accessible to this user only.

        Raises:
            ConfigurationError: the path exists and is not a directory of this user.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.lstat()
        # It may be in /tmp, where another user could have created a link or a directory of this name before.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise ConfigurationError(
                f"{self.path} must be a directory that belongs to you, because it holds sockets. "
                "Remove it, or set XDG_RUNTIME_DIR to a private directory."
            )
        self.path.chmod(0o700)


class Lock:
    """A lock file that contains its owner's pid. The system releases it when its owner ends, in whatever way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free, and return whether it was."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Release the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def lock_owner(path: Path) -> int | None:
    """Return the pid of the process that holds a lock file, or None if it is free."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # Its owner writes the pid right after it takes the lock, so the file may still be empty.
        return int(os.pread(descriptor, 20, 0) or b"0")
    finally:
        os.close(descriptor)
    return None
