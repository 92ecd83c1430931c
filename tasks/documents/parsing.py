"""The parsing stage of a document: claim it, parse and chunk it, and record the result."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import SQLAlchemyError

from core.blobs import BlobStore
from core.bulk_work import BulkWork
from core.catalog import (
    LEASE_SECONDS,
    Catalog,
    Claim,
    Document,
    DocumentState,
    Parsed,
    ParseEnd,
    Refused,
    Released,
    Source,
)
from core.disk import DiskSpace, is_disk_full
from core.errors import DocumentRejected, Unavailable
from core.settings import Settings
from ingest.chunker import ChunkSettings
from ingest.pipeline import has_tokenizer, parse_to_chunks
from ingest.sandbox.process_limits import CpuTimeExceeded
from tasks.documents.abandonment import Abandoned, Abandonment
from tasks.documents.dispatch import send_waiting
from tasks.documents.leases import kept_alive
from tasks.documents.leftovers import discard_chunks
from tasks.documents.originals import original_of
from tasks.jobs.catalog_outages import until_answered
from tasks.jobs.producer import Producer

log = logging.getLogger(__name__)

#: After this time a child releases the documents of its message that it has not begun.
BUNDLE_SECONDS = 1.0
LIMIT_EXCEEDED = "limit_exceeded"
_OPEN_FILE = re.compile(r"<_io\.\w+ name=[^<>]*>")


class Bundle:
    """The claims of one message, which one child parses in turn.

    After BUNDLE_SECONDS it keeps only the claim that it is parsing, so that no document waits for a slow file. Claims
    that have ended are removed from `claims`.
    """

    def __init__(
        self, catalog: Catalog, blobs: BlobStore, claims: list[Claim], count: Callable[..., None] = lambda **_: None
    ) -> None:
        """
        Args:
            count: Adds to the counts of this minute: `documents_failed`.
        """
        self._catalog = catalog
        self._count = count
        self._blobs = blobs
        self._claims = claims
        self._waiting = deque(claims)
        self._ends: list[ParseEnd] = []
        self._lock = threading.Lock()

    def take(self) -> Claim | None:
        """Return the next claim to parse, or None if there is none left."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def put(self, end: ParseEnd) -> None:
        """Add the result of the claim that was taken last."""
        with self._lock:
            self._ends.append(end)

    @contextmanager
    def recording_ends(self) -> Iterator[None]:
        """Record the results in the catalog, on exit and also after BUNDLE_SECONDS."""
        timer = threading.Timer(BUNDLE_SECONDS, self._record_early)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        until_answered(self._record)  # what was parsed would be parsed again, and the documents lose an attempt

    def _record_early(self) -> None:
        try:
            self._record()
        except (SQLAlchemyError, Unavailable) as error:
            log.warning("parsing results could not be recorded yet: %s", error)

    def _record(self) -> None:
        with self._lock:
            ends = [*self._ends, *map(Released, self._waiting)]
            lost = self._catalog.end_parsing(ends)
            self._count(documents_failed=sum(isinstance(end, Refused) and end.claim not in lost for end in ends))
            for end in ends:
                self._claims.remove(end.claim)
            self._ends.clear()
            self._waiting.clear()
        if lost:
            discard_chunks(lost, self._catalog, self._blobs)


