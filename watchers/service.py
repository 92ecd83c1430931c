"""The watcher: runs all sources, each in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from core.catalog import Catalog
from core.settings import Settings
from watchers.folder_source import folder_sources
from watchers.hints import Messenger
from watchers.source import Source

#: How long a stopping watcher waits for all sources. One that waits for a web server is left to end with the process.
STOP_SECONDS = 4.0


class Watcher:
    """Mirrors the sources of the settings into the catalog until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        catalog: Catalog,
        messenger: Messenger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sources: list[Source] = [*folder_sources(settings, catalog, messenger, clock)]
        if settings.watch_sites:
            # Their libraries take memory, which watchers of folders alone do not need.
            from watchers.web.source import web_sources

            self.sources += web_sources(settings, catalog, messenger)
        self._stopping = threading.Event()
        #: The fault that ended a source: sources retry what they know can fail.
        self._error: BaseException | None = None

    def run(self) -> None:
        """Watch until `stop` is called, from another thread or a signal handler, or a source ends with an error."""
        threads = [threading.Thread(target=self._run, args=[source], daemon=True) for source in self.sources]
        for thread in threads:
            thread.start()
        self._stopping.wait()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._error is not None:
            raise self._error

    def _run(self, source: Source) -> None:
        try:
            source.run()
        except BaseException as error:
            self._error = error
            self.stop()

    def stop(self) -> None:
        """Make `run` return within a few seconds."""
        for source in self.sources:
            source.stop()
        self._stopping.set()

    def info(self) -> dict[str, Any]:
        """Return what the watcher announces about itself to the other processes."""
        return {
            "folders": [source.info() for source in self.sources],
            "waiting": sum(source.waiting_count for source in self.sources),
        }
