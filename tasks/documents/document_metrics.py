"""What the metrics say of a document, when search finds it: then all of its times are known."""

from __future__ import annotations

import time

from core import metrics
from core.catalog import Document, Indexed, Source

#: A file that was changed longer ago than this when it was queued was there before its folder was watched, or was
#: changed while nobody watched. How long it took to find says nothing of the watcher.
MAX_NOTICED_SECONDS = 600.0


def observe_indexed(indexed: Indexed) -> None:
    """Count a document that search finds from now on, with its chunks and the time that each stage took."""
    document, now = indexed.claim.document, time.time()
    metrics.DOCUMENTS_INDEXED.labels(document.collection).inc()
    metrics.CHUNKS_INDEXED.inc(indexed.chunk_count)
    metrics.CHUNKS_EMBEDDED.inc(indexed.chunks_embedded)
    times = (document.queued_at, document.parsing_at, document.parsed_at, document.indexing_at, now)
    for stage, began, ended in zip(("queue", "parse", "wait", "index"), times, times[1:], strict=False):
        if began is not None and ended is not None:
            metrics.DOCUMENT_STAGE.labels(stage).observe(max(0.0, ended - began))
    if document.queued_at is not None:
        metrics.DOCUMENT_SECONDS.labels(document.source.value).observe(max(0.0, now - document.queued_at))
    if (changed_at := _noticed_change(document)) is not None:
        metrics.WATCHER_LAG.labels(document.collection).observe(max(0.0, now - changed_at))


def _noticed_change(document: Document) -> float | None:
    """Return when the file of a watched folder was changed, if its watcher noticed the change as it happened."""
    if document.source is not Source.WATCH or document.ctime_ns is None or document.queued_at is None:
        return None
    changed_at = document.ctime_ns / 1e9
    return changed_at if document.queued_at - changed_at < MAX_NOTICED_SECONDS else None
