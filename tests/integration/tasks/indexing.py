"""The stages of a document over a real catalog, real blobs, a real Redis and the embedded store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from core.blobs import BlobStore
from core.catalog import Catalog, Document, DocumentState, NewDocument, Source
from core.settings import Settings, load_settings
from ingest.embedding.embedder import Embedder
from ingest.embedding.service import EmbeddingService
from ingest.vector_store.edge import EdgeVectorStore
from tasks.documents.embedding_models import Model, Models
from tasks.documents.indexer import Indexer
from tasks.documents.parsing import ParsingService
from tasks.jobs.producer import Producer
from tests.fakes.fake_embedder import FakeEmbedder

#: A text of more chunks than a short run has.
LARGE = "\n\n".join(f"Paragraph {number}. " + "The harbour opens at dawn. " * 60 for number in range(90))


def make_empty_store(folder: Path) -> Path:
    """Make a store to be copied: the engine takes a second to make one."""
    EdgeVectorStore(folder, FakeEmbedder.model_name, FakeEmbedder.dimension).close()
    return folder


@dataclass
class World:
    """The stages of a document, all in one process."""

    catalog: Catalog
    blobs: BlobStore
    store: EdgeVectorStore
    service: EmbeddingService
    parsing: ParsingService
    indexer: Indexer

    def add(self, text: str, filename: str = "note.txt", key: str | None = None) -> Document:
        blob = self.blobs.put(text.encode(), filename)
        return self.catalog.add_document(
            NewDocument(
                collection="default",
                filename=filename,
                source=Source.UPLOAD,
                content_hash=blob.content_hash,
                size_bytes=blob.size_bytes,
                blob_key=blob.key,
                idempotency_key=key,
            )
        )

    def parse(self, document: Document) -> None:
        """Parse a document and wake the indexer, as the message that the parser sends does in a worker."""
        self.parsing.parse(document.id)
        self.indexer.wake()

    def state(self, document: Document) -> DocumentState:
        return self.catalog.documents_by_id([document.id])[document.id].state

    def is_gone(self, document: Document) -> bool:
        return not self.catalog.documents_by_id([document.id])

    def chunk_files(self, document: Document) -> set[str]:
        folder = self.blobs.root / "chunks" / document.id[-2:] / document.id
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    @property
    def models(self) -> Models:
        return Models(Model(self.service, self.store))

    def another_indexer(self, store: EdgeVectorStore) -> Indexer:
        return Indexer(self.catalog, self.blobs, Models(Model(self.service, store)), "index@test")

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, catalog: Catalog, producer: Producer, empty_store: Path) -> Iterator[World]:
        """Open the blobs and the store in a folder, and close everything at the end. The indexer is not started."""
        settings: Settings = load_settings(data_dir=folder / "data")
        blobs = BlobStore(folder / "blobs")
        shutil.copytree(empty_store, folder / "vectors")
        store = EdgeVectorStore(folder / "vectors", FakeEmbedder.model_name, FakeEmbedder.dimension)
        service = EmbeddingService(cast(Embedder, FakeEmbedder()))
        parsing = ParsingService(settings, catalog, blobs, producer, "ingest@test")
        indexer = Indexer(catalog, blobs, Models(Model(service, store)), "index@test")
        yield cls(catalog, blobs, store, service, parsing, indexer)
        indexer.close()
        service.close()
        store.close()
