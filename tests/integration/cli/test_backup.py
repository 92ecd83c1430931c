"""`llm-api backup` and `llm-api restore`, with a real catalog, real blobs and a real vector store."""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest

from cli.backup import backup
from cli.backup_folder import BackupFolder, link_or_copy
from cli.restore import check_originals, restore
from cli.runtime import Lock, RuntimeDir
from cli.screen import Screen
from core.blobs import BlobStore
from core.catalog import Catalog, Document, DocumentState, NewDocument, Source
from core.catalog.copies import originals_of
from core.errors import ConfigurationError, StorageFull, Unavailable
from core.settings import Settings, load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.vector_store.edge import EdgeVectorStore
from tasks.documents.embedding_models import Model, Models
from tasks.documents.indexer import Indexer
from tasks.documents.parsing import ParsingService
from tasks.jobs.producer import Producer
from tests.fakes.fake_embedder import FakeEmbedder
from tests.support import SmallDisk, wait_until


class Folder:
    """A data folder with what `llm-api` keeps in it."""

    def __init__(self, path: Path) -> None:
        self.settings: Settings = load_settings(_env_file=None, data_dir=path, min_free_bytes=0)
        self.blobs = BlobStore(self.settings.blobs_path)

    @contextmanager
    def open(self) -> Iterator[Catalog]:
        catalog = Catalog.open(self.settings.catalog_url)
        catalog.migrate()
        try:
            yield catalog
        finally:
            catalog.close()

    def add(self, catalog: Catalog, name: str, text: str) -> Document:
        blob = self.blobs.put(text.encode(), name)
        new = NewDocument(
            "default", name, Source.UPLOAD, blob.content_hash, blob.size_bytes, blob_key=blob.key, path=name
        )
        document, unneeded = catalog.replace_document(new)
        if unneeded:
            self.blobs.delete(unneeded)
        return document

    def backup(self, path: Path) -> str:
        output = StringIO()
        assert backup(self.settings, path, Screen(output)) == 0
        return output.getvalue()

    def restore(self, path: Path, *, force: bool = False) -> str:
        output = StringIO()
        assert restore(self.settings, path, Screen(output), force=force) == 0
        return output.getvalue()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Hold the lock that `llm-api up` holds."""
        runtime = RuntimeDir(self.settings.runtime_dir)
        runtime.prepare()
        lock = Lock(runtime.up_lock)
        assert lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def indexing(self, catalog: Catalog, producer: Producer) -> Iterator[Workers]:
        """Run the workers that documents need."""
        vectors = self.settings.state_dir / "vectors"
        store = EdgeVectorStore(vectors, FakeEmbedder.model_name, FakeEmbedder.dimension)
        service = EmbeddingService(cast(Embedder, FakeEmbedder()))
        parsing = ParsingService(self.settings, catalog, self.blobs, producer, "ingest@test")
        indexer = Indexer(catalog, self.blobs, Models(Model(service, store)), "index@test")
        indexer.start()
        try:
            yield Workers(catalog, parsing, indexer, store)
        finally:
            indexer.close()
            service.close()
            store.close()


@dataclass
class Workers:
    """A parser, which works on request, and an indexer, which works by itself."""

    catalog: Catalog
    parsing: ParsingService
    indexer: Indexer
    store: EdgeVectorStore

    def parse(self) -> None:
        self.parsing.parse(*(document.id for document in self.catalog.dispatchable(100)))
        self.indexer.wake()

    def complete_all(self) -> bool:
        """Parse what is queued. Return whether all documents are completed."""
        self.parse()
        return self.catalog.counts_by_state().keys() == {DocumentState.COMPLETED.value}


@pytest.fixture
def producer(redis_url: str) -> Iterator[Producer]:
    producer = Producer(load_settings(_env_file=None, redis_url=redis_url))
    producer.records.redis.flushdb()
    yield producer
    producer.close()


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "source")


@pytest.fixture
def target(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "target")


def test_a_backup_of_a_stopped_stack_is_restored_with_its_vectors(
    source: Folder, target: Folder, producer: Producer, tmp_path: Path
) -> None:
    with source.open() as catalog, source.indexing(catalog, producer) as workers:
        for number in range(5):
            source.add(catalog, f"{number}.txt", f"The text of number {number}.")
        wait_until(workers.complete_all)
        before = catalog.list_documents().items
        identity = workers.store.identity
    assert "The vectors are included" in source.backup(tmp_path / "backup")
    assert "5 originals" in target.restore(tmp_path / "backup")
    with target.open() as catalog, target.indexing(catalog, producer) as workers:
        assert workers.store.identity == identity
        assert catalog.list_documents().items == before, "nothing is indexed again"
        assert [workers.store.count(one.id, one.generation) for one in before] == [1] * 5


def test_a_backup_of_a_running_stack_is_consistent_and_makes_the_vectors_again(
    source: Folder, target: Folder, producer: Producer, tmp_path: Path
) -> None:
    stopping = threading.Event()
    chance = random.Random(1)

    def change(catalog: Catalog) -> None:
        for number in itertools.count():
            if stopping.is_set():
                return
            name = f"{chance.randrange(20)}.txt"
            document = source.add(catalog, name, f"Version {number} of {name}.")
            if chance.random() < 0.3:
                catalog.delete_document(document.id)

    with source.open() as catalog, source.indexing(catalog, producer) as workers, source.running():
        writer = threading.Thread(target=change, args=(catalog,))
        writer.start()
        try:
            for number in range(8):
                workers.parse()
                printed = source.backup(tmp_path / f"backup-{number}")
                assert "not included, since llm-api is running" in printed and "missing" not in printed
                check_originals(BackupFolder(tmp_path / f"backup-{number}"))
        finally:
            stopping.set()
            writer.join()
    assert "all documents are indexed again" in target.restore(tmp_path / "backup-7")
    with target.open() as catalog, target.indexing(catalog, producer) as workers:
        wait_until(workers.complete_all, 30)
        for document in catalog.list_documents(limit=100).items:
            assert workers.store.count(document.id, document.generation) == 1
            assert document.blob_key is not None and target.blobs.path(document.blob_key).is_file()


def test_a_backup_has_the_originals_that_its_catalog_names_and_no_others(source: Folder, tmp_path: Path) -> None:
    with source.open() as catalog:
        kept = source.add(catalog, "kept.txt", "A text.")
        deleted = source.add(catalog, "deleted.txt", "Another text.")
        catalog.delete_document(deleted.id)
        source.blobs.put(b"uploaded, but its row is not committed yet")
        source.backup(tmp_path / "backup")
    folder = BackupFolder(tmp_path / "backup")
    names = [f"{path.parent.name}/{path.name}" for path in folder.originals.rglob("*") if path.is_file()]
    assert names == [kept.blob_key] == list(originals_of(folder.catalog))
    manifest = json.loads(folder.manifest.read_text())
    assert (manifest["originals"], manifest["original_bytes"], manifest["has_vectors"]) == (1, 7, False)


def test_an_original_that_is_lost_is_reported(source: Folder, tmp_path: Path) -> None:
    with source.open() as catalog:
        document = source.add(catalog, "lost.txt", "A text.")
    source.blobs.delete(document.blob_key or "")
    assert "1 originals are missing in BLOB_DIR" in source.backup(tmp_path / "backup")


def test_originals_on_another_disk_are_copied(small_disk: SmallDisk, tmp_path: Path) -> None:
    (tmp_path / "original").write_text("text")
    assert link_or_copy(tmp_path / "original", tmp_path / "a" / "linked")
    assert (tmp_path / "a" / "linked").samefile(tmp_path / "original")
    assert link_or_copy(tmp_path / "original", small_disk.path / "a" / "copied")
    assert (small_disk.path / "a" / "copied").read_text() == "text"
    assert not link_or_copy(tmp_path / "none", small_disk.path / "none")


def test_a_backup_that_does_not_fit_leaves_nothing(source: Folder, small_disk: SmallDisk) -> None:
    with source.open() as catalog:
        source.add(catalog, "large.txt", "x" * 2**20)
    small_disk.fill(leave_bytes=2**19)
    with pytest.raises(StorageFull):
        source.backup(small_disk.path / "backup")
    assert not (small_disk.path / "backup").exists()


def test_a_restore_that_does_not_fit_changes_nothing(source: Folder, small_disk: SmallDisk, tmp_path: Path) -> None:
    target = Folder(small_disk.path / "data")
    with target.open() as catalog:
        mine = target.add(catalog, "mine.txt", "What is there already.")
    with source.open() as catalog:
        source.add(catalog, "large.txt", "x" * 2**20)
    source.backup(tmp_path / "backup")
    small_disk.fill(leave_bytes=2**19)
    with pytest.raises(StorageFull, match="nothing was changed"):
        target.restore(tmp_path / "backup", force=True)
    small_disk.free()
    with target.open() as catalog:
        assert [one.id for one in catalog.list_documents().items] == [mine.id]
    assert target.blobs.path(mine.blob_key or "").is_file()
    target.restore(tmp_path / "backup", force=True)
    with target.open() as catalog:
        assert [one.path for one in catalog.list_documents().items] == ["large.txt"]


def test_a_forced_restore_replaces_everything_that_belongs_to_the_old_data(
    source: Folder, target: Folder, producer: Producer, tmp_path: Path
) -> None:
    with source.open() as catalog:
        source.add(catalog, "new.txt", "A text.")
    source.backup(tmp_path / "backup")
    with target.open() as catalog, target.indexing(catalog, producer) as workers:
        old = target.add(catalog, "old.txt", "A text that goes.")
        wait_until(workers.complete_all)
    # SQLite leaves its log behind when a process is killed.
    for name in ("catalog.sqlite3-wal", "catalog.sqlite3-shm"):
        (target.settings.state_dir / name).write_bytes(os.urandom(5000))
    (target.settings.state_dir / "redis").mkdir()
    target.restore(tmp_path / "backup", force=True)
    left = {path.name for path in target.settings.state_dir.iterdir()}
    assert not left & {"catalog.sqlite3-wal", "catalog.sqlite3-shm", "redis", "vectors"}
    assert not any(name.endswith(".restoring") for name in left)
    assert not target.blobs.path(old.blob_key or "").exists()
    assert not (target.settings.blobs_path / "chunks").exists()
    target = Folder(target.settings.state_dir)
    with target.open() as catalog:
        assert [one.path for one in catalog.list_documents().items] == ["new.txt"]


DAMAGES: dict[str, Callable[[BackupFolder], Any]] = {
    "is not a complete backup": lambda folder: folder.manifest.unlink(),
    "was made by release 9.9.9": lambda folder: folder.manifest.write_text(
        folder.manifest.read_text().replace('"format": 1', '"format": 2').replace('"release": "', '"release": "9.9.9')
    ),
    "cannot be read as a catalog": lambda folder: folder.catalog.write_bytes(b"x" * 5000),
    "is damaged": lambda folder: next(folder.originals.glob("*/*")).unlink(),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_a_backup_that_cannot_be_used_is_refused_before_anything_is_changed(
    source: Folder, target: Folder, tmp_path: Path, message: str
) -> None:
    with source.open() as catalog:
        source.add(catalog, "a.txt", "A text.")
    source.backup(tmp_path / "backup")
    DAMAGES[message](BackupFolder(tmp_path / "backup"))
    with pytest.raises((ConfigurationError, Unavailable), match=message):
        target.restore(tmp_path / "backup")
    assert not (target.settings.state_dir / "catalog.sqlite3").exists()


def test_a_restore_refuses_a_running_stack_and_existing_data(source: Folder, target: Folder, tmp_path: Path) -> None:
    with source.open() as catalog:
        source.add(catalog, "a.txt", "A text.")
    source.backup(tmp_path / "backup")
    with target.running(), pytest.raises(ConfigurationError, match="llm-api is running on this DATA_DIR"):
        target.restore(tmp_path / "backup", force=True)
    target.restore(tmp_path / "backup")
    with pytest.raises(ConfigurationError, match=r"There is data already: .*catalog\.sqlite3"):
        target.restore(tmp_path / "backup")
    remote = target.settings.model_copy(update={"data_dir": tmp_path / "other", "qdrant_url": "http://127.0.0.1:1"})
    with pytest.raises(ConfigurationError, match="delete its collections"):
        restore(remote, tmp_path / "backup", Screen(StringIO()))


def test_what_cannot_be_backed_up_is_refused_with_what_to_do(source: Folder, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is nothing to back up"):
        source.backup(tmp_path / "backup")
    with source.open():
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "file").touch()
        with pytest.raises(ConfigurationError, match="is not empty"):
            source.backup(tmp_path / "full")
    assert (tmp_path / "full" / "file").exists()
    server = load_settings(_env_file=None, database_url="postgresql://user:secret@host/name")
    for run in (backup, restore):
        with pytest.raises(ConfigurationError, match="pg_dump"):
            run(server, tmp_path / "backup", Screen(StringIO()))
