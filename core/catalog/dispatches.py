"""Messages about documents that wait to be parsed: which were sent, and which have to be sent again."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from core.catalog.claims import abandoned, first_in_turn
from core.catalog.migration import MigratedDatabase
from core.catalog.rows import as_document, batches, checked
from core.catalog.tables import documents
from core.catalog.types import Document, DocumentState


class DispatchQueries(MigratedDatabase):
    """The part of the catalog about messages for parsers."""

    def mark_dispatched(self, document_ids: Iterable[str]) -> None:
        """Record that a message for each of these documents has been sent now."""
        for batch in batches(document_ids):
            with self._write() as connection:
                statement = sa.update(documents).where(documents.c.id.in_(batch))
                connection.execute(statement.values(dispatched_at=self._now()))

    def recall_dispatched(self, document_ids: Iterable[str]) -> None:
        """Record that the message for those of these documents that are still queued had no effect."""
        for batch in batches(document_ids):
            with self._write() as connection:
                is_queued = checked(documents.c.state == DocumentState.QUEUED)
                recall = sa.update(documents).where(documents.c.id.in_(batch), is_queued)
                connection.execute(recall.values(dispatched_at=None))

    def dispatchable(self, limit: int, *, older_than_seconds: float = 30) -> list[Document]:
        """Return documents that need a new message: first those of dead parsers, then the oldest queued ones.

        No message for them was sent within the last `older_than_seconds`.
        """
        now = self._now()
        oldest = now - older_than_seconds
        unsent = sa.or_(documents.c.dispatched_at.is_(None), documents.c.dispatched_at < oldest)
        waiting = sa.and_(documents.c.state == DocumentState.QUEUED, unsent)
        unsent_since = sa.or_(unsent, documents.c.dispatched_at < documents.c.lease_until)
        with self._read() as connection:
            rows = first_in_turn(connection, sa.and_(abandoned(DocumentState.PARSING, now), unsent_since), limit)
            if len(rows) < limit:
                rows += first_in_turn(connection, waiting, limit - len(rows))
        return [as_document(row) for row in rows]
