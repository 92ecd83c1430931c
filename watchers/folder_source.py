"""The watcher's main loop: hints mark paths, paths wait until they are stable, the mirror acts on them, and scans find
what the hints missed."""

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
from core.disk import DiskSpace
from core.errors import LlmApiError
from core.settings import Settings
from watchers.folder import Folder, Stopped
from watchers.guard import Guard
from watchers.mirror import Messenger, Mirror
from watchers.observer import FolderObserver, Hint
from watchers.originals import Originals
from watchers.reconcile import FileStat, Row, topmost
from watchers.skip_report import DELETED, SkipReport
from watchers.stability import Mark, StabilityTracker

logger = logging.getLogger(__name__)

#: The time between two checks of whether the watched folders exist.
FOLDER_CHECK_SECONDS = 1.0
#: The time before a retry when the catalog does not answer.
RETRY_SECONDS = 1.0
#: The time before a scan looks for changes that were missed because of an internal fault.
RETRY_AFTER_FAULT_SECONDS = 10.0
#: The share of one core that scans may take.
SCAN_SHARE = 0.005
#: A scan is interrupted this often by hints and stable files, so that a dropped file does not wait for its end.
SCAN_SLICE_SECONDS = 0.1

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
        self._disk = DiskSpace(settings)
        self._rescan_seconds = settings.watch_rescan_seconds
        self._stopping = threading.Event()
        self._folders = _open_folders(settings)
        self._guard = Guard(catalog, clock)
        self._mirrors = {folder: self._mirror(folder, settings, messenger) for folder in self._folders}
        self._tracker: StabilityTracker[Key] = StabilityTracker(settings.watch_stable_seconds)
        #: None only wakes the loop.
        self._hints: queue.SimpleQueue[Hint | None] = queue.SimpleQueue()
        self._observer = FolderObserver(self._hints.put, self._on_overflow, polling=settings.watch_polling)
        #: Folders with recent events: if one is held, its files may be back.
        self._hinted: set[Folder] = set()
        self._present: dict[Folder, object] = {}
        #: Folders that do not exist and could not be created.
        self._uncreated: set[Folder] = set()
        #: Subfolders that hints ask to scan.
        self._trees: dict[Folder, list[str]] = {}
        #: Paths that were settled during the present scan: what it has seen of them is outdated.
        self._settled: set[Key] = set()
        #: The report of skipped files of each folder, as it was last saved in the catalog.
        self._skipped: dict[Folder, tuple[dict[str, int], list[SkippedFile]]] = {}
        self._next_folder_check = self._next_scan = clock()

    def _mirror(self, folder: Folder, settings: Settings, messenger: Messenger) -> Mirror:
        originals = Originals(folder, settings, self._stopping)
        return Mirror(folder, self._catalog, messenger, originals, self._stopping, settings.max_upload_bytes)

    def run(self) -> None:
        """Watch until `stop` is called, from another thread or a signal handler."""
        self._observer.start()
        try:
            while not self._stopping.is_set():
                self._step()
        except Stopped:
            logger.info("stopped while reading a file: it will be ingested after the next start")
        finally:
            self._observer.stop()

    def stop(self) -> None:
        """Make `run` return within a second or two."""
        self._stopping.set()
        self._hints.put(None)

    def info(self) -> dict[str, Any]:
        """Return what the watcher announces about itself to the other processes."""
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
            if now >= self._next_folder_check:
                self._next_folder_check = now + FOLDER_CHECK_SECONDS
                self._check_folders()
            if now >= self._next_scan:
                self._scan_all()
            self._take_hints()
            self._settle()
            self._settled.clear()
            if self._disk.is_short():
                self._stopping.wait(FOLDER_CHECK_SECONDS)
        except LlmApiError as error:
            # The catalog does not answer. The scan that is due now finds the changes that this step has lost.
            logger.warning("%s Retrying.", error.message)
            self._next_scan = self._clock() + RETRY_SECONDS
            self._stopping.wait(RETRY_SECONDS)
        except Stopped:
            raise
        except Exception:
            # A fault with one file must not stop the mirroring of the others. The next scan tries the file again.
            logger.exception("a step of the watcher failed")
            self._next_scan = min(self._next_scan, self._clock() + RETRY_AFTER_FAULT_SECONDS)
            self._stopping.wait(RETRY_SECONDS)

    def _on_overflow(self) -> None:
        logger.warning("Events of the file system were lost, so the folders are scanned.")
        self._next_scan = self._clock()
        self._hints.put(None)

    # Watched folders

    def _check_folders(self) -> None:
        """Watch the folders that exist, and stop watching those that do not."""
        for folder in self._folders:
            identity = folder.identity()
            if identity is None and self._may_create(folder):
                self._create(folder)
                identity = folder.identity()
            if identity is None:
                self._folder_missing(folder)
            elif self._present.get(folder) != identity:
                self._folder_found(folder)
                self._present[folder] = identity
            self._check_held(folder)
        if not self._observer.is_alive:
            logger.warning("The observer of the file system has failed and is started again.")
            self._observer.restart()
            self._present.clear()
            self._next_folder_check = self._clock()

    def _may_create(self, folder: Folder) -> bool:
        """Return whether the folder was never mirrored: a missing one that has documents may not be mounted."""
        return not self._guard.knows(folder) and not self._catalog.has_in_root(folder.key, 1)

    def _create(self, folder: Folder) -> None:
        """Create a folder. Log once that this is not possible: it is tried every second."""
        try:
            Path(folder.path).mkdir(parents=True, exist_ok=True)
            self._uncreated.discard(folder)
        except OSError as error:
            if folder not in self._uncreated:
                logger.error("The watched folder %s cannot be created: %s", folder.key, error.strerror)
            self._uncreated.add(folder)

    def _folder_missing(self, folder: Folder) -> None:
        self._guard.record_missing(folder)
        self._present.pop(folder, None)
        self._observer.unwatch(folder)

    def _folder_found(self, folder: Folder) -> None:
        self._observer.unwatch(folder)
        self._observer.watch(folder)
        logger.info("watching %s for the collection %s", folder.key, folder.collection)
        self._scan(folder)

    def _check_held(self, folder: Folder) -> None:
        """Carry out a held deletion that a person has confirmed. Scan a held folder whose files may be back."""
        if self._guard.is_confirmed(folder):
            self._delete_missing(folder)
            self._guard.end_confirmation(folder)
        elif folder in self._hinted and self._guard.state(folder) is FolderState.HELD:
            self._scan(folder)
        self._hinted.discard(folder)

    def _delete_missing(self, folder: Folder) -> None:
        files = self._files(folder)
        mirror = self._mirrors[folder]
        lost = mirror.compare(files, mirror.rows()).lost
        mirror.delete([row for row in lost if mirror.is_missing(row)])

    # Scans

    def _scan_all(self) -> None:
        """Scan all folders, and schedule the next scan."""
        began, processor_began = self._clock(), time.thread_time()
        self._next_scan = planned = began + self._rescan_seconds
        for folder in self._folders:
            self._scan(folder)
        if self._next_scan == planned:  # else events were lost meanwhile, and the next scan is at once
            self._next_scan = began + pause_between_scans(self._rescan_seconds, time.thread_time() - processor_began)

    def _files(self, folder: Folder, prefix: str = "", skips: SkipReport | None = None) -> dict[str, FileStat]:
        files = {}
        self._settled.clear()
        interrupt_at = self._clock() + SCAN_SLICE_SECONDS
        for path, stat in folder.scan(prefix, skips):
            if self._stopping.is_set():
                raise Stopped
            files[path] = stat
            if self._clock() >= interrupt_at:
                self._mark(self._waiting_hints(0.0))
                self._settle()
                interrupt_at = self._clock() + SCAN_SLICE_SECONDS
        return files

    def _scan(self, folder: Folder, prefix: str = "") -> None:
        """Mark every path in which the folder and the catalog differ."""
        identity = folder.identity()
        if identity is None:
            return
        skips = SkipReport(folder.key)
        files = self._files(folder, prefix, skips)
        difference = self._mirrors[folder].compare(files, self._mirrors[folder].rows(prefix))
        settled = {path for settled_folder, path in self._settled if settled_folder is folder}
        if not prefix and folder.identity() == identity:
            lost = [row for row in difference.lost if row.path not in settled and not folder.is_ignored(row.path)]
            self._guard.check_scan(folder, identity, difference.row_count, len(lost))
            self._save_skipped(folder, skips, difference.still_ignored)
        now = self._clock()
        gone = {row.path for row in [*difference.vanished, *difference.no_longer_ignored]}
        if gone and not self._guard.may_delete(folder):
            gone.clear()
        for path in difference.paths:
            if path not in settled and (path in files or path in gone):
                self._tracker.notice((folder, path), files.get(path), now)
        for path in settled:
            self._mark_file(Hint(folder, path, is_tree=False), now)

    def _save_skipped(self, folder: Folder, skips: SkipReport, ignored: Sequence[Row]) -> None:
        """Save the report of skipped files, with those ignored after a deletion, if it has changed."""
        for row in ignored:
            skips.add(row.path, DELETED)
        report = (dict(skips.counts), skips.files)
        if self._skipped.get(folder) != report:
            self._catalog.save_skipped(folder.key, *report)
            self._skipped[folder] = report

    # Hints

    def _take_hints(self) -> None:
        """Wait until a hint arrives or something is due, and mark the paths of the hints."""
        deadlines = [self._next_folder_check, self._next_scan]
        if self._tracker.next_deadline is not None:
            deadlines.append(self._tracker.next_deadline)
        hints = self._waiting_hints(max(0.0, min(deadlines) - self._clock()))
        if self._stopping.is_set():
            return
        self._mark(hints)
        trees, self._trees = self._trees, {}
        for folder, prefixes in trees.items():
            for prefix in topmost(prefixes):
                self._scan(folder, prefix)

    def _waiting_hints(self, timeout_seconds: float) -> list[Hint]:
        """Return all hints that have arrived, each once. Wait for the first one."""
        hints: dict[Hint, None] = {}
        try:
            hint = self._hints.get(timeout=timeout_seconds) if timeout_seconds else self._hints.get_nowait()
            while True:
                if hint is not None:
                    hints[hint] = None
                hint = self._hints.get_nowait()
        except queue.Empty:
            return list(hints)

    def _mark(self, hints: list[Hint]) -> None:
        """Mark the paths of the hints. Whole trees are scanned later: this may be in the middle of a scan."""
        now = self._clock()
        for hint in hints:
            self._hinted.add(hint.folder)
            if hint.is_tree:
                self._trees.setdefault(hint.folder, []).append(hint.path)
            else:
                self._mark_file(hint, now)

    def _mark_file(self, hint: Hint, now: float) -> None:
        try:
            stat = hint.folder.stat(hint.path)
        except OSError:
            stat = None  # the mirror reads it again and logs the error
        self._tracker.mark((hint.folder, hint.path), stat, now)

    # Stable paths

    def _settle(self) -> None:
        """Carry out what is due for the marked paths. While the disk is full they stay marked."""
        if self._disk.is_short():
            return
        due: dict[Folder, list[Mark[str]]] = {}
        for mark in self._tracker.due(self._clock()):
            folder, path = mark.key
            due.setdefault(folder, []).append(Mark(path, mark.stat))
        for folder, marks in due.items():
            self._settled |= {(folder, mark.key) for mark in marks}
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
        # Further files have gone and will be settled soon: all of them count as one loss.
        upcoming = self._mirrors[folder].count_at(waiting) if lost_count and waiting else 0
        return self._guard.allows(folder, lost_count, upcoming)


def pause_between_scans(rescan_seconds: float, processor_seconds: float) -> float:
    """Return the time from one scan to the next: WATCH_RESCAN_SECONDS, or longer if a scan takes much of a core."""
    return max(rescan_seconds, processor_seconds / SCAN_SHARE)


def _open_folders(settings: Settings) -> list[Folder]:
    """Return the watched folders. Each excludes other watched folders and the program's own folders inside it."""
    roots = settings.watch_roots
    own = [settings.state_dir, settings.blobs_path, *(root.path for root in roots)]
    return [Folder(root, own) for root in roots]
