"""The parsing stage of a document: claim, read, chunk, report."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import SQLAlchemyError

from core.blobs import BlobStore
from core.catalog import (
    LEASE_SECONDS,
    ORIGINAL_MISSING,
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
from core.errors import DocumentRejected, Unavailable
from core.settings import Settings
from ingest.chunker import ChunkSettings
from ingest.pipeline import has_tokenizer, parse_to_chunks
from ingest.sandbox.process_limits import CpuTimeExceeded
from tasks.documents.dispatch import send_waiting
from tasks.documents.leases import kept_alive
from tasks.jobs.producer import Producer

log = logging.getLogger(__name__)

#: After this time a child leaves the documents that it has not begun to others.
BUNDLE_SECONDS = 1.0
TOO_MUCH = "limit_exceeded"
_OPEN_FILE = re.compile(r"<_io\.\w+ name=[^>]*>")


class Bundle:
    """Claims that one child works off. After BUNDLE_SECONDS it keeps only the one in hand: none waits for a slow file.

    `claims` loses those that are ended.
    """

    def __init__(self, catalog: Catalog, claims: list[Claim]) -> None:
        self._catalog = catalog
        self._claims = claims
        self._waiting = deque(claims)
        self._ends: list[ParseEnd] = []
        self._lock = threading.Lock()

    def take(self) -> Claim | None:
        """The next document to read; None if there is none left."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None

    def put(self, end: ParseEnd) -> None:
        """What became of the one that was taken."""
        with self._lock:
            self._ends.append(end)

    @contextmanager
    def settled_in_time(self) -> Iterator[None]:
        """Records what became of the documents at the end, and after BUNDLE_SECONDS what is known by then."""
        timer = threading.Timer(BUNDLE_SECONDS, self._settle_early)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        self._settle()

    def _settle_early(self) -> None:
        try:
            self._settle()
        except (SQLAlchemyError, Unavailable) as error:
            log.warning("what was read is recorded later: %s", error)

    def _settle(self) -> None:
        with self._lock:
            ends = [*self._ends, *map(Released, self._waiting)]
            self._catalog.end_parsing(ends)
            for end in ends:
                self._claims.remove(end.claim)
            self._ends.clear()
            self._waiting.clear()


class ParsingService:
    """Runs `ingest.parse`. Lives in a child that may be killed at any time: the row's lease then expires."""

    def __init__(self, settings: Settings, catalog: Catalog, blobs: BlobStore, producer: Producer, worker: str) -> None:
        self._settings = settings
        self._catalog = catalog
        self._blobs = blobs
        self._producer = producer
        self._worker = worker

    def parse(self, *document_ids: str) -> None:
        """Parses those of the documents that still wait for that, and hints at the next ones.

        They are claimed together, and what became of them is recorded together: for small files, that takes longer than
        reading them.
        """
        worker = f"{self._worker}:{os.getpid()}"
        claims = self._catalog.claim_all(
            document_ids,
            worker,
            expected=DocumentState.QUEUED,
            claimed=DocumentState.PARSING,
            lease_seconds=LEASE_SECONDS,
        )
        if claims:
            bundle = Bundle(self._catalog, claims)
            with bundle.settled_in_time(), kept_alive(self._catalog, claims):
                while (claim := bundle.take()) is not None:
                    bundle.put(self._parse_claimed(claim))
        self._hint()

    def child_lost(self, document_ids: Sequence[str], reason: str) -> None:
        """Called in the parent when the child that parsed documents was killed: nobody has to wait for its lease.

        Those it had in hand have lost an attempt, and are sent again one by one: one of them is to blame.
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
        """Takes back what an earlier process of this worker's name had in hand when it died."""
        self._catalog.reclaim(self._worker, expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)

    def _parse_claimed(self, claim: Claim) -> ParseEnd:
        document = claim.document
        try:
            source = source_path(document, self._blobs)
            out = self._blobs.chunks_path(document.id, document.generation)
            chunking = chunking_of(document, self._settings)
            is_text = document.source is Source.TEXT
            settings = self._settings_of(document)
            result = parse_to_chunks(source, document.filename, out, settings, chunking, is_text=is_text)
        except DocumentRejected as rejection:
            reason = _without_path(rejection.message, document, self._blobs)
            return Refused(claim, reason, rejection.code or "invalid_file")
        except SoftTimeLimitExceeded:
            seconds = self._settings.parse_timeout_seconds
            return Refused(claim, f"Reading it took longer than {seconds:g} s (PARSE_TIMEOUT_SECONDS).", TOO_MUCH)
        except CpuTimeExceeded:
            seconds = self._settings.parse_cpu_seconds
            reason = f"Reading it took more than {seconds:g} s of processor time (PARSE_CPU_SECONDS)."
            return Refused(claim, reason, TOO_MUCH)
        except MemoryError:
            megabytes = self._settings.parse_memory_bytes // 2**20
            reason = f"Reading it took more than {megabytes} MiB of memory (PARSE_MEMORY_BYTES)."
            return Refused(claim, reason, TOO_MUCH)
        except Exception as error:  # parsers raise anything on a broken file; its owner must be told, the rest goes on
            log.exception("%s (%s) could not be read", document.id, document.filename)
            reason = _without_path(f"It could not be read: {type(error).__name__}: {error}", document, self._blobs)
            return Refused(claim, reason[:500])
        return Parsed(claim, result.chunk_count, result.media_type, result.properties)

    def _settings_of(self, document: Document) -> Settings:
        """The settings with the embedding model that was chosen for the document's collection: its tokens are counted.

        A model that is not to be had counts as none, as the index worker sees it.
        """
        if document.model_choice is None:
            return self._settings
        chosen = {"embedding_model_name": document.model_choice, "embedding_dimension": None}
        settings = self._settings.model_copy(update=chosen)
        return settings if has_tokenizer(settings) else self._settings

    def _hint(self) -> None:
        """Wakes the indexer, and sends the next parse messages: a limited number of them is under way at a time."""
        try:
            self._producer.wake_indexer()
            send_waiting(self._catalog, self._producer)
        except Unavailable as error:
            log.warning("hints are left to reconciliation: %s", error.message)


def chunking_of(document: Document, settings: Settings) -> ChunkSettings:
    """How a document is cut: as its collection says, else as the settings do."""
    tokens, overlap = document.chunk_tokens, document.chunk_overlap_tokens
    return ChunkSettings(
        settings.chunk_tokens if tokens is None else tokens,
        settings.chunk_overlap_tokens if overlap is None else overlap,
    )


def _without_path(reason: str, document: Document, blobs: BlobStore) -> str:
    """The reason with the name that its owner knows in place of where the file lies: parsers name what they opened."""
    path = blobs.path(document.blob_key) if document.blob_key else document.source_path
    named = _OPEN_FILE.sub(lambda _: document.filename, reason)
    return named.replace(str(path), document.filename) if path else named


def source_path(document: Document, blobs: BlobStore) -> Path:
    """Where the original lies.

    Raises:
        DocumentRejected: it is nowhere.
    """
    path = blobs.path(document.blob_key) if document.blob_key else document.source_path
    if path is None:
        raise DocumentRejected("The document has no original.")
    if not path.is_file():
        raise DocumentRejected("The original file is no longer there.", code=ORIGINAL_MISSING)
    return path
