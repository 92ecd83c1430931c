"""The parsing stage of a document: claim, read, chunk, report."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

from celery.exceptions import SoftTimeLimitExceeded

from core.blobs import BlobStore
from core.catalog import Catalog, Claim, Document, DocumentState
from core.errors import DocumentRejected, Unavailable
from core.settings import Settings
from ingest.chunker import ChunkSettings
from ingest.limits import CpuTimeExceeded
from ingest.pipeline import parse_to_chunks
from tasks.client import Producer
from tasks.dispatch import send_waiting
from tasks.leases import LEASE_SECONDS, kept_alive

log = logging.getLogger(__name__)

#: After this time a child leaves the other documents of its message to the next.
BUNDLE_SECONDS = 1.0


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

        Once it has taken as long as BUNDLE_SECONDS it leaves the rest to another message: the time limit of the task is
        meant for one file.
        """
        until = time.monotonic() + BUNDLE_SECONDS
        left = list(document_ids)
        while left and (len(left) == len(document_ids) or time.monotonic() < until):
            self._parse_one(left.pop(0))
        if left:
            self._catalog.recall_dispatched(left)
        self._hint()

    def _parse_one(self, document_id: str) -> None:
        claim = self._catalog.claim(
            document_id,
            f"{self._worker}:{os.getpid()}",
            expected=DocumentState.QUEUED,
            claimed=DocumentState.PARSING,
            lease_seconds=LEASE_SECONDS,
        )
        if claim is not None:
            with kept_alive(self._catalog, [claim]):
                self._parse_claimed(claim)

    def child_lost(self, document_ids: Sequence[str], reason: str) -> None:
        """Called in the parent when the child that parsed documents was killed: nobody has to wait for its lease.

        It had one of them in hand, which has lost an attempt; those it had not begun are sent again as they are.
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

    def _parse_claimed(self, claim: Claim) -> None:
        document = claim.document
        try:
            source = source_path(document, self._blobs)
            out = self._blobs.chunks_path(document.id, document.generation)
            chunking = chunking_of(document, self._settings)
            result = parse_to_chunks(source, document.filename, out, self._settings, chunking)
        except DocumentRejected as rejection:
            self._catalog.fail(claim, rejection.message, rejection.code or "invalid_file")
        except SoftTimeLimitExceeded:
            seconds = self._settings.parse_timeout_seconds
            message = f"Reading it took longer than {seconds:g} s (PARSE_TIMEOUT_SECONDS)."
            self._catalog.fail(claim, message, "limit_exceeded")
        except CpuTimeExceeded:
            seconds = self._settings.parse_cpu_seconds
            message = f"Reading it took more than {seconds:g} s of processor time (PARSE_CPU_SECONDS)."
            self._catalog.fail(claim, message, "limit_exceeded")
        except MemoryError:
            megabytes = self._settings.parse_memory_bytes // 2**20
            message = f"Reading it took more than {megabytes} MiB of memory (PARSE_MEMORY_BYTES)."
            self._catalog.fail(claim, message, "limit_exceeded")
        except Exception as error:  # parsers raise anything on a broken file; its owner must be told, the rest goes on
            log.exception("%s (%s) could not be read", document.id, document.filename)
            self._catalog.fail(claim, f"It could not be read: {type(error).__name__}: {error}"[:500])
        else:
            self._catalog.advance(
                claim,
                DocumentState.PARSED,
                chunk_count=result.chunk_count,
                media_type=result.media_type,
                properties=result.properties,
            )

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


def source_path(document: Document, blobs: BlobStore) -> Path:
    """Where the original lies.

    Raises:
        DocumentRejected: it is nowhere.
    """
    path = blobs.path(document.blob_key) if document.blob_key else document.source_path
    if path is None:
        raise DocumentRejected("The document has no original.")
    if not path.is_file():
        raise DocumentRejected("The original file is no longer there.")
    return path
