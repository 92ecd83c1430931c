"""The one bulk loop of the index worker: embeds and upserts parsed documents, deletes the points of deleted ones."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

from core.blobs import BlobStore
from core.catalog import Catalog, Claim, Document, DocumentState, StoreRecord
from core.errors import DocumentRejected
from ingest.pipeline import DocumentMeta, Work, index_documents, read_chunks
from ingest.vector_store.base import PAYLOAD_FORMAT
from tasks.leases import LEASE_SECONDS, kept_alive
from tasks.models import Model, Models

log = logging.getLogger(__name__)

#: Without a message, how often the loop looks for work by itself: a wake-up may be lost.
IDLE_SECONDS = 5.0
#: Right after it has had work: more may have come without a message of its own (see `Producer.wake_indexer`).
BUSY_SECONDS = 0.25
#: Documents claimed at a time.
CLAIM_LIMIT = 64
#: Chunks of documents that are indexed side by side.
GROUP_CHUNKS = 64
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

    def __init__(self, catalog: Catalog, blobs: BlobStore, models: Models, worker: str) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._models = models
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
        """Sends every document through again if the store or the model is not the one the catalog speaks of.

        If the former model is still here, search goes on with it until the new one has all documents.
        """
        self._adopt_models()
        if count := self._catalog.renew_payloads(PAYLOAD_FORMAT):
            log.info("the points of %d documents get what newer filters read", count)

    def _adopt_models(self) -> None:
        upcoming = self._models.upcoming
        if upcoming is not None:
            begun = self._catalog.begin_next_store(upcoming.record)
            how = "begins" if begun else "goes on"
            log.info("embedding by %s %s; search uses the former model", upcoming.record.embedding_model, how)
            return
        here, known = self._models.serving.record, self._catalog.store_record()
        if known == here:
            self._catalog.forget_next_store()
            return
        if known is not None and _place(known) != _place(here):
            count = self._catalog.reindex_all()
            log.warning(
                "the vector store (%s, %s) is not the one the catalog knows (%s, %s): %d documents are indexed again",
                here.store_id, here.embedding_model, known.store_id, known.embedding_model, count,
            )  # fmt: skip
        self._catalog.record_store(here)

    def _run(self) -> None:
        pause = IDLE_SECONDS
        while not self._stopping:
            woken = self._wake.is_set()
            self._wake.clear()
            try:
                if self._delete_some() + self._index_some() + self._move_some() + self._take_over():
                    pause = BUSY_SECONDS
                    continue
            except (
                Exception
            ):  # a fault of the store or the catalog must not end the only loop; leases bring the work back
                log.exception("indexing paused after a fault")
                self._wake.wait(FAULT_PAUSE_SECONDS)
                continue
            # A message counts as work: what it told of may be on its way still.
            self._wake.wait(BUSY_SECONDS if woken else pause)
            pause = min(IDLE_SECONDS, 2 * pause)

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
            for group in grouped(claims):
                if self._stopping:
                    for claim in group:
                        self._catalog.release(claim, DocumentState.PARSED)
                else:
                    self._index(group)
                del pending[: len(group)]
        return count

    def _index(self, claims: Sequence[Claim]) -> None:
        """Indexes documents side by side, so that the model always has a full batch."""
        works = {claim.document.id: work for claim in claims if (work := self._read(claim)) is not None}
        readable = [claim for claim in claims if claim.document.id in works]
        try:
            counts = [self._write(model, list(works.values()), readable) for model in self._models.all]
        except Fenced:
            log.info("replaced while it was indexed: %s", ", ".join(works))
            return
        except DocumentRejected as rejection:
            if len(readable) == 1:
                self._catalog.fail(readable[0], rejection.message, rejection.code or "invalid_file")
            else:
                self._index_each(readable)
            return
        except Exception:
            if len(readable) == 1:
                raise
            # Whichever document it is, the others are not to blame.
            log.warning("indexing several documents at once failed: one after the other", exc_info=True)
            self._index_each(readable)
            return
        embedded = [max(of_each_model) for of_each_model in zip(*counts, strict=True)]
        self._activate([(claim, len(works[claim.document.id].chunks), count)
                        for claim, count in zip(readable, embedded, strict=True)])  # fmt: skip

    def _write(self, model: Model, works: Sequence[Work], claims: Sequence[Claim]) -> list[int]:
        return index_documents(
            works,
            embedder=model.service,
            store=model.store,
            between_batches=lambda done, embedded: self._check(claims, done, embedded),
        )

    def _index_each(self, claims: Sequence[Claim]) -> None:
        """Raises the first fault at the end, when all the others are done."""
        faults = []
        for claim in claims:
            try:
                self._index([claim])
            except Exception as error:  # raised below
                faults.append(error)
        if faults:
            raise faults[0]

    def _read(self, claim: Claim) -> Work | None:
        """The chunks of a document; None if it has to be parsed again."""
        document = claim.document
        try:
            chunks = read_chunks(self._blobs.chunks_path(document.id, document.generation))
        except FileNotFoundError:
            chunks = []
        if len(chunks) != document.chunk_count:
            # The chunks are a cache of the original, and not synced to the disk: without them it is parsed again.
            self._catalog.release(claim, DocumentState.QUEUED)
            return None
        return Work(_meta(document), chunks)

    def _activate(self, finished: Sequence[tuple[Claim, int, int]]) -> None:
        activated = self._catalog.activate_all(finished, in_next_store=self._models.upcoming is not None)
        for (claim, _, _), is_active in zip(finished, activated, strict=True):
            document = claim.document
            # There is nothing older than the first generation.
            if is_active and document.generation > 1:
                for model in self._models.all:
                    model.store.keep_generation(document.id, document.generation)
                self._blobs.delete_chunks(document.id, keep_generation=document.generation)

    def _check(self, claims: Sequence[Claim], done: int, embedded: int) -> None:
        """Ends the work that is no longer wanted, and tells of a document that is alone how far it is."""
        is_lost = len(claims) == 1 and not self._catalog.renew(claims[0], LEASE_SECONDS, (done, embedded))
        if self._stopping or is_lost:
            raise Fenced

    def _delete_some(self) -> int:
        claims = self._claim(*DELETE_STATES)
        if not claims:
            return 0
        for model in self._models.all:
            model.store.delete_documents([claim.document.id for claim in claims])
        for claim in claims:
            self._blobs.delete_chunks(claim.document.id)
            if claim.document.blob_key:
                self._blobs.delete(claim.document.blob_key)
        self._catalog.finish_deletes(claims)
        return len(claims)

    def _move_some(self) -> int:
        """Writes the new names of renamed documents into their points; nothing is parsed or embedded again."""
        moved = self._catalog.moved_documents(CLAIM_LIMIT)
        if moved:
            for model in self._models.all:
                model.store.update_documents([_meta(document) for document in moved])
            self._catalog.confirm_moved(moved)
        return len(moved)

    def _take_over(self) -> int:
        """Lets the upcoming model answer once it has every document; until then, sends it those that it lacks."""
        upcoming = self._models.upcoming
        if upcoming is None:
            return 0
        self._catalog.queue_for_next()
        lost = self._catalog.finish_next_store()
        if lost is None:
            return 0
        log.info("%s answers now; %d documents could not be read again", upcoming.record.embedding_model, lost)
        former, self._models = self._models, Models(upcoming)
        former.on_switch(upcoming)
        return 1


def grouped(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    """The claims in groups of at most GROUP_CHUNKS chunks; a document of more is alone."""
    group: list[Claim] = []
    chunks = 0
    for claim in claims:
        if group and chunks + claim.document.chunk_count > GROUP_CHUNKS:
            yield group
            group, chunks = [], 0
        group.append(claim)
        chunks += claim.document.chunk_count
    if group:
        yield group


def _meta(document: Document) -> DocumentMeta:
    return DocumentMeta(
        document.id,
        document.generation,
        document.collection_key,
        document.filename,
        document.path,
        document.attributes,
        document.media_type,
    )


def _place(record: StoreRecord) -> tuple[str, str, int]:
    """Where the points are, whatever the setting was called that led there."""
    return record.store_id, record.embedding_model, record.dimension
