"""The vector store and embedding model of each collection, and the next one while it is being filled."""

from __future__ import annotations

from dataclasses import asdict

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.rows import ALIVE, SELECT_COLLECTION, as_collection, new_generation
from core.catalog.tables import collections, documents, stores
from core.catalog.transitions import change
from core.catalog.types import RETRYABLE, Collection, DocumentState, StoreRecord

#: Documents that search finds, but whose active generation is not in the next store.
_MISSING_IN_NEXT = sa.and_(
    documents.c.active_generation.is_not(None),
    documents.c.next_generation.is_distinct_from(documents.c.active_generation),
    ALIVE,
)


class StoreQueries(MigratedDatabase):
    """The part of the catalog about vector stores and embedding models.

    A collection moves to another model in three steps: `begin_move`, `queue_for_next` until the next store has all of
    its documents, and `finish_move`. The progress is stored in rows, so a restarted worker continues the move.
    """

    def placed_collections(self) -> list[Collection]:
        """Return all collections, and the deleted ones whose documents are still being removed."""
        with self._read() as connection:
            return [as_collection(row) for row in connection.execute(SELECT_COLLECTION)]

    def place_collection(self, collection_id: str, record: StoreRecord) -> None:
        """Record the store and model that the documents of a collection are in. End a move that has begun."""
        with self._write() as connection:
            _forget_move(connection, collection_id)
            _change(connection, collection_id, store=_store_key(connection, record))

    def replace_collection(self, collection_id: str, record: StoreRecord) -> int:
        """Record a new store for a collection whose old points are gone. Hide each document and queue it again.

        Return the number of queued documents. Failed and cancelled documents stay so.
        """
        now = self._now()
        mine = sa.and_(documents.c.collection_id == collection_id, ALIVE)
        with self._write() as connection:
            _forget_move(connection, collection_id)
            _change(connection, collection_id, store=_store_key(connection, record))
            connection.execute(sa.update(documents).where(mine).values(active_generation=None, moved=False))
            again = change(new_generation(now) | {"updated_at": now})
            return connection.execute(again.where(mine, documents.c.state.not_in(RETRYABLE))).rowcount

    def begin_move(self, collection_id: str, record: StoreRecord) -> None:
        """Make this the next store of a collection: it is filled, then it takes over from the present one.

        Change nothing if another index worker has already begun this move.
        """
        with self._write() as connection:
            key = _store_key(connection, record)
            if _next_key(connection, collection_id) != key:
                _forget_move(connection, collection_id)
                _change(connection, collection_id, next_store=key)

    def queue_for_next(self) -> int:
        """Queue the completed documents that the next store lacks, as new generations, and return their number.

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
        """Let the next store take over, in one step, if it has every document that search finds. Else return None.

        Documents that failed or were cancelled when they were read again do not hold up the move: search no longer
        finds them. Return their number.
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
    """Return the id of a store's row. Create the row if there is none, else update where its model is loaded from."""
    same = sa.and_(
        stores.c.store_id == record.store_id,
        stores.c.embedding_model == record.embedding_model,
        stores.c.dimension == record.dimension,
    )
    key = connection.execute(sa.select(stores.c.id).where(same)).scalar_one_or_none()
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
