"""Random kills while many files are ingested: at the end, catalog and vector store match the folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
from pathlib import Path

import psutil
import pytest

from core.blobs import BlobStore
from core.catalog import Catalog, Document, DocumentState
from ingest.embedding.embedder import Embedder
from ingest.vector_store.edge import EdgeVectorStore
from tests.store_contents import points_expected, points_in
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(1800)]

FILES = 500
KILLS = 20
#: The processes that documents go through; "child" is one of the parsing processes.
VICTIMS = ("watcher", "ingest", "child", "index", "maintenance", "redis", "api")


class Ingestion:
    """A folder that fills and changes while processes are killed."""

    def __init__(self, stack: Stack, catalog: Catalog, seed: int) -> None:
        self._stack = stack
        self._catalog = catalog
        self._random = random.Random(seed)

    def drop(self) -> None:
        for number in range(FILES):
            path = self._stack.inbox / f"{number % 10}" / f"{number:04}.txt"
            path.parent.mkdir(exist_ok=True)
            # Every tenth text occurs twice.
            path.write_text(f"This file speaks of marker{number - number % 10 // 9:04} and of nothing else.\n")

    def kill(self) -> None:
        victim = self._random.choice(VICTIMS)
        if victim == "child":
            wait_until(self._kill_child, 60, "a parsing process")
        else:
            # The pid is an old one if the same process was just killed and supervisord has not noticed it yet.
            with contextlib.suppress(ProcessLookupError):
                self._stack.kill(victim)

    def _kill_child(self) -> bool:
        """Kill a parsing process. Return False if there is none, for example because the ingest worker was killed."""
        with contextlib.suppress(psutil.NoSuchProcess):
            pid = self._stack.pid_of("ingest")
            for child in psutil.Process(pid).children()[:1] if pid else []:
                os.kill(child.pid, signal.SIGKILL)
                return True
        return False

    def change(self) -> None:
        """Rename a file, change one and delete one."""
        files = sorted(path for path in self._stack.inbox.rglob("*.txt"))
        renamed, changed, deleted = self._random.sample(files, 3)
        renamed.rename(renamed.with_name(f"renamed-{renamed.name}"))
        changed.write_text(f"It says something else now: {self._random.random()}.\n")
        deleted.unlink()

    def wait_for(self, completed: int) -> None:
        """Wait until this many documents are completed."""
        wait_until(lambda: self._catalog.counts_by_state().get(DocumentState.COMPLETED, 0) >= completed, 180)

    def documents(self) -> dict[str, Document]:
        return {document.path or "": document for document in self._catalog.find_documents(str(self._stack.inbox))}

    def is_at_rest(self) -> bool:
        found = {path: document.content_hash for path, document in self.documents().items()}
        is_done = set(self._catalog.counts_by_state()) == {DocumentState.COMPLETED}
        return found == on_disk(self._stack.inbox) and is_done and not self._catalog.moved_documents(1)


def on_disk(inbox: Path) -> dict[str, str]:
    return {
        path.relative_to(inbox).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in inbox.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("seed", range(3))
def test_random_kills_lose_nothing_and_do_nothing_twice(tmp_path: Path, seed: int) -> None:
    with Stack(tmp_path, {"WATCH_RESCAN_SECONDS": "5"}) as stack:
        catalog = Catalog.open(stack.settings.catalog_url)
        ingestion = Ingestion(stack, catalog, seed)
        ingestion.drop()
        for number in range(KILLS):
            ingestion.wait_for(number * FILES // (2 * KILLS))
            ingestion.kill()
            ingestion.change()
        wait_until(ingestion.is_at_rest, 300)
        documents = ingestion.documents()
        assert len(documents) == FILES - KILLS
        assert {document.state for document in documents.values()} == {DocumentState.COMPLETED}
    embedder = Embedder.from_settings(stack.settings)
    store = EdgeVectorStore(stack.settings.state_dir / "vectors", embedder.model_name, embedder.dimension)
    try:
        assert points_in(store) == points_expected(catalog, BlobStore(stack.settings.blobs_path))
    finally:
        store.close()
        catalog.close()
