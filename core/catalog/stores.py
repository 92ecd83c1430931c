"""Which vector store and embedding model each collection is in, and the next one while that is being filled."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.rows import ALIVE, SELECT_COLLECTION, as_collection, new_generation
from core.catalog.tables import collections, documents, stores
from core.catalog.types import RETRYABLE, Collection, DocumentState, StoreRecord

#: Search finds it, and the next store does not have what search finds.
_MISSING_IN_NEXT = sa.and_(
    documents.c.active_generation.is_not(None),
    documents.c.next_generation.is_distinct_from(documents.c.active_generation),
    ALIVE,
)


class StoreQueries(MigratedDatabase):
    """The part of the catalog about vector stores and embedding models.

    A collection that is to be in another model than it is in moves: `begin_move`, `queue_for_next` until the next store
    has all of its documents, and `finish_move`. All of that is in rows, so that a restart goes on where it was.
    """

    def placed_collections(self) -> list[Collection]:
        """All collections, and those deleted ones that documents are still being removed from."""
        with self._read() as connection:
            return [as_collection(row) for row in connection.execute(SELECT_COLLECTION)]

    def place_collection(self, collection_id: str, record: StoreRecord) -> None:
        """Records the store and model that the documents of a collection are in from now on. It moves nowhere."""
        with self._write() as connection:
            _forget_move(connection, collection_id)
            _change(connection, collection_id, store=_store_key(connection, record))

    def replace_collection(self, collection_id: str, record: StoreRecord) -> int:
        """As `place_collection`, where the former points are gone: each document is hidden and queued again.

        Returns how many documents were queued. Failed and cancelled documents stay so.
        """
        now = self._now()
        mine = sa.and_(documents.c.collection_id == collection_id, ALIVE)
        with self._write() as connection:
            _forget_move(connection, collection_id)
            _change(connection, collection_id, store=_store_key(connection, record))
            connection.execute(sa.update(documents).where(mine).values(active_generation=None, moved=False))
            again = sa.update(documents).where(mine, documents.c.state.not_in(RETRYABLE))
            return connection.execute(again.values(**new_generation(now), updated_at=now)).rowcount

    def begin_move(self, collection_id: str, record: StoreRecord) -> None:
        """From now on this store is filled, to take over from the one that the collection is in.

        Nothing changes if another index worker has begun with it already.
        """
        with self._write() as connection:
            key = _store_key(connection, record)
            if _next_key(connection, collection_id) != key:
                _forget_move(connection, collection_id)
                _change(connection, collection_id, next_store=key)

    def queue_for_next(self) -> int:
        """Queues the completed documents that their next store does not have, as new generations; returns how many.

        Search sees the old generation of each until the new one is in both stores.
        """
        now = self._now()
        moving = sa.select(collections.c.id).where(collections.c.next_store.is_not(None))
        change = sa.update(documents).where(
            documents.c.state == DocumentState.COMPLETED, documents.c.collection_id.in_(moving), _MISSING_IN_NEXT
        )
        with self._write() as connection:
            return connection.execute(change.values(**new_generation(now), updated_at=now)).rowcount

    def finish_move(self, collection_id: str) -> int | None:
        """Lets the next store take over, in one step, if it has every document that search finds; None if it has not.

        Documents that could not be read again (failed, cancelled) do not hold it up: search finds them no more. Returns
        how many those are.
        """
        given_up = documents.c.state.in_(RETRYABLE)
        missing = sa.and_(documents.c.collection_id == collection_id, _MISSING_IN_NEXT)
        with self._write() as connection:
            key = _next_key(connection, collection_id)
            waiting = sa.select(documents.c.id).where(missing, sa.not_(given_up)).limit(1)
            if key is None or connection.execute(waiting).one_or_none() is not None:
                return None
            lost = sa.update(documents).where(missing, given_up).values(active_generation=None)
            count = connection.execute(lost).rowcount
            _forget_move(connection, collection_id)
            _change(connection, collection_id, store=key)
            return count


def _store_key(connection: sa.Connection, record: StoreRecord) -> int:
    """The id of a store's row, which is made if there is none; where it is loaded from may have changed."""
    place = sa.and_(
        stores.c.store_id == record.store_id,
        stores.c.embedding_model == record.embedding_model,
        stores.c.dimension == record.dimension,
    )
    key = connection.execute(sa.select(stores.c.id).where(place)).scalar_one_or_none()
    if key is None:
        key = connection.execute(sa.select(sa.func.coalesce(sa.func.max(stores.c.id), 0))).scalar_one() + 1
        connection.execute(sa.insert(stores).values(id=key, **asdict(record)))
    else:
        connection.execute(sa.update(stores).where(stores.c.id == key).values(model_source=record.model_source))
    return int(key)


def _next_key(connection: sa.Connection, collection_id: str) -> int | None:
    query = sa.select(collections.c.next_store).where(collections.c.id == collection_id)
    return connection.execute(query).scalar_one_or_none()


def _change(connection: sa.Connection, collection_id: str, **values: int | None) -> None:
    connection.execute(sa.update(collections).where(collections.c.id == collection_id).values(**values))


def _forget_move(connection: sa.Connection, collection_id: str) -> None:
    moving = sa.update(collections).where(collections.c.id == collection_id, collections.c.next_store.is_not(None))
    if connection.execute(moving.values(next_store=None)).rowcount:
        mine = sa.and_(documents.c.collection_id == collection_id, documents.c.next_generation.is_not(None))
        connection.execute(sa.update(documents).where(mine).values(next_generation=None))
