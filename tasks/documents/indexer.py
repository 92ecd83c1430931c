"""The indexer: one thread that executes the actions of the schedule."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from sqlalchemy.exc import InterfaceError, OperationalError

from core.blobs import BlobStore
from core.catalog import LEASE_SECONDS, Activation, Catalog, Claim, Document, DocumentState, Indexed
from core.disk import DiskSpace, is_disk_full
from core.errors import DocumentRejected, StorageFull, Unavailable
from tasks.documents.document_metrics import observe_indexed
from tasks.documents.embedding_models import Models, Placement
from tasks.documents.index_run import Fenced, IndexRun, document_meta, grouped
from tasks.documents.indexing_schedule import POLL_LIMIT, IndexingSchedule, Poll, Step, Wait
from tasks.documents.leases import kept_alive
from tasks.documents.leftovers import discard_points
from tasks.documents.placements import QUEUE_LIMIT, Placements

log = logging.getLogger(__name__)

#: Renamed documents whose points are updated at a time.
RENAME_LIMIT = 64
DELETED_RETENTION_SECONDS = 86_400
#: More than for parsing, as a crash counts as a failed attempt at every document that is being indexed.
MAX_INDEX_ATTEMPTS = 10
INDEX_STATES = (DocumentState.PARSED, DocumentState.INDEXING)
DELETE_STATES = (DocumentState.DELETING, DocumentState.DELETING)
#: Faults of the store or the catalog, not of a document. The documents are released and indexed after the outage.
OUTAGES = (Unavailable, OperationalError, InterfaceError)


class Indexer:
    """The only writer of the vector stores. `wake` may be called from any thread."""

    def __init__(
        self,
        catalog: Catalog,
        blobs: BlobStore,
        models: Models,
        worker: str,
        disk: DiskSpace | None = None,
        count: Callable[..., None] = lambda **_: None,
    ) -> None:
        """
        Args:
            count: Adds to the counts of this minute: `documents_completed`, `documents_failed`, `chunks`.
            disk: While it is short of space, no documents are taken. Those that are being indexed are released before
                it is full: the embedded store maps its files into memory, so that a full disk kills the process.
        """
        self._catalog = catalog
        self._blobs = blobs
        self._models = models
        self._worker = worker
        self._disk = disk
        self._count = count
        self._placements = Placements(catalog, models)
        self._schedule = IndexingSchedule()
        self._runs: list[IndexRun] = []
        #: The claims of all runs. Another thread renews their leases.
        self._held: list[Claim] = []
        self._wake = threading.Event()
        self._stopping = False
        self._has_outdated = False
        #: The number of activated documents, now and when a document first failed.
        self._activated = 0
        self._activated_at_fault: dict[tuple[str, int], int] = {}
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)

    def start(self) -> None:
        """Reconcile the stores with the catalog, reclaim the documents of an earlier process, and start the thread."""
        self._placements.refresh()
        self._placements.delete_unreachable()
        if count := self._catalog.outdated_count():
            self._has_outdated = True
            # A warning: what is logged below that before the worker has set up its logging is lost.
            log.warning("%d documents are indexed again, since this release chunks them better; search goes on", count)
        for expected, claimed in (INDEX_STATES, DELETE_STATES):
            self._catalog.reclaim(self._worker, expected=expected, claimed=claimed, max_attempts=MAX_INDEX_ATTEMPTS)
        self._thread.start()

    def wake(self) -> None:
        """Poll the catalog now, because there may be something to do."""
        self._wake.set()

    def close(self) -> None:
        """Stop after the current batch, and release the documents that are not finished."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=20)

    def _run(self) -> None:
        with kept_alive(self._catalog, self._held):
            while not self._stopping:
                try:
                    self._act()
                except StorageFull as error:
                    log.warning("indexing paused: %s", error.message)
                    self._schedule.failed(time.monotonic())
                except Exception:
                    # A fault of the store or the catalog must not end the thread. The leases expire, and the documents
                    # are claimed again.
                    log.exception("indexing paused after a fault")
                    self._schedule.failed(time.monotonic())
            self._release_runs()

    def _act(self) -> None:
        if self._wake.is_set():
            self._wake.clear()
            self._schedule.woken(time.monotonic())
        match self._schedule.next_action(time.monotonic(), [run.state for run in self._runs]):
            case Poll() as poll:
                self._poll(poll)
            case Step(run=index):
                self._step(self._runs[index])
            case Wait(seconds=seconds):
                self._wake.wait(seconds)

    # Polling

    def _poll(self, poll: Poll) -> None:
        found = 0
        if not poll.interrupts:
            # Placements change before documents are taken, so that nothing is written to a store that is left.
            self._placements.delete_orphaned()
            found += self._placements.finish_moves()
            self._placements.refresh()
            found += self._queue_outdated()
        # Asked first, because most polls find nothing, and taking documents takes the catalog's write lock.
        if self._catalog.has_work_for_indexer(tombstones_older_than_seconds=DELETED_RETENTION_SECONDS):
            if not poll.interrupts:
                found += self._purge()
            found += self._delete() + self._take(poll) + self._rename()
        self._schedule.polled(time.monotonic(), found=bool(found))

    def _queue_outdated(self) -> int:
        """After an upgrade, queue documents to be chunked as this release does it. Return how many were queued.

        Once there are none left, this process does not ask again: no release makes older chunks than it has.
        """
        if not self._has_outdated:
            return 0
        queued = self._catalog.queue_outdated(QUEUE_LIMIT)
        if not queued:
            self._has_outdated = bool(self._catalog.outdated_count())
        return queued

    def _claim(
        self, expected: DocumentState, claimed: DocumentState, limit: int, max_chunks: int | None = None
    ) -> list[Claim]:
        return self._catalog.claim_next(
            self._worker,
            expected=expected,
            claimed=claimed,
            limit=limit,
            max_chunks=max_chunks,
            lease_seconds=LEASE_SECONDS,
            max_attempts=MAX_INDEX_ATTEMPTS,
        )

    def _take(self, poll: Poll) -> int:
        """Claim documents and begin their runs. Return how many were claimed."""
        if self._disk and self._disk.is_short():
            return 0
        claims = self._claim(*INDEX_STATES, poll.limit, poll.max_chunks)
        for placement, placed in self._group(claims).items():
            for group in grouped(placed):
                self._begin(IndexRun(placement, group, self._catalog, self._blobs, self._placements.numbers(group)))
        return len(claims)

    def _group(self, claims: Sequence[Claim]) -> dict[Placement, list[Claim]]:
        """Return the claims by placement. Place new collections first."""
        if self._placements.unplaced(claims):
            self._placements.place_new()
        return self._placements.group(claims)

    def _delete(self) -> int:
        claims = self._claim(*DELETE_STATES, POLL_LIMIT)
        if not claims:
            return 0
        for placement, placed in self._group(claims).items():
            for model in placement.all:
                model.store.delete_documents([claim.document.id for claim in placed])
        for claim in claims:
            self._blobs.delete_chunks(claim.document.id)
            if claim.document.blob_key:
                self._blobs.delete(claim.document.blob_key)
        self._catalog.finish_deletes(claims)
        return len(claims)

    def _purge(self) -> int:
        """Remove the rows of documents that were deleted long ago, and once more all that was written for them.

        A worker that was stalled or killed may have written after the deletion. Nothing can be so late any more.
        """
        gone = self._catalog.tombstones(POLL_LIMIT, older_than_seconds=DELETED_RETENTION_SECONDS)
        if gone:
            for model in self._models.all:
                model.store.delete_documents(gone)
            for document_id in gone:
                self._blobs.delete_chunks(document_id)
            self._catalog.purge_deleted(gone)
        return len(gone)

    def _rename(self) -> int:
        """Write the new names of renamed documents into their points, without parsing or embedding them again."""
        moved = self._catalog.moved_documents(RENAME_LIMIT)
        if moved:
            for model in self._models.all:
                held = [document for document in moved if self._placements.has_document(model, document)]
                model.store.update_documents([document_meta(document) for document in held])
            self._catalog.confirm_moved(moved)
        return len(moved)

    # Runs

    def _begin(self, run: IndexRun) -> None:
        self._runs.append(run)
        self._held += run.claims

    def _end(self, run: IndexRun) -> None:
        self._runs.remove(run)
        for claim in run.claims:
            self._held.remove(claim)

    def _step(self, run: IndexRun) -> None:
        """Index one batch of a run. An error ends the run; an outage ends all runs."""
        try:
            if self._disk:
                self._disk.require_reserve()
            finished = run.step()
            if finished is not None:
                self._activate(run, finished)
                self._end(run)
        except Fenced:
            self._end(run)
            self._discard(run, run.readable)
        except OUTAGES:
            self._release_runs()
            raise
        except Exception as error:
            if is_disk_full(error) or (self._disk and self._disk.is_short()):
                self._release_runs()
                raise
            self._end(run)
            self._fail(run, error)

    def _release_runs(self) -> None:
        lost: list[tuple[IndexRun, list[Claim]]] = []
        for run in list(self._runs):
            self._end(run)
            fenced = [claim for claim in run.readable if not self._catalog.release(claim, DocumentState.PARSED)]
            lost.append((run, fenced))
        for run, claims in lost:
            self._discard(run, claims)

    def _discard(self, run: IndexRun, claims: Sequence[Claim]) -> None:
        """Remove the points of claims that were fenced off: of documents that were deleted or replaced meanwhile."""
        if claims:
            log.info("replaced while they were indexed: %s", ", ".join(claim.document.id for claim in claims))
            discard_points(claims, self._catalog, run.placement.all)

    def _fail(self, run: IndexRun, error: Exception) -> None:
        """Fail the document of a run. If the run has several, begin a run for each, to find the one at fault.

        Raises:
            Exception: the error, if the store may be at fault. The document is claimed again when its lease expires.
        """
        if len(run.readable) > 1:
            if not isinstance(error, DocumentRejected):
                log.warning("indexing several documents together failed; each is indexed alone now", exc_info=error)
            for single in run.split():
                self._begin(single)
            return
        (claim,) = run.readable
        if isinstance(error, DocumentRejected):
            self._fail_document(claim, error.message, error.code or "invalid_file")
        elif self._is_to_blame(claim):
            log.warning("%s cannot be indexed", claim.document.id, exc_info=error)
            self._fail_document(claim, f"It could not be indexed: {error}", "not_indexed")
            self._activated_at_fault.pop(_generation(claim), None)
        else:
            raise error

    def _fail_document(self, claim: Claim, reason: str, code: str) -> None:
        self._count(documents_failed=int(self._catalog.fail(claim, reason, code)))

    def _is_to_blame(self, claim: Claim) -> bool:
        """Return whether other documents were indexed since this one first failed, which shows that the store works."""
        return self._activated > self._activated_at_fault.setdefault(_generation(claim), self._activated)

    def _activate(self, run: IndexRun, finished: Sequence[Indexed]) -> None:
        fenced = []
        for indexed, result in zip(finished, self._catalog.activate_all(finished), strict=True):
            claim = indexed.claim
            self._activated_at_fault.pop(_generation(claim), None)
            match result:
                case Activation.ACTIVE:
                    self._activated += 1
                    self._count(documents_completed=1, chunks=indexed.chunk_count)
                    observe_indexed(indexed)
                    self._delete_replaced(run, claim.document)
                case Activation.MISPLACED:
                    self._index_elsewhere(run, claim)
                case Activation.FENCED:
                    fenced.append(claim)
        self._discard(run, fenced)

    def _delete_replaced(self, run: IndexRun, document: Document) -> None:
        """Remove the generations that an active one replaces. The first generation replaces no other."""
        if document.generation > 1:
            for model in run.placement.all:
                model.store.delete_generations_before(document.id, document.generation)
            self._blobs.delete_chunks(document.id, before_generation=document.generation)

    def _index_elsewhere(self, run: IndexRun, claim: Claim) -> None:
        """Release a document whose collection another index worker has given other stores meanwhile."""
        for model in run.placement.all:
            model.store.delete_generation(claim.document.id, claim.document.generation)
        self._catalog.release(claim, DocumentState.PARSED)


def _generation(claim: Claim) -> tuple[str, int]:
    return claim.document.id, claim.document.generation
