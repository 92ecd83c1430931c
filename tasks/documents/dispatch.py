"""Hints that documents wait to be parsed: a limited number of messages for any number of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.catalog import Catalog, Document, DocumentState
from tasks.jobs.producer import Producer

#: Small files that one message names at most: a message costs more than reading one of them.
BUNDLE_FILES = 32
#: A larger file has a message of its own, and so has one whose parser was lost: it may be lost again.
BUNDLED_FILE_BYTES = 64 * 1024


def send_waiting(catalog: Catalog, producer: Producer) -> int:
    """Sends messages for documents that wait to be parsed, up to the limit. Answers for how many documents.

    While half of the limit is in the queue it does nothing: so it looks into the catalog once for several documents.
    """
    if not producer.is_ingest_short():
        return 0
    sent: list[str] = []
    waiting = catalog.dispatchable(BUNDLE_FILES * producer.outstanding_limit)
    # Few documents are spread over all children.
    size = max(1, min(BUNDLE_FILES, len(waiting) // producer.outstanding_limit))
    for bundle in bundles(waiting, size):
        if not producer.ingest(*bundle):
            break
        sent += bundle
    if sent:
        catalog.mark_dispatched(sent)
    return len(sent)


def bundles(documents: Sequence[Document], size: int) -> Iterator[list[str]]:
    """Ids of documents that go together into a message: at most `size` small ones, or a large or suspect one."""
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
