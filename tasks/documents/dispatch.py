"""Sends messages for documents that wait to be parsed: a limited number of messages for any number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.catalog import Catalog, Document, DocumentState
from tasks.jobs.producer import Producer

#: The small files that one message may name. A message costs more than parsing one of them.
BUNDLE_FILES = 32
#: A larger file gets a message of its own. So does one whose child was lost, as it may kill the next child too.
BUNDLED_FILE_BYTES = 64 * 1024


def send_waiting(catalog: Catalog, producer: Producer) -> int:
    """Send messages for documents that wait to be parsed, up to the limit. Return the number of documents sent.

    Do nothing while the queue is half full, so that one query of the catalog serves several documents.
    """
    if not producer.is_ingest_queue_low():
        return 0
    sent: list[str] = []
    waiting = catalog.dispatchable(BUNDLE_FILES * producer.max_parse_messages)
    # A few documents are spread over all children.
    size = max(1, min(BUNDLE_FILES, len(waiting) // producer.max_parse_messages))
    for bundle in bundles(waiting, size):
        if not producer.ingest(*bundle):
            break
        sent += bundle
    if sent:
        catalog.mark_dispatched(sent)
    return len(sent)


def bundles(documents: Sequence[Document], size: int) -> Iterator[list[str]]:
    """Yield the ids of documents that share a message: at most `size` small files, or a single large or suspect one."""
    small: list[str] = []
    for document in documents:
        if document.size_bytes > BUNDLED_FILE_BYTES or document.attempts or document.state is DocumentState.PARSING:
            yield [document.id]
            continue
        small.append(document.id)
        if len(small) == size:
            yield small
            small = []
    if small:
        yield small
