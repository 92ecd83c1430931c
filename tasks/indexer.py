"""The one bulk loop of the index worker: embeds and upserts parsed documents, deletes the points of deleted ones."""

from __future__ import annotations

import logging
import threading

from core.blobs import BlobStore
from core.catalog import Catalog, Claim, DocumentState, StoreRecord
from core.errors import DocumentRejected
from ingest.embedder import EmbeddingService
from ingest.pipeline import DocumentMeta, index_document, read_chunks
from ingest.vector_store import VectorStore
from ingest.vector_store.filters import type_names
from tasks.leases import LEASE_SECONDS, kept_alive

log = logging.getLogger(__name__)

#: Without a message, how often the loop looks for work by itself: a wake-up may be lost.
IDLE_SECONDS = 5.0
#: Documents claimed at a time.
CLAIM_LIMIT = 16
#: More than for parsing: a crash here counts against every document of the batch, guilty or not.
MAX_ATTEMPTS = 10
INDEX_STATES = (DocumentState.PARSED, DocumentState.INDEXING)
DELETE_STATES = (DocumentState.DELETING, DocumentState.DELETING)
#: After a fault of the store or the catalog.
FAULT_PAUSE_SECONDS = 1.0


class Fenced(Exception):
    """The document was replaced or deleted while it was indexed."""


class Indexer:
    """Owns the writing side of the vector store. `wake` may be called from any thread."""

    def __init__(
        self, catalog: Catalog, blobs: BlobStore, store: VectorStore, service: EmbeddingService, worker: str
    ) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._store = store
        self._service = service
        self._worker = worker
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)

    def start(self) -> None:
        """Compares the store with the catalog, takes back what an earlier process of this name had, then begins."""
        self.adopt_store()
        for expected, claimed in (INDEX_STATES, DELETE_STATES):
            self._catalog.reclaim(self._worker, expected=expected, claimed=claimed, max_attempts=MAX_ATTEMPTS)
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def close(self) -> None:
        """Stops after the document in hand."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=20)

    def adopt_store(self) -> None:
        """Sends every document through again if the store or the model is not the one the catalog speaks of."""
        here = StoreRecord(self._store.identity, self._service.embedder.model_name, self._service.embedder.dimension)
        known = self._catalog.store_record()
        if known == here:
            return
        if known is not None:
            count = self._catalog.reindex_all()
            log.warning(
                "the vector store (%s, %s) is not the one the catalog knows (%s, %s): %d documents are indexed again",
                here.store_id, here.embedding_model, known.store_id, known.embedding_model, count,
            )  # fmt: skip
        self._catalog.record_store(here.store_id, here.embedding_model, here.dimension)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                if self._delete_some() + self._index_some() + self._move_some():
                    continue
            except (
                Exception
            ):  # a fault of the store or the catalog must not end the only loop; leases bring the work back
                log.exception("indexing paused after a fault")
                self._wake.wait(FAULT_PAUSE_SECONDS)
                continue
            self._wake.wait(IDLE_SECONDS)

    def _claim(self, expected: DocumentState, claimed: DocumentState) -> list[Claim]:
        return self._catalog.claim_next(
            self._worker,
            expected=expected,
            claimed=claimed,
            limit=CLAIM_LIMIT,
            lease_seconds=LEASE_SECONDS,
            max_attempts=MAX_ATTEMPTS,
        )

    def _index_some(self) -> int:
        claims = self._claim(*INDEX_STATES)
        count, pending = len(claims), list(claims)
        with kept_alive(self._catalog, pending):
            for claim in claims:
                if self._stopping:
                    self._catalog.release(claim, DocumentState.PARSED)
                else:
                    self._index(claim)
                pending.remove(claim)
        return count

    def _index(self, claim: Claim) -> None:
        document = claim.document
        meta = DocumentMeta(
            document.id,
            document.generation,
            document.collection_key,
            document.filename,
            document.path,
            document.attributes,
            document.media_type,
        )
        try:
            chunks = read_chunks(self._blobs.chunks_path(document.id, document.generation))
            embedded = index_document(
                chunks,
                document=meta,
                embedder=self._service,
                store=self._store,
                between_batches=lambda done, embedded: self._check(claim, done, embedded),
            )
        except Fenced:
            log.info("%s was replaced while it was indexed", document.id)
            return
        except FileNotFoundError:
            # The chunks are a cache of the original: without them the document is parsed again.
            self._catalog.release(claim, DocumentState.QUEUED)
            return
        except DocumentRejected as rejection:
            self._catalog.fail(claim, rejection.message, rejection.code or "invalid_file")
            return
        if self._catalog.activate(claim, len(chunks), embedded):
            self._store.delete_document(document.id, keep_generation=document.generation)
            self._blobs.delete_chunks(document.id, keep_generation=document.generation)

    def _check(self, claim: Claim, done: int, embedded: int) -> None:
        """Tells how far it is, and ends the work that is no longer wanted."""
        if self._stopping or not self._catalog.renew(claim, LEASE_SECONDS, (done, embedded)):
            raise Fenced

    def _delete_some(self) -> int:
        claims = self._claim(*DELETE_STATES)
        for claim in claims:
            document = claim.document
            self._store.delete_document(document.id)
            self._blobs.delete_chunks(document.id)
            if document.blob_key:
                self._blobs.delete(document.blob_key)
            self._catalog.finish_delete(claim)
        return len(claims)

    def _move_some(self) -> int:
        """Writes the new names of renamed documents into their points; nothing is parsed or embedded again."""
        moved = self._catalog.moved_documents(CLAIM_LIMIT)
        for document in moved:
            types = type_names(document.media_type, document.filename)
            self._store.update_payload(
                document.id,
                {
                    "filename": document.filename,
                    "path": document.path,
                    "type": types,
                    "attributes": document.attributes,
                },
            )
            self._catalog.confirm_moved(document)
        return len(moved)
