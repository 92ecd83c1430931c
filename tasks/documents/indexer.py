"""The one bulk loop of the index worker: embeds and upserts parsed documents, deletes the points of deleted ones."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence

from sqlalchemy.exc import InterfaceError, OperationalError

from core.blobs import BlobStore
from core.catalog import Catalog, Claim, Collection, Document, DocumentState
from core.errors import DocumentRejected, Unavailable
from ingest.indexing.chunk_files import read_chunks
from ingest.indexing.points import ChunkedDocument, index_documents
from ingest.vector_store.base import DocumentMeta
from tasks.documents.embedding_models import Model, Models, Placement, place
from tasks.documents.leases import LEASE_SECONDS, kept_alive

log = logging.getLogger(__name__)

#: Without a message, how often the loop looks for work by itself: a wake-up may be lost.
IDLE_SECONDS = 5.0
#: Right after it has had work: more may have come without a message of its own (see `Producer.wake_indexer`).
BUSY_SECONDS = 0.25
#: Documents claimed at a time.
CLAIM_LIMIT = 64
#: Chunks of documents that are indexed side by side.
GROUP_CHUNKS = 64
#: While a document of more chunks is indexed, others pass it this often, so many at a time.
PASS_SECONDS, PASS_LIMIT = 0.5, 16
#: More than for parsing: a crash here counts against every document of the batch, guilty or not.
MAX_ATTEMPTS = 10
INDEX_STATES = (DocumentState.PARSED, DocumentState.INDEXING)
DELETE_STATES = (DocumentState.DELETING, DocumentState.DELETING)
#: After a fault of the store or the catalog.
FAULT_PAUSE_SECONDS = 1.0


#: Faults of what all documents need. They say nothing of the one at hand, which waits until it is over.
OUTAGES = (Unavailable, OperationalError, InterfaceError)


class Fenced(Exception):
    """The document was replaced or deleted while it was indexed."""


class Indexer:
    """Owns the writing side of the vector store. `wake` may be called from any thread."""

    def __init__(self, catalog: Catalog, blobs: BlobStore, models: Models, worker: str) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._models = models
        self._worker = worker
        #: Where the documents of each collection are, by the key of its points.
        self._placements: dict[str, Placement] = {}
        self._moving: list[Collection] = []
        #: Points of collections that have moved away.
        self._left: list[tuple[Model, str]] = []
        self._wake = threading.Event()
        self._stopping = False
        self._is_passing, self._passed_at = False, 0.0
        #: How many documents were indexed, and how many had been when one first could not be.
        self._activated = 0
        self._faults: dict[tuple[str, int], int] = {}
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)

    def start(self) -> None:
        """Compares the stores with the catalog, takes back what an earlier process of this name had, then begins."""
        self.place_collections()
        self._drop_strangers()
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

    def place_collections(self) -> None:
        """Compares where each collection is with where it is to be, and begins what follows from that.

        A collection that is to be in another model moves there, and search goes on with the one that it is in. If that
        is not here, or its points are gone, its documents are hidden and indexed again.
        """
        collections = self._catalog.placed_collections()
        if any([self._place(collection) for collection in collections]):
            collections = self._catalog.placed_collections()
        self._placements = {one.point_key: self._models.placement(one) for one in collections}
        self._moving = [one for one in collections if one.next_store]

    def _place(self, collection: Collection) -> bool:
        """Whether something was changed."""
        here, known = self._models.wanted(collection).record, collection.store
        if known is None or place(known) == place(here):
            if known == here and collection.next_store is None:
                return False
            self._leave(collection, self._models.holding(collection.next_store))
            self._catalog.place_collection(collection.id, here)
        elif self._models.holding(known) is None:
            count = self._catalog.replace_collection(collection.id, here)
            log.warning(
                "%s is in a vector store (%s, %s) that is not here: %d documents are indexed again in (%s, %s)",
                collection.name, known.store_id, known.embedding_model, count, here.store_id, here.embedding_model,
            )  # fmt: skip
        elif collection.next_store is None or place(collection.next_store) != place(here):
            self._leave(collection, self._models.holding(collection.next_store))
            self._catalog.begin_move(collection.id, here)
            log.info("%s moves from %s to %s", collection.name, known.embedding_model, here.embedding_model)
        else:
            return False
        return True

    def _leave(self, collection: Collection, model: Model | None) -> None:
        """The points of a collection in this model are removed in the next round: a search may be under way in it."""
        if model is not None:
            self._left.append((model, collection.point_key))

    def _clear_left(self) -> None:
        while self._left:
            model, key = self._left[0]
            if (at := self._placements.get(key)) is None or model not in at.all:
                model.store.delete_collections([key])
            del self._left[0]

    def _drop_strangers(self) -> None:
        """Removes points that a process which was killed in `_clear_left` has left."""
        for model in self._models.all:
            strangers = [key for key, at in self._placements.items() if model not in at.all]
            model.store.delete_collections(strangers)

    def _run(self) -> None:
        pause = IDLE_SECONDS
        while not self._stopping:
            woken = self._wake.is_set()
            self._wake.clear()
            try:
                self.place_collections()
                self._clear_left()
                if self._delete_some() + self._index_some() + self._rename_some() + self._take_over():
                    pause = BUSY_SECONDS
                    continue
            except Exception:
                # A fault of the store or the catalog must not end the only loop; leases bring the work back.
                log.exception("indexing paused after a fault")
                self._wake.wait(FAULT_PAUSE_SECONDS)
                continue
            # A message counts as work: what it told of may be on its way still.
            self._wake.wait(BUSY_SECONDS if woken else pause)
            pause = min(IDLE_SECONDS, 2 * pause)

    def _claim(
        self, expected: DocumentState, claimed: DocumentState, limit: int = CLAIM_LIMIT, max_chunks: int | None = None
    ) -> list[Claim]:
        return self._catalog.claim_next(
            self._worker,
            expected=expected,
            claimed=claimed,
            limit=limit,
            max_chunks=max_chunks,
            lease_seconds=LEASE_SECONDS,
            max_attempts=MAX_ATTEMPTS,
        )

    def _index_some(self, limit: int = CLAIM_LIMIT, max_chunks: int | None = None) -> int:
        """Raises the first fault at the end, when all the others are done; after an outage they are given back."""
        claims = self._claim(*INDEX_STATES, limit, max_chunks)
        pending, faults, outage = list(claims), list[Exception](), False
        with kept_alive(self._catalog, pending):
            for at, group in self._groups(claims):
                try:
                    if self._stopping or outage:
                        self._give_back(group)
                    else:
                        self._index(at, group)
                except OUTAGES as error:
                    faults.append(error)
                    outage = True
                    self._give_back(group)
                except Exception as error:  # raised below
                    faults.append(error)
                for claim in group:
                    pending.remove(claim)
        if faults:
            raise faults[0]
        return len(claims)

    def _give_back(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            self._catalog.release(claim, DocumentState.PARSED)

    def _groups(self, claims: Sequence[Claim]) -> list[tuple[Placement, list[Claim]]]:
        """What is indexed side by side, the small ones first: a large one hardly notices them."""
        groups = [(at, group) for at, mine in self._by_placement(claims) for group in grouped(mine)]
        return sorted(groups, key=lambda each: sum(claim.document.chunk_count for claim in each[1]))

    def _by_placement(self, claims: Sequence[Claim]) -> list[tuple[Placement, list[Claim]]]:
        """The claims of documents of each place, in their order."""
        strangers = [claim for claim in claims if claim.document.collection_key not in self._placements]
        if strangers and self._is_passing:
            # Where the long document is to go is not asked anew in its middle.
            self._give_back(strangers)
        elif strangers:
            self.place_collections()  # a collection that was made a moment ago
        found: dict[Placement, list[Claim]] = {}
        for claim in claims:
            if claim.document.collection_key in self._placements:
                found.setdefault(self._placements[claim.document.collection_key], []).append(claim)
        return list(found.items())

    def _index(self, at: Placement, claims: Sequence[Claim]) -> None:
        """Indexes documents of one place side by side, so that the model always has a full batch."""
        works = {claim.document.id: work for claim in claims if (work := self._read(claim)) is not None}
        readable = [claim for claim in claims if claim.document.id in works]
        try:
            counts = [self._write(model, list(works.values()), readable) for model in at.all]
        except Fenced:
            log.info("replaced while it was indexed: %s", ", ".join(works))
            return
        except DocumentRejected as rejection:
            if len(readable) == 1:
                self._catalog.fail(readable[0], rejection.message, rejection.code or "invalid_file")
            else:
                self._index_each(at, readable)
            return
        except OUTAGES:
            raise
        except Exception as error:
            if len(readable) == 1:
                if not self._is_to_blame(readable[0]):
                    raise
                log.warning("%s cannot be indexed", readable[0].document.id, exc_info=True)
                self._catalog.fail(readable[0], f"It could not be indexed: {error}", "not_indexed")
                self._faults.pop(_generation(readable[0]), None)
                return
            # Whichever document it is, the others are not to blame.
            log.warning("indexing several documents at once failed: one after the other", exc_info=True)
            self._index_each(at, readable)
            return
        embedded = [max(of_each_model) for of_each_model in zip(*counts, strict=True)]
        self._activate(at, [(claim, len(works[claim.document.id].chunks), count)
                        for claim, count in zip(readable, embedded, strict=True)])  # fmt: skip

    def _is_to_blame(self, claim: Claim) -> bool:
        """Whether others were indexed since it first could not be: then it is not the store that is at fault."""
        return self._activated > self._faults.setdefault(_generation(claim), self._activated)

    def _write(self, model: Model, works: Sequence[ChunkedDocument], claims: Sequence[Claim]) -> list[int]:
        return index_documents(
            works,
            embedder=model.service,
            store=model.store,
            between_batches=lambda done, embedded: self._check(claims, done, embedded),
        )

    def _index_each(self, at: Placement, claims: Sequence[Claim]) -> None:
        """Raises the first fault at the end, when all the others are done."""
        faults = []
        for claim in claims:
            try:
                self._index(at, [claim])
            except Exception as error:  # raised below
                faults.append(error)
        if faults:
            raise faults[0]

    def _read(self, claim: Claim) -> ChunkedDocument | None:
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
        return ChunkedDocument(_meta(document), chunks)

    def _activate(self, at: Placement, finished: Sequence[tuple[Claim, int, int]]) -> None:
        activated = self._catalog.activate_all(finished, in_next_store=at.upcoming is not None)
        self._activated += sum(activated)
        for (claim, _, _), is_active in zip(finished, activated, strict=True):
            document = claim.document
            self._faults.pop(_generation(claim), None)
            # There is nothing older than the first generation.
            if is_active and document.generation > 1:
                for model in at.all:
                    model.store.keep_generation(document.id, document.generation)
                self._blobs.delete_chunks(document.id, keep_generation=document.generation)

    def _check(self, claims: Sequence[Claim], done: int, embedded: int) -> None:
        """Ends the work that is no longer wanted, and tells of a document that is alone how far it is."""
        is_lost = len(claims) == 1 and not self._catalog.renew(claims[0], LEASE_SECONDS, (done, embedded))
        if self._stopping or is_lost:
            raise Fenced
        is_long = sum(claim.document.chunk_count for claim in claims) > GROUP_CHUNKS
        # One of those that were deleted in between may be this one.
        if is_long and self._let_others_pass() and not self._catalog.renew(claims[0], LEASE_SECONDS):
            raise Fenced

    def _let_others_pass(self) -> bool:
        """Whether it was the time to delete, index and rename, between two batches, what does not take long."""
        if self._is_passing or time.monotonic() - self._passed_at < PASS_SECONDS:
            return False
        self._is_passing = True
        try:
            self._delete_some()
            self._index_some(PASS_LIMIT, GROUP_CHUNKS)
            self._rename_some()
        except Exception:
            # It is not the fault of the long document; leases bring back what it was about.
            log.exception("what passes a long document paused after a fault")
        finally:
            self._is_passing = False
            self._passed_at = time.monotonic()
        return True

    def _delete_some(self) -> int:
        claims = self._claim(*DELETE_STATES)
        if not claims:
            return 0
        for at, mine in self._by_placement(claims):
            for model in at.all:
                model.store.delete_documents([claim.document.id for claim in mine])
        for claim in claims:
            self._blobs.delete_chunks(claim.document.id)
            if claim.document.blob_key:
                self._blobs.delete(claim.document.blob_key)
        self._catalog.finish_deletes(claims)
        return len(claims)

    def _rename_some(self) -> int:
        """Writes the new names of moved documents into their points; nothing is parsed or embedded again."""
        moved = self._catalog.moved_documents(CLAIM_LIMIT)
        if moved:
            for model in self._models.all:
                mine = [one for one in moved if self._is_in(model, one)]
                model.store.update_documents([_meta(document) for document in mine])
            self._catalog.confirm_moved(moved)
        return len(moved)

    def _is_in(self, model: Model, document: Document) -> bool:
        at = self._placements.get(document.collection_key)
        return at is None or model in at.all

    def _take_over(self) -> int:
        """Lets upcoming models answer for the collections that they have every document of; queues what they lack."""
        if not self._moving:
            return 0
        self._catalog.queue_for_next()
        return sum(self._finish_move(collection) for collection in self._moving)

    def _finish_move(self, collection: Collection) -> bool:
        lost = self._catalog.finish_move(collection.id)
        if lost is None:
            return False
        at = self._placements[collection.point_key]
        name = at.all[-1].record.embedding_model
        log.info("%s answers for %s now; %d documents could not be read again", name, collection.name, lost)
        self._leave(collection, at.serving)
        return True


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


def _generation(claim: Claim) -> tuple[str, int]:
    return claim.document.id, claim.document.generation


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
