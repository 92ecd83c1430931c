"""Changes of any number of documents, some at a time, so that no other writer waits for all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.rows import batches, checked
from core.catalog.tables import documents
from core.catalog.transitions import change


class BatchedDatabase(MigratedDatabase):
    """A database with changes of many documents."""

    def _change_all(self, condition: sa.ColumnElement[bool], values: Mapping[str, Any]) -> int:
        """Set these columns of all documents that fulfil the condition now, and return how many were changed.

        A process that is killed meanwhile leaves some of them unchanged, so it must be harmless to call this again.
        """
        with self._read() as connection:
            ids = list(connection.execute(sa.select(documents.c.id).where(condition)).scalars())
        statement, count = change(values).where(checked(condition)), 0
        for batch in batches(ids):
            began = time.monotonic()
            with self._write() as connection:
                count += connection.execute(statement.where(documents.c.id.in_(batch))).rowcount
            if len(batch) < len(ids):
                self._rest(time.monotonic() - began)
        return count

    def _rest(self, seconds: float) -> None:
        """Leave the write lock of SQLite to others for as long as it was held: they only try for it now and then."""
        if self.is_sqlite:
            time.sleep(seconds)
