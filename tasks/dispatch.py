"""Hints that documents wait to be parsed: a limited number of messages for any number of rows."""

from __future__ import annotations

from core.catalog import Catalog
from tasks.client import Producer


def send_waiting(catalog: Catalog, producer: Producer) -> int:
    """Sends messages for documents that wait to be parsed, up to the limit. Answers how many.

    While half of the limit is in the queue it does nothing: so it looks into the catalog once for several documents.
    """
    if not producer.is_ingest_short():
        return 0
    sent = []
    for document in catalog.dispatchable(producer.outstanding_limit):
        if not producer.ingest(document.id):
            break
        sent.append(document.id)
    if sent:
        catalog.mark_dispatched(sent)
    return len(sent)
