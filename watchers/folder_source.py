"""A watched folder as a source: hints mark paths, paths wait until they are stable, the mirror acts on them, and scans
find what the hints missed."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from core import metrics
from core.catalog import Catalog, FolderState, SkippedFile
from core.disk import DiskSpace
from core.errors import LlmApiError
from core.settings import Settings
from watchers.folder import Folder, Stopped
from watchers.guard import Guard
from watchers.hints import Messenger
from watchers.mirror import Mirror
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
#: The share of one core that the scans of all folders may take.
SCAN_SHARE = 0.005
#: A scan is interrupted this often by hints and stable files, so that a dropped file does not wait for its end.
SCAN_SLICE_SECONDS = 0.1


class FolderSource:
    """Mirrors one folder into the catalog until it is stopped.

    It has its own thread and its own observer, so that a folder whose files take long to read delays no other.
    """

    def __init__(
        self,
        folder: Folder,
        settings: Settings,
        catalog: Catalog,
        messenger: Messenger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._catalog = catalog
        self._disk = DiskSpace(settings)
        self._rescan_seconds = settings.watch_rescan_seconds
        self._scan_share = SCAN_SHARE / len(settings.watch_dirs)
        self._stopping = threading.Event()
        self._guard = Guard(catalog, clock)
        originals = Originals(folder, settings, self._stopping)
        self._mirror = Mirror(folder, catalog, messenger, originals, self._stopping, settings.max_upload_bytes)
        self._tracker: StabilityTracker[str] = StabilityTracker(settings.watch_stable_seconds)
        #: None only wakes the loop.
        self._hints: queue.SimpleQueue[Hint | None] = queue.SimpleQueue()
        self._observer = FolderObserver(self._hints.put, self._on_overflow, polling=settings.watch_polling)
        #: There were events recently: if the folder is held, its files may be back.
        self._is_hinted = False
        #: The identity of the folder that is watched now.
        self._present: object = None
        #: The folder does not exist and could not be created.
        self._is_uncreated = False
        #: Subfolders that hints ask to scan.
        self._trees: list[str] = []
        #: Paths that were settled during the present scan: what it has seen of them is outdated.
        self._settled: set[str] = set()
        #: The report of skipped files, as it was last saved in the catalog.
        self._skipped: tuple[dict[str, int], list[SkippedFile]] | None = None
        self._next_folder_check = self._next_scan = clock()

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

    @property
    def waiting_count(self) -> int:
        """The number of paths that wait until they are stable."""
        return len(self._tracker)

    def info(self) -> dict[str, Any]:
        """Return what the watcher announces about this source to the other processes."""
        folder = self._folder
        return {
            "path": folder.key,
            "collection": folder.collection,
            "mode": folder.mode.value,
            "state": self._state().value,
        }

    def _state(self) -> FolderState:
        state = self._guard.state(self._folder)
        return state if self._present is not None or state is FolderState.MISSING else FolderState.STARTING

    def _step(self) -> None:
        try:
            now = self._clock()
            if now >= self._next_folder_check:
                self._next_folder_check = now + FOLDER_CHECK_SECONDS
                self._check_folder()
            if now >= self._next_scan:
                self._scan_fully()
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
        logger.warning("Events of the file system were lost, so %s is scanned.", self._folder.key)
        metrics.WATCHER_LOST_EVENTS.labels(self._folder.collection).inc()
        self._next_scan = self._clock()
        self._hints.put(None)

    # The folder itself

    def _check_folder(self) -> None:
        """Watch the folder if it exists, and stop watching it if it does not."""
        identity = self._folder.identity()
        if identity is None and self._may_create():
            self._create()
            identity = self._folder.identity()
        if identity is None:
            self._folder_missing()
        elif self._present != identity:
            self._folder_found()
            self._present = identity
        self._check_held()
        if not self._observer.is_alive:
            logger.warning("The observer of the file system has failed and is started again.")
            self._observer.restart()
            self._present = None
            self._next_folder_check = self._clock()

    def _may_create(self) -> bool:
        """Return whether the folder was never mirrored: a missing one that has documents may not be mounted."""
        return not self._guard.knows(self._folder) and not self._catalog.has_in_root(self._folder.key, 1)

    def _create(self) -> None:
        """Create the folder. Log once that this is not possible: it is tried every second."""
        try:
            Path(self._folder.path).mkdir(parents=True, exist_ok=True)
            self._is_uncreated = False
        except OSError as error:
            if not self._is_uncreated:
                logger.error("The watched folder %s cannot be created: %s", self._folder.key, error.strerror)
            self._is_uncreated = True

    def _folder_missing(self) -> None:
        self._guard.record_missing(self._folder)
        self._present = None
        self._observer.unwatch(self._folder)

    def _folder_found(self) -> None:
        self._observer.unwatch(self._folder)
        self._observer.watch(self._folder)
        logger.info("watching %s for the collection %s", self._folder.key, self._folder.collection)
        self._scan()

    def _check_held(self) -> None:
        """Carry out a held deletion that a person has confirmed. Scan a held folder whose files may be back."""
        if self._guard.is_confirmed(self._folder):
            self._delete_missing()
            self._guard.end_confirmation(self._folder)
        elif self._is_hinted and self._guard.state(self._folder) is FolderState.HELD:
            self._scan()
        self._is_hinted = False

    def _delete_missing(self) -> None:
        files = self._files()
        lost = self._mirror.compare(files, self._mirror.rows()).lost
        self._mirror.delete([row for row in lost if self._mirror.is_missing(row)])

    # Scans

    def _scan_fully(self) -> None:
        """Scan the whole folder, and schedule the next scan."""
        began, processor_began = self._clock(), time.thread_time()
        self._next_scan = planned = began + self._rescan_seconds
        self._scan()
        metrics.WATCHER_RESCANS.labels(self._folder.collection).inc()
        metrics.WATCHER_RESCAN_SECONDS.labels(self._folder.collection).inc(self._clock() - began)
        if self._next_scan == planned:  # else events were lost meanwhile, and the next scan is at once
            spent = time.thread_time() - processor_began
            self._next_scan = began + pause_between_scans(self._rescan_seconds, spent, self._scan_share)

    def _files(self, prefix: str = "", skips: SkipReport | None = None) -> dict[str, FileStat]:
        files = {}
        self._settled.clear()
        interrupt_at = self._clock() + SCAN_SLICE_SECONDS
        for path, stat in self._folder.scan(prefix, skips):
            if self._stopping.is_set():
                raise Stopped
            files[path] = stat
            if self._clock() >= interrupt_at:
                self._mark(self._waiting_hints(0.0))
                self._settle()
                interrupt_at = self._clock() + SCAN_SLICE_SECONDS
        return files

    def _scan(self, prefix: str = "") -> None:
        """Mark every path in which the folder and the catalog differ."""
        folder = self._folder
        identity = folder.identity()
        if identity is None:
            return
        skips = SkipReport(folder.key)
        files = self._files(prefix, skips)
        difference = self._mirror.compare(files, self._mirror.rows(prefix))
        self._catalog.save_ctimes(difference.unknown_ctimes)
        settled = set(self._settled)
        if not prefix and folder.identity() == identity:
            lost = [row for row in difference.lost if row.path not in settled and not folder.is_ignored(row.path)]
            self._guard.check_scan(folder, identity, difference.row_count, len(lost))
            self._save_skipped(skips, difference.still_ignored)
        now = self._clock()
        gone = {row.path for row in [*difference.vanished, *difference.no_longer_ignored]}
        if gone and not self._guard.may_delete(folder):
            gone.clear()
        for path in difference.paths:
            if path not in settled and (path in files or path in gone):
                self._tracker.notice(path, files.get(path), now)
        for path in settled:
            self._mark_file(path, now)

    def _save_skipped(self, skips: SkipReport, ignored: Sequence[Row]) -> None:
        """Save the report of skipped files, with those ignored after a deletion, if it has changed."""
        for row in ignored:
            skips.add(row.path, DELETED)
        report = (dict(skips.counts), skips.files)
        if self._skipped != report:
            self._catalog.save_skipped(self._folder.key, *report)
            self._skipped = report

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
        trees, self._trees = self._trees, []
        for prefix in topmost(trees):
            self._scan(prefix)

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
        if hints:
            metrics.WATCHER_EVENTS.labels(self._folder.collection).inc(len(hints))
        for hint in hints:
            self._is_hinted = True
            if hint.is_tree:
                self._trees.append(hint.path)
            else:
                self._mark_file(hint.path, now)

    def _mark_file(self, path: str, now: float) -> None:
        try:
            stat = self._folder.stat(path)
        except OSError:
            stat = None  # the mirror reads it again and logs the error
        self._tracker.mark(path, stat, now)

    # Stable paths

    def _settle(self) -> None:
        """Carry out what is due for the marked paths. While the disk is full they stay marked."""
        if self._disk.is_short():
            return
        marks = self._tracker.due(self._clock())
        if marks:
            self._settled |= {mark.key for mark in marks}
            self._settle_marks(marks)

    def _settle_marks(self, marks: list[Mark[str]]) -> None:
        upcoming = {mark.stat.across_renames for mark in self._tracker.waiting if mark.stat is not None}
        try:
            again = self._mirror.settle(marks, upcoming, self._may_delete)
        except LlmApiError:
            for mark in marks:
                self._tracker.mark(mark.key, mark.stat, self._clock(), delay_seconds=RETRY_SECONDS)
            raise
        now = self._clock()
        for path, stat in again.items():
            self._tracker.mark(path, stat, now)

    def _may_delete(self, lost_count: int) -> bool:
        waiting = [mark.key for mark in self._tracker.waiting if mark.stat is None]
        # Further files have gone and will be settled soon: all of them count as one loss.
        upcoming = self._mirror.count_at(waiting) if lost_count and waiting else 0
        return self._guard.allows(self._folder, lost_count, upcoming)


def pause_between_scans(rescan_seconds: float, processor_seconds: float, share: float = SCAN_SHARE) -> float:
    """Return the time from one scan to the next: WATCH_RESCAN_SECONDS, or longer if a scan takes much of a core."""
    return max(rescan_seconds, processor_seconds / share)


def folder_sources(
    settings: Settings,
    catalog: Catalog,
    messenger: Messenger,
    clock: Callable[[], float] = time.monotonic,
) -> list[FolderSource]:
    """Return the watched folders. Each excludes other watched folders and the program's own folders inside it."""
    roots = settings.watch_roots
    own = [settings.state_dir, settings.blobs_path, *(root.path for root in roots)]
    folders = [Folder(root, own, settings.watch_ignore) for root in roots]
    return [FolderSource(folder, settings, catalog, messenger, clock) for folder in folders]
