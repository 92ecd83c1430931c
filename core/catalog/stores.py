"""Which vector store and embedding model search uses, and the next one while it is being filled."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.models import collections, documents, stores
from core.catalog.rows import ALIVE, new_generation
from core.catalog.types import RETRYABLE, DocumentState, StoreRecord

#: Ids of the two rows there can be.
CURRENT, NEXT = 1, 2
_COLUMNS = (stores.c.store_id, stores.c.embedding_model, stores.c.dimension, stores.c.model_source)
#: Search finds it, and the next store does not have what search finds.
_MISSING_IN_NEXT = sa.and_(
    documents.c.active_generation.is_not(None),
    documents.c.next_generation.is_distinct_from(documents.c.active_generation),
    ALIVE,
)


class StoreQueries(MigratedDatabase):
    """The part of the catalog about vector stores and embedding models."""

    def record_store(self, record: StoreRecord) -> None:
        """Records the vector store and model that completed documents are in from now on. There is no next one."""
        with self._write() as connection:
            _forget_next(connection)
            _put(connection, CURRENT, record)

    def store_record(self) -> StoreRecord | None:
        """What `record_store` recorded last; None in a new catalog."""
        return self._record(CURRENT)

    def renew_payloads(self, payload_format: int) -> int:
        """If the points have payloads of an older form, all of them are written again, as if their files had moved.

        Nothing is parsed or embedded for that: see `moved_documents`. Returns how many documents it is about.
        """
        older = sa.and_(stores.c.id == CURRENT, stores.c.payload_format < payload_format)
        with self._write() as connection:
            if not connection.execute(sa.update(stores).where(older).values(payload_format=payload_format)).rowcount:
                return 0
            found = sa.update(documents).where(documents.c.active_generation.is_not(None), ALIVE)
            return connection.execute(found.values(moved=True)).rowcount

    def next_store(self) -> StoreRecord | None:
        """The store and model that are being filled to take over; None while there is none."""
        return self._record(NEXT)

    def begin_next_store(self, record: StoreRecord) -> bool:
        """From now on this store is filled to take over. False: it was begun before, and goes on."""
        with self._write() as connection:
            row = connection.execute(sa.select(*_COLUMNS).where(stores.c.id == NEXT)).one_or_none()
            if row is not None and StoreRecord(**row._mapping) == record:
                return False
            _forget_next(connection)
            _put(connection, NEXT, record)
            return True

    def forget_next_store(self) -> None:
        """Nothing is filled any more: the settings name the model that search uses."""
        with self._write() as connection:
            _forget_next(connection)

    def queue_for_next(self) -> int:
        """Queues the completed documents that the next store does not have, as new generations; returns how many.

        Search sees the old generation of each until the new one is in both stores.
        """
        now = self._now()
        change = sa.update(documents).where(documents.c.state == DocumentState.COMPLETED, _MISSING_IN_NEXT)
        with self._write() as connection:
            return connection.execute(change.values(**new_generation(now), updated_at=now)).rowcount

    def finish_next_store(self) -> int | None:
        """Lets the next store take over, in one step, if it has every document that search finds; None if it has not.

        Documents that could not be read again (failed, cancelled) do not hold it up: search finds them no more. Returns
        how many those are.
        """
        given_up = documents.c.state.in_(RETRYABLE)
        with self._write() as connection:
            row = connection.execute(sa.select(*_COLUMNS).where(stores.c.id == NEXT)).one_or_none()
            missing = sa.select(documents.c.id).where(_MISSING_IN_NEXT, sa.not_(given_up)).limit(1)
            if row is None or connection.execute(missing).one_or_none() is not None:
                return None
            lost = sa.update(documents).where(_MISSING_IN_NEXT, given_up).values(active_generation=None)
            count = connection.execute(lost).rowcount
            _forget_next(connection)
            _put(connection, CURRENT, StoreRecord(**row._mapping))
            return count

    def _record(self, store: int) -> StoreRecord | None:
        with self._read() as connection:
            row = connection.execute(sa.select(*_COLUMNS).where(stores.c.id == store)).one_or_none()
        return StoreRecord(**row._mapping) if row is not None else None


def _put(connection: sa.Connection, store: int, record: StoreRecord) -> None:
    values = asdict(record)
    if not connection.execute(sa.update(stores).where(stores.c.id == store).values(**values)).rowcount:
        connection.execute(sa.insert(stores).values(id=store, **values))
    if store == CURRENT:
        shown = {name: values[name] for name in ("store_id", "embedding_model", "dimension")}
        connection.execute(sa.update(collections).values(**shown))


def _forget_next(connection: sa.Connection) -> None:
    if connection.execute(sa.delete(stores).where(stores.c.id == NEXT)).rowcount:
        change = sa.update(documents).where(documents.c.next_generation.is_not(None))
        connection.execute(change.values(next_generation=None))
