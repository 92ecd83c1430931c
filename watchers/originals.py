"""Our own copies of watched files, for folders whose files may go while their documents stay."""

from __future__ import annotations

import hashlib
import logging
import threading
from functools import cached_property
from pathlib import Path

from core.blobs import BlobStore
from core.catalog import to_text
from core.settings import WatchMode
from watchers.folder import Folder
from watchers.reconcile import FileStat

logger = logging.getLogger(__name__)


class Originals:
    """Copies files of one folder to the blobs, and removes them from it where that is its mode."""

    def __init__(self, folder: Folder, blobs_path: Path, stop: threading.Event, max_upload_bytes: int) -> None:
        self._folder = folder
        self._blobs_path = blobs_path
        self._stop = stop
        self._max_upload_bytes = max_upload_bytes
        #: Files that were taken and could not be removed, by path: they stay, and are not taken again.
        self._left: dict[str, FileStat] = {}

    @cached_property
    def _blobs(self) -> BlobStore:
        # Opened when it is needed: a watcher that only mirrors can do without the blobs' disk.
        return BlobStore(self._blobs_path)

    @property
    def is_consumed(self) -> bool:
        """Whether files are removed once they are taken."""
        return self._folder.mode is WatchMode.CONSUME

    def is_wanted(self, stat: FileStat) -> bool:
        """Whether a file of this size is copied; one that is too large is refused where it lies."""
        return self._folder.mode is not WatchMode.MIRROR and stat.size_bytes <= self._max_upload_bytes

    def is_left(self, path: str, stat: FileStat) -> bool:
        """Whether the file was taken before, and could not be removed."""
        return self._left.get(path) == stat

    def copy(self, path: str, content_hash: str) -> str | None:
        """The key of a durable copy; None when the file has changed since it was hashed.

        Raises:
            OSError: it cannot be read, or the disk of the blobs is full.
            Stopped: in the middle of it.
        """
        digest = hashlib.sha256()
        with self._blobs.stage(path.rpartition("/")[2]) as staged:

            def take(block: bytes) -> None:
                digest.update(block)
                staged.write(block)

            self._folder.read(path, take, self._stop)
            return staged.commit().key if digest.hexdigest() == content_hash else None

    def discard(self, blob_key: str | None) -> None:
        """Removes a copy that nothing refers to any more."""
        if blob_key is not None:
            self._blobs.delete(blob_key)

    def taken_key(self, path: str, stat: FileStat, content_hash: str) -> str:
        """The idempotency key of a file: after a crash before its removal, it is not a second document."""
        state = f"{stat.size_bytes}:{stat.mtime_ns}:{stat.inode}:{content_hash}"
        name = f"{self._folder.key}\0{to_text(path)}\0{state}"
        return f"consumed:{hashlib.sha256(name.encode()).hexdigest()}"

    def remove(self, path: str, stat: FileStat) -> None:
        """Removes a file that was taken from the folder, unless it has changed since."""
        try:
            if self._folder.stat(path) == stat:
                Path(self._folder.absolute(path)).unlink()
                self._left.pop(path, None)
                logger.info("taken, and removed from the folder: %s", to_text(path))
        except FileNotFoundError:
            return
        except OSError as error:
            self._left[path] = stat
            logger.warning("%s was taken, but cannot be removed from its folder: %s", to_text(path), error.strerror)
