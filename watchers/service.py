"""The watcher's one loop: hints come in, paths wait until they rest, the mirror acts on them, scans correct it all."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from core.catalog import Catalog, FolderState, SkippedFile
from core.errors import LlmApiError
from core.settings import Settings
from watchers.folder import Folder, Stopped
from watchers.guard import Guard
from watchers.mirror import Messenger, Mirror
from watchers.observer import FolderObserver, Hint
from watchers.originals import Originals
from watchers.reconcile import FileStat, Row, topmost
from watchers.skipped import DELETED, Skips
from watchers.stability import Mark, StabilityTracker

logger = logging.getLogger(__name__)

#: Between two looks at whether the folders themselves are still there.
TEND_SECONDS = 1.0
#: Before what the catalog could not take is tried again.
RETRY_SECONDS = 1.0
#: Before a scan looks for what a fault of ours has passed over.
RETRY_AFTER_FAULT_SECONDS = 10.0

Key = tuple[Folder, str]


class Watcher:
    """Mirrors the folders of the settings into the catalog until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        messenger: Messenger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._catalog = catalog
        self._rescan_seconds = settings.watch_rescan_seconds
        self._stopping = threading.Event()
        self._folders = _open_folders(settings)
        self._guard = Guard(catalog, clock)
        self._mirrors = {folder: self._mirror(folder, settings, messenger) for folder in self._folders}
        self._tracker: StabilityTracker[Key] = StabilityTracker(settings.watch_stable_seconds)
        #: None wakes the loop up.
        self._hints: queue.SimpleQueue[Hint | None] = queue.SimpleQueue()
        self._observer = FolderObserver(self._hints.put, self._on_overflow, polling=settings.watch_polling)
        #: Held folders in which something has happened: their files may be back.
        self._stirred: set[Folder] = set()
        self._present: dict[Folder, object] = {}
        #: What was passed over in the last scan of each folder, as the catalog knows it.
        self._skipped: dict[Folder, tuple[dict[str, int], list[SkippedFile]]] = {}
        self._next_tend = self._next_scan = clock()

    def _mirror(self, folder: Folder, settings: Settings, messenger: Messenger) -> Mirror:
        limit = settings.max_upload_bytes
        originals = Originals(folder, settings.blobs_path, self._stopping, limit)
        return Mirror(folder, self._catalog, messenger, originals, self._stopping, limit)

    def run(self) -> None:
        """Watches until `stop` is called, from another thread or a signal handler."""
        self._observer.start()
        try:
            while not self._stopping.is_set():
                self._step()
        except Stopped:
            logger.info("stopped while reading a file: the next start takes it")
        finally:
            self._observer.stop()

    def stop(self) -> None:
        """Makes `run` return, within a second or two."""
        self._stopping.set()
        self._hints.put(None)

    def info(self) -> dict[str, Any]:
        """What the watcher says of itself to the other processes."""
        return {
            "folders": [
                {
                    "path": folder.key,
                    "collection": folder.collection,
                    "mode": folder.mode.value,
                    "state": self._state(folder).value,
                }
                for folder in self._folders
            ],
            "waiting": len(self._tracker),
        }

    def _state(self, folder: Folder) -> FolderState:
        state = self._guard.state(folder)
        return state if folder in self._present or state is FolderState.MISSING else FolderState.STARTING

    def _step(self) -> None:
        try:
            now = self._clock()
            if now >= self._next_tend:
                self._next_tend = now + TEND_SECONDS
                self._tend()
            if now >= self._next_scan:
                self._next_scan = now + self._rescan_seconds
                for folder in self._folders:
                    self._scan(folder)
            self._take_hints()
            self._settle()
        except LlmApiError as error:
            # The catalog is away. What this step has lost, the scan that is due now finds again.
            logger.warning("%s Trying again.", error.message)
            self._next_scan = self._clock() + RETRY_SECONDS
            self._stopping.wait(RETRY_SECONDS)
        except Stopped:
            raise
        except Exception:
            # A fault with one file must not end the mirroring of all others; the next scan comes by it again.
            logger.exception("a step of the watcher failed")
            self._next_scan = min(self._next_scan, self._clock() + RETRY_AFTER_FAULT_SECONDS)
            self._stopping.wait(RETRY_SECONDS)

    def _on_overflow(self) -> None:
        logger.warning("Events of the file system were lost: scanning the folders.")
        self._next_scan = self._clock()
        self._hints.put(None)

    # The folders themselves

    def _tend(self) -> None:
        """Watches the folders that are there, and no longer those that are not."""
        for folder in self._folders:
            identity = folder.identity()
            if identity is None and self._may_create(folder):
                _create(folder)
                identity = folder.identity()
            if identity is None:
                self._lose(folder)
            elif self._present.get(folder) != identity:
                self._find(folder)
                self._present[folder] = identity
            self._ask_about(folder)
        if not self._observer.is_alive:
            logger.warning("The observer of the file system has failed: starting it again.")
            self._observer.restart()
            self._present.clear()
            self._next_tend = self._clock()

    def _may_create(self, folder: Folder) -> bool:
        """Only a folder that was never mirrored is made: an absent one with documents is not mounted."""
        return not self._guard.knows(folder) and not self._catalog.count_in_root(folder.key)

    def _lose(self, folder: Folder) -> None:
        self._guard.miss(folder)
        self._present.pop(folder, None)
        self._observer.unwatch(folder)

    def _find(self, folder: Folder) -> None:
        self._observer.unwatch(folder)
        self._observer.watch(folder)
        logger.info("watching %s for the collection %s", folder.key, folder.collection)
        self._scan(folder)

    def _ask_about(self, folder: Folder) -> None:
        """Deletes what was held back once a person has confirmed it; looks again where files may be back."""
        if self._guard.is_confirmed(folder):
            self._delete_missing(folder)
            self._guard.end_confirmation(folder)
        elif folder in self._stirred and self._guard.state(folder) is FolderState.HELD:
            self._scan(folder)
        self._stirred.discard(folder)

    def _delete_missing(self, folder: Folder) -> None:
        files = self._files(folder)
        mirror = self._mirrors[folder]
        lost = mirror.compare(files, mirror.rows()).lost
        mirror.delete([row for row in lost if mirror.is_missing(row)])

    # Scans

    def _files(self, folder: Folder, prefix: str = "", skips: Skips | None = None) -> dict[str, FileStat]:
        files = {}
        for path, stat in folder.scan(prefix, skips):
            if self._stopping.is_set():
                raise Stopped
            files[path] = stat
        return files

    def _scan(self, folder: Folder, prefix: str = "") -> None:
        """Marks every path in which the folder and the catalog differ."""
        identity = folder.identity()
        if identity is None:
            return
        skips = Skips(folder.key)
        files = self._files(folder, prefix, skips)
        rows = self._mirrors[folder].rows(prefix)
        difference = self._mirrors[folder].compare(files, rows)
        if not prefix and folder.identity() == identity:
            documents = sum(not row.is_ignored for row in rows)
            lost = [row for row in difference.lost if not folder.is_ignored(row.path)]
            self._guard.consider(folder, identity, documents, len(lost))
            self._report(folder, skips, [row for row in rows if row.is_ignored and files.get(row.path) == row.stat])
        now = self._clock()
        gone = {row.path for row in [*difference.vanished, *difference.readmitted]}
        if gone and not self._guard.may_delete(folder):
            gone.clear()
        for path in difference.paths:
            if path in files or path in gone:
                self._tracker.notice((folder, path), files.get(path), now)

    def _report(self, folder: Folder, skips: Skips, deleted: Sequence[Row]) -> None:
        """Records what is passed over, for the coverage report, if it is not what was recorded last."""
        for row in deleted:
            skips.add(row.path, DELETED)
        report = (dict(skips.counts), skips.files)
        if self._skipped.get(folder) != report:
            self._catalog.save_skipped(folder.key, *report)
            self._skipped[folder] = report

    # Hints

    def _take_hints(self) -> None:
        """Waits until something happens or is due, and marks the paths that something happened to."""
        deadlines = [self._next_tend, self._next_scan]
        if self._tracker.next_deadline is not None:
            deadlines.append(self._tracker.next_deadline)
        hints: dict[Hint, None] = {}
        try:
            first = self._hints.get(timeout=max(0.0, min(deadlines) - self._clock()))
            while True:
                if first is not None:
                    hints[first] = None
                first = self._hints.get_nowait()
        except queue.Empty:
            pass
        if not self._stopping.is_set():
            self._mark(list(hints))

    def _mark(self, hints: list[Hint]) -> None:
        now = self._clock()
        trees: dict[Folder, list[str]] = {}
        for hint in hints:
            self._stirred.add(hint.folder)
            if hint.is_tree:
                trees.setdefault(hint.folder, []).append(hint.path)
            else:
                self._mark_file(hint, now)
        for folder, prefixes in trees.items():
            for prefix in topmost(prefixes):
                self._scan(folder, prefix)

    def _mark_file(self, hint: Hint, now: float) -> None:
        try:
            stat = hint.folder.stat(hint.path)
        except OSError:
            stat = None  # the mirror looks again, and says what is wrong
        self._tracker.mark((hint.folder, hint.path), stat, now)

    # Paths at rest

    def _settle(self) -> None:
        due: dict[Folder, list[Mark[str]]] = {}
        for mark in self._tracker.due(self._clock()):
            folder, path = mark.key
            due.setdefault(folder, []).append(Mark(path, mark.stat))
        for folder, marks in due.items():
            self._settle_folder(folder, marks)

    def _settle_folder(self, folder: Folder, marks: list[Mark[str]]) -> None:
        upcoming = {mark.stat for mark in self._tracker.waiting if mark.stat is not None and mark.key[0] is folder}
        try:
            again = self._mirrors[folder].settle(marks, upcoming, partial(self._may_delete, folder))
        except LlmApiError:
            for mark in marks:
                self._tracker.mark((folder, mark.key), mark.stat, self._clock(), delay_seconds=RETRY_SECONDS)
            raise
        now = self._clock()
        for path, stat in again.items():
            self._tracker.mark((folder, path), stat, now)

    def _may_delete(self, folder: Folder, lost_count: int) -> bool:
        waiting = [mark.key[1] for mark in self._tracker.waiting if mark.stat is None and mark.key[0] is folder]
        # More files have gone, and are about to be settled: all of them count as one loss.
        following = self._mirrors[folder].count_at(waiting) if lost_count and waiting else 0
        return self._guard.allows(folder, lost_count, following)


def _create(folder: Folder) -> None:
    try:
        Path(folder.path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.error("The watched folder %s cannot be made: %s", folder.key, error.strerror)


def _open_folders(settings: Settings) -> list[Folder]:
    """The watched folders; what lies in one of them but belongs to another, or to this program, is left out of it."""
    roots = settings.watch_roots
    own = [settings.state_dir, settings.blobs_path, *(root.path for root in roots)]
    return [Folder(root, own) for root in roots]
