"""A watcher over real folders and a real catalog, with a messenger that records its messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from core.catalog import ORIGINAL_MISSING, Document, DocumentState
from core.errors import Unavailable
from core.settings import Settings, load_settings
from tasks.jobs.queues import Role
from tests.support import migrated_catalog, wait_until
from watchers.folder_source import FolderSource
from watchers.hints import Messenger
from watchers.service import Watcher

STABLE_SECONDS = 0.3


class RecordingMessenger:
    """Records every message; raises Unavailable while `is_unavailable`."""

    def __init__(self) -> None:
        self.ingested: list[str] = []
        self.wake_ups = 0
        self.is_unavailable = False

    def ingest(self, document_id: str) -> bool:
        self._answer()
        self.ingested.append(document_id)
        return True

    def wake_indexer(self) -> None:
        self._answer()
        self.wake_ups += 1

    def announce(self, role: Role, name: str, info: dict[str, Any]) -> None:
        self._answer()

    def withdraw(self, role: Role, name: str) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.is_unavailable:
            raise Unavailable("Redis does not answer.")


class World:
    """One watched folder, its catalog, and a watcher that can be started and stopped."""

    def __init__(self, base: Path, **overrides: Any) -> None:
        self.inbox = base / "inbox"
        self.settings: Settings = load_settings(
            _env_file=None,
            data_dir=base / "data",
            watch_stable_seconds=STABLE_SECONDS,
            watch_rescan_seconds=overrides.pop("watch_rescan_seconds", 600),
            watch_dirs=overrides.pop("watch_dirs", (str(self.inbox),)),
            **overrides,
        )
        self.catalog = migrated_catalog(self.settings.state_dir / "catalog.sqlite3")
        self.messenger = RecordingMessenger()
        #: Receives the watcher's messages instead of the messenger, if it is set.
        self.workers: Messenger | None = None
        self.watcher: Watcher | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start a watcher, and wait until it watches all existing folders."""
        watcher = Watcher(self.settings, self.catalog, self.workers or self.messenger)
        self.watcher = watcher
        self._thread = threading.Thread(target=watcher.run, name="watcher under test")
        self._thread.start()
        wait_until(lambda: all(folder["state"] != "starting" for folder in watcher.info()["folders"]), 5)

    def stop(self) -> None:
        if self.watcher is not None and self._thread is not None:
            self.watcher.stop()
            self._thread.join(timeout=60)
            assert not self._thread.is_alive(), "the watcher did not stop within 60 s"
            self.watcher = self._thread = None

    @property
    def source(self) -> FolderSource:
        """The first watched folder as a source."""
        assert self.watcher is not None
        source = self.watcher.sources[0]
        assert isinstance(source, FolderSource)
        return source

    @property
    def info(self) -> dict[str, Any]:
        assert self.watcher is not None
        return self.watcher.info()

    def documents(self, root: Path | None = None) -> dict[str, Document]:
        """Return the documents by path, without `dispatched_at`, which is set a moment after they are added."""
        found = self.catalog.find_documents(str(root or self.inbox))
        return {document.path or "": replace(document, dispatched_at=None) for document in found}

    def settle(
        self, condition: Callable[[dict[str, Document]], bool], timeout_seconds: float = 10
    ) -> dict[str, Document]:
        """Wait until the condition holds for the documents by path, and return them."""
        wait_until(lambda: condition(self.documents()), timeout_seconds)
        return self.documents()

    def settle_on(self, *paths: str) -> dict[str, Document]:
        """Wait until there are documents at exactly these paths, and return them by path."""
        return self.settle(lambda documents: set(documents) == set(paths))

    def complete(self, document: Document) -> None:
        """Complete a document as the workers do."""
        parse = self.catalog.claim(document.id, "parser", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
        assert parse is not None
        assert self.catalog.advance(parse, DocumentState.PARSED)
        index = self.catalog.claim(
            document.id, "indexer", expected=DocumentState.PARSED, claimed=DocumentState.INDEXING
        )
        assert index is not None
        assert self.catalog.activate(index, 1)

    def lose(self, document: Document) -> None:
        """Fail a document as a parser does if its file is missing."""
        claim = self.catalog.claim(document.id, "parser", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
        assert claim is not None
        assert self.catalog.fail(claim, "The original file is no longer there.", ORIGINAL_MISSING)

    def close(self) -> None:
        self.stop()
        self.catalog.close()
