"""Events of the file system. They are only hints: some are late, some are lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from watchdog import events
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.observers.polling import PollingObserver

from core.catalog import to_text
from watchers.folder import Folder
from watchers.ignore_file import IGNORE_FILE

logger = logging.getLogger(__name__)

POLLING_SECONDS = 1.0
STOP_ATTEMPTS = 1000
#: Without "opened" and "closed without writing": reading a file, as the workers do, is not a change.
EVENTS: list[type[events.FileSystemEvent]] = [
    events.FileCreatedEvent,
    events.FileModifiedEvent,
    events.FileClosedEvent,
    events.FileMovedEvent,
    events.FileDeletedEvent,
    events.FileAttribEvent,
    events.DirCreatedEvent,
    events.DirMovedEvent,
    events.DirDeletedEvent,
    events.DirAttribEvent,
]


@dataclass(frozen=True)
class Hint:
    """A path of a folder that something happened to: a file, or a whole tree ("" is the folder itself)."""

    folder: Folder
    path: str
    is_tree: bool


class FolderObserver:
    """Watches folders and passes their events to `on_hint`, from threads of its own."""

    def __init__(self, on_hint: Callable[[Hint], None], on_overflow: Callable[[], None], *, polling: bool) -> None:
        self._on_hint = on_hint
        self._is_polling = polling
        self._observer = self._new_observer()
        self._watches: dict[Folder, ObservedWatch] = {}
        self._is_broken = False
        self._overflow = _OverflowListener(on_overflow)

    def start(self) -> None:
        logging.getLogger("watchdog.observers").addHandler(self._overflow)
        self._observer.start()

    def stop(self) -> None:
        """Stop watching. Wait for its threads, at most 2 s."""
        logging.getLogger("watchdog.observers").removeHandler(self._overflow)
        _stop(self._observer)

    def restart(self) -> None:
        """Start again, with no folder watched."""
        _stop(self._observer)
        self._watches.clear()
        self._is_broken = False
        self._observer = self._new_observer()
        self._observer.start()

    @property
    def is_alive(self) -> bool:
        """Whether events still arrive. A fault in watchdog's bookkeeping ends one of its threads silently."""
        threads = [self._observer, *self._observer.emitters]
        reader = getattr(self._observer, "_inotify_fd", None)
        if reader is not None:
            threads.append(reader)
        return not self._is_broken and all(thread.is_alive() for thread in threads)

    def watch(self, folder: Folder) -> bool:
        """Start to watch a folder. Return False if the system refuses: then only scans find its changes."""
        # The system reports real paths, and does not watch the target of a link.
        observed = os.path.realpath(folder.path)
        handler = _Handler(folder, observed, self._on_hint)
        try:
            self._watches[folder] = self._observer.schedule(handler, observed, recursive=True, event_filter=EVENTS)
        except OSError as error:
            logger.warning(
                "%s cannot be watched (%s) and is only scanned. Raise fs.inotify.max_user_watches and "
                "fs.inotify.max_user_instances, or set WATCH_POLLING=true.",
                to_text(folder.path),
                error,
            )
            return False
        return True

    def unwatch(self, folder: Folder) -> None:
        """Stop watching a folder that is gone."""
        watch = self._watches.pop(folder, None)
        if watch is not None:
            try:
                self._observer.unschedule(watch)
            except (KeyError, OSError) as error:
                logger.debug("the watch of %s could not be removed: %r", folder.key, error)
                self._is_broken = True

    def _new_observer(self) -> BaseObserver:
        return PollingObserver(timeout=POLLING_SECONDS) if self._is_polling else Observer()


def _stop(observer: BaseObserver) -> None:
    for _ in range(STOP_ATTEMPTS):
        try:
            observer.stop()
            break
        except KeyError as error:
            # watchdog's table of watches is wrong after trees were renamed onto each other. Each try removes one more.
            logger.debug("watchdog does not know its watch %s", error)
    observer.join(timeout=2)


class _Handler(events.FileSystemEventHandler):
    def __init__(self, folder: Folder, observed: str, on_hint: Callable[[Hint], None]) -> None:
        self._folder = folder
        self._observed = observed
        self._on_hint = on_hint

    def on_any_event(self, event: events.FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path:
                self._hint(os.fsdecode(path), event.is_directory)

    def _hint(self, path: str, is_tree: bool) -> None:
        relative = self._folder.relative(self._folder.path + path.removeprefix(self._observed))
        if relative is not None:
            # Changed rules may affect all files of their folder.
            self._on_hint(Hint(self._folder, relative, is_tree or path.endswith(f"/{IGNORE_FILE}")))


class _OverflowListener(logging.Handler):
    """Calls `on_overflow` when events were lost, which watchdog reports only in its log."""

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        super().__init__(level=logging.WARNING)
        self._on_overflow = on_overflow

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage().lower():
            self._on_overflow()