class ParsingService:
    """Runs `ingest.parse`, in a child that may be killed at any time. The leases of its documents then expire."""

    def __init__(self, settings: Settings, catalog: Catalog, blobs: BlobStore, producer: Producer, worker: str) -> None:
        self._settings = settings
        self._catalog = catalog
        self._blobs = blobs
        self._producer = producer
        self._worker = worker
        self._disk = DiskSpace(settings)
        self._abandonment = Abandonment()

    def parse(self, *document_ids: str) -> None:
        """Parse those of the documents that still wait for it, and send messages for the next ones.

        They are claimed together and their results are recorded together, as these two steps take longer than parsing a
        small file.
        """
        if self._disk.is_short():
            return  # They stay queued, and reconciliation sends them again.
        worker = f"{self._worker}:{os.getpid()}"
        claims = self._catalog.claim_all(
            document_ids,
            worker,
            expected=DocumentState.QUEUED,
            claimed=DocumentState.PARSING,
            lease_seconds=LEASE_SECONDS,
        )
        if claims:
            bundle = Bundle(self._catalog, self._blobs, claims, self._producer.changes.count)
            kept = kept_alive(self._catalog, claims, self._abandonment.report_lost)
            with BulkWork(self._settings).announced(), bundle.recording_ends(), kept:
                while (claim := bundle.take()) is not None:
                    end = self._parse_claimed(claim)
                    bundle.put(end)
                    if isinstance(end, Released):
                        return  # The disk is full: reconciliation sends them again, later.
        self._hint()

    def child_lost(self, document_ids: Sequence[str], reason: str) -> None:
        """Release the documents of a child that was killed, before its leases expire. The parent calls this.

        The documents that it had claimed have lost an attempt. Each is sent again in a message of its own, since one of
        them probably killed the child.
        """
        for document_id in document_ids:
            reclaimed = self._catalog.reclaim(
                self._worker,
                expected=DocumentState.QUEUED,
                claimed=DocumentState.PARSING,
                document_id=document_id,
            )
            if reclaimed:
                log.warning("the process that read %s was lost: %s", document_id, reason)
        self._catalog.recall_dispatched(document_ids)
        self._hint()

    def reclaim(self) -> None:
        """Release the documents that an earlier process with this worker's name had claimed when it died."""
        self._catalog.reclaim(self._worker, expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)

    def _parse_claimed(self, claim: Claim) -> ParseEnd:
        document = claim.document
        source: Path | None = None
        try:
            out = self._blobs.chunks_path(document.id, document.generation)
            chunking = chunking_of(document, self._settings)
            is_text = document.source is Source.TEXT
            settings = self._settings_of(document)
            with (
                self._abandonment.possible(claim),
                original_of(document, self._blobs, settings.max_upload_bytes) as source,
            ):
                result = parse_to_chunks(source, document.filename, out, settings, chunking, is_text=is_text)
        except DocumentRejected as rejection:
            reason = _without_path(rejection.message, document, source)
            return Refused(claim, reason, rejection.code or "invalid_file")
        except Abandoned:
            log.info("%s is no longer wanted, and is not read further", document.id)
            return Refused(claim, "It is no longer wanted.")  # the claim is lost, so this is not recorded
        except SoftTimeLimitExceeded:
            seconds = self._settings.parse_timeout_seconds
            return Refused(claim, f"Reading it took longer than {seconds:g} s (PARSE_TIMEOUT_SECONDS).", LIMIT_EXCEEDED)
        except CpuTimeExceeded:
            seconds = self._settings.parse_cpu_seconds
            reason = f"Reading it took more than {seconds:g} s of processor time (PARSE_CPU_SECONDS)."
            return Refused(claim, reason, LIMIT_EXCEEDED)
        except MemoryError:
            megabytes = self._settings.parse_memory_bytes // 2**20
            reason = f"Reading it took more than {megabytes} MiB of memory (PARSE_MEMORY_BYTES)."
            return Refused(claim, reason, LIMIT_EXCEEDED)
        except Exception as error:  # parsers raise any error on a broken file; it must fail that document only
            if is_disk_full(error):
                log.warning("%s waits until the disk has room: %s", document.id, error)
                return Released(claim)
            log.exception("%s (%s) could not be read", document.id, document.filename)
            reason = _without_path(f"It could not be read: {type(error).__name__}: {error}", document, source)
            return Refused(claim, reason[:500])
        return Parsed(claim, result.chunk_count, result.media_type, result.properties)

    def _settings_of(self, document: Document) -> Settings:
        """Return the settings with the embedding model that the document's collection chose, whose tokens are counted.

        If that model is not available, return the settings unchanged, as the index worker uses the default model then.
        """
        if document.model_choice is None:
            return self._settings
        chosen = {"embedding_model_name": document.model_choice, "embedding_dimension": None}
        settings = self._settings.model_copy(update=chosen)
        return settings if has_tokenizer(settings) else self._settings

    def _hint(self) -> None:
        """Wake the indexer, and send messages for the next documents, of which the queue holds a limited number."""
        try:
            self._producer.wake_indexer()
            send_waiting(self._catalog, self._producer)
        except Unavailable as error:
            log.warning("messages are left for reconciliation to send: %s", error.message)


def chunking_of(document: Document, settings: Settings) -> ChunkSettings:
    """Return the chunk settings of a document: those of its collection, or else the general ones."""
    tokens, overlap = document.chunk_tokens, document.chunk_overlap_tokens
    return ChunkSettings(
        settings.chunk_tokens if tokens is None else tokens,
        settings.chunk_overlap_tokens if overlap is None else overlap,
    )


def _without_path(reason: str, document: Document, source: Path | None) -> str:
    """Return the reason with the document's name in place of the path that the parser opened."""
    named = _OPEN_FILE.sub(lambda _: document.filename, reason)
    return named.replace(str(source), document.filename) if source else named
