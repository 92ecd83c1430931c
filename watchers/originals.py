"""Copies of watched files in the blob store, for folders whose files may go while their documents stay."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack
from functools import cached_property

from core.blobs import BlobStore, StagedBlob
from core.catalog import to_text
from core.disk import DiskSpace
from core.settings import Settings
from core.watch_roots import WatchMode
from watchers.completeness import why_incomplete
from watchers.folder import Folder
from watchers.reconcile import FileStat

logger = logging.getLogger(__name__)

#: How long a file must not have changed that seems to be incomplete.
INCOMPLETE_SECONDS = 120


class Originals:
    """Copies files of one folder to the blobs, and removes them from the folder if its mode says so."""

    def __init__(self, folder: Folder, settings: Settings, stop: threading.Event) -> None:
        self._folder = folder
        self._blobs_path = settings.blobs_path
        self._disk = DiskSpace(settings)
        self._stop = stop
        self._max_upload_bytes = settings.max_upload_bytes
        #: Files that were ingested but could not be removed, by path: they are not ingested again.
        self._unremovable: dict[str, FileStat] = {}
        #: Copies of large files that are not durable yet, by path. If one is never needed, it is swept like any other.
        self._staged: dict[str, tuple[FileStat, StagedBlob]] = {}
        #: Files that are still being written: each is logged once.
        self._incomplete: set[str] = set()

    @cached_property
    def _blobs(self) -> BlobStore:
        # Opened when it is first needed, because a watcher that only mirrors works without the blobs' disk.
        return BlobStore(self._blobs_path)

    @property
    def is_consumed(self) -> bool:
        """Whether files are removed from the folder once they are ingested."""
        return self._folder.mode is WatchMode.CONSUME

    def should_copy(self, stat: FileStat) -> bool:
        """Return whether a file of this size is copied; one that is too large stays in the folder and is refused."""
        return self._folder.mode is not WatchMode.MIRROR and stat.size_bytes <= self._max_upload_bytes

    def is_unremovable(self, path: str, stat: FileStat) -> bool:
        """Return whether the file was ingested before but could not be removed."""
        return self._unremovable.get(path) == stat

    def must_wait(self, path: str, stat: FileStat) -> bool:
        """Return whether the file would be removed once it is ingested, but is probably still being written."""
        if not self.is_consumed or not self.should_copy(stat):
            return False
        try:
            reason = self._reason_to_wait(path, stat)
        except OSError:
            return False  # the file is opened again to be hashed, where errors are handled
        if reason is None:
            self._incomplete.discard(path)
        elif path not in self._incomplete:
            self._incomplete.add(path)
            logger.info("%s %s", to_text(path), reason)
        return reason is not None

    def _reason_to_wait(self, path: str, stat: FileStat) -> str | None:
        if self._folder.is_open_for_writing(path, stat):
            return "is open for writing, and is taken once it is closed"
        if time.time() - stat.ctime_ns / 1e9 >= INCOMPLETE_SECONDS:
            return None
        missing = why_incomplete(*self._folder.ends(path, stat))
        return missing and f"{missing}, and is taken once it has not changed for {INCOMPLETE_SECONDS} s"

    def copy(self, path: str, stat: FileStat, content_hash: str) -> str | None:
        """Copy a file durably and return the copy's key, or None if the file has changed since it was hashed.

        Raises:
            OSError: the file is no longer there or cannot be read, or the copy cannot be written.
            StorageFull: the blobs' disk is below MIN_FREE_BYTES.
            Stopped: the watcher was stopped meanwhile.
        """
        large = self._take_staged(path, stat, content_hash)
        if large is not None:
            return large.commit().key
        self._disk.require()
        digest = hashlib.sha256()
        with self._blobs.stage(path.rpartition("/")[2]) as staged:

            def take(block: bytes) -> None:
                digest.update(block)
                staged.write(block)

            self._folder.read(path, stat, take, self._stop)
            return staged.commit().key if digest.hexdigest() == content_hash else None

    def read_large(self, path: str, stat: FileStat) -> str:
        """Return the hash of a large file, in a thread of its own. If it will be copied, the copy is staged meanwhile.

        Raises:
            OSError: see `copy`.
            StorageFull: see `copy`.
            Stopped: see `copy`.
        """
        if not self.should_copy(stat):
            return self._folder.hash(path, stat, self._stop)
        self._disk.require()
        with ExitStack() as stack:
            staged = stack.enter_context(self._blobs.stage(path.rpartition("/")[2]))
            self._folder.read(path, stat, staged.write, self._stop)
            staged.seal()
            self.drop_staged([path])
            self._staged[path] = (stat, staged)
            stack.pop_all()
        return staged.content_hash

    def _take_staged(self, path: str, stat: FileStat, content_hash: str) -> StagedBlob | None:
        seen, staged = self._staged.get(path, (None, None))
        if staged is None or seen != stat or staged.content_hash != content_hash:
            return None
        del self._staged[path]
        return staged

    def drop_staged(self, paths: Iterable[str]) -> None:
        """Remove the copies of large files that are staged, because the files have changed or are gone."""
        for path in paths:
            _, staged = self._staged.pop(path, (None, None))
            if staged is not None:
                staged.__exit__(None, None, None)

    def discard(self, blob_key: str | None) -> None:
        """Remove a copy to which nothing refers any more."""
        if blob_key is not None:
            self._blobs.delete(blob_key)

    def idempotency_key(self, path: str, stat: FileStat, content_hash: str) -> str:
        """Return a file's idempotency key: if a crash prevents its removal, it does not become a second document."""
        state = f"{stat.size_bytes}:{stat.mtime_ns}:{stat.inode}:{content_hash}"
        name = f"{self._folder.key}\0{to_text(path)}\0{state}"
        return f"consumed:{hashlib.sha256(name.encode()).hexdigest()}"

    def remove(self, path: str, stat: FileStat) -> None:
        """Remove an ingested file from the folder, unless it has changed since or is being changed."""
        try:
            if self._folder.remove(path, stat):
                self._unremovable.pop(path, None)
                logger.info("ingested, and removed from the folder: %s", to_text(path))
        except FileNotFoundError:
            return
        except OSError as error:
            self._unremovable[path] = stat
            logger.warning("%s was ingested, but cannot be removed from its folder: %s", to_text(path), error.strerror)
