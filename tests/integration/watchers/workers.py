"""The workers behind a watcher, in threads of the test: real parsing, the real indexer and the embedded store."""

from __future__ import annotations

import queue
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from core.blobs import BlobStore
from core.catalog import SETTLED, Catalog, DocumentState
from core.settings import Settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.vector_store.edge import EdgeVectorStore
from tasks.documents.dispatch import send_waiting
from tasks.documents.embedding_models import Model, Models
from tasks.documents.indexer import Indexer
from tasks.documents.parsing import ParsingService
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.fakes.fake_embedder import FakeEmbedder


class Workers:
    """Receives the messages of the watcher, as `tasks.jobs.producer.Producer` does, and does the work."""

    max_parse_messages = 8
    #: Nobody follows the changes, or counts them, here.
    changes = SimpleNamespace(count=lambda **_: None)

    def __init__(self, folder: Path, settings: Settings, catalog: Catalog) -> None:
        self.catalog = catalog
        self.blobs = BlobStore(settings.blobs_path)
        self.store = EdgeVectorStore(folder / "vectors", FakeEmbedder.model_name, FakeEmbedder.dimension)
        self._service = EmbeddingService(cast(Embedder, FakeEmbedder()))
        self._parsing = ParsingService(settings, catalog, self.blobs, cast(Producer, self), "ingest@test")
        self._indexer = Indexer(catalog, self.blobs, Models(Model(self._service, self.store)), "index@test")
        self._messages: queue.Queue[tuple[str, ...] | None] = queue.Queue()
        self._parser = threading.Thread(target=self._parse, name="parser under test")
        self._parser.start()
        self._indexer.start()

    def ingest(self, *document_ids: str) -> bool:
        if self._messages.qsize() >= self.max_parse_messages:
            return False
        self._messages.put(document_ids)
        return True

    def is_ingest_queue_low(self) -> bool:
        return 2 * self._messages.qsize() < self.max_parse_messages

    def wake_indexer(self) -> None:
        self._indexer.wake()

    def announce(self, role: Role, name: str, info: dict[str, Any]) -> None:
        """Do nothing: no process reads the announcements here."""

    def withdraw(self, role: Role, name: str) -> None:
        """Do nothing: no process reads the announcements here."""

    def is_at_rest(self) -> bool:
        """Return whether no work is left. Send hints for the rest again, as reconciliation does."""
        send_waiting(self.catalog, cast(Producer, self))
        self._indexer.wake()
        counts = self.catalog.counts_by_state()
        waiting = [state for state in counts if DocumentState(state) not in SETTLED or state == DocumentState.DELETING]
        return not waiting and not self.catalog.moved_documents(1)

    def close(self) -> None:
        self._messages.put(None)
        self._parser.join(20)
        self._indexer.close()
        self._service.close()
        self.store.close()

    def _parse(self) -> None:
        while (document_ids := self._messages.get()) is not None:
            self._parsing.parse(*document_ids)
