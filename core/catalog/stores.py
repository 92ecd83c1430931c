"""The vector store and embedding model of each collection, and the next one while it is being filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from core.catalog.batched import BatchedDatabase
from core.catalog.chunk_format import CHUNK_FORMAT
from core.catalog.collections import lock_collection
from core.catalog.rows import ALIVE, SELECT_COLLECTION, as_collection, checked, new_generation
from core.catalog.tables import collections, documents, stores
from core.catalog.transitions import change
from core.catalog.types import RETRYABLE, UNSETTLED, Collection, DocumentState, StoreRecord
from core.cosine_scale import CosineScale

#: Search finds the document. Written out as in the index `documents_by_placement`.
_SEARCHABLE = sa.text("documents.active_generation IS NOT NULL")
#: The document's chunks are of an older format. Written out as in the index `documents_outdated`.
_OUTDATED = sa.text(f"documents.chunk_format < {CHUNK_FORMAT}")
#: States in which an outdated document is indexed again, or will be.
_REMADE = (*UNSETTLED, DocumentState.COMPLETED)


class StoreQueries(BatchedDatabase):
    """The part of the catalog about vector stores and embedding models.

    A collection moves to another model in three steps: `begin_move`, `queue_for_next` until the next store has all of
    its documents, and `finish_move`. The progress is stored in rows, so a restarted worker continues the move.

    Each change of a collection's stores gives it a new `placement` number, and each document keeps the one at which its
    active generation was written. So no move has to touch the documents that it does not index.
    """

    def placed_collections(self) -> list[Collection]:
        """Return all collections, and the deleted ones whose documents are still being removed."""
        with self._read() as connection:
            return [as_collection(row) for row in connection.execute(SELECT_COLLECTION)]

    def place_collection(self, collection_id: str, record: StoreRecord) -> None:
        """Record the store and model that the documents of a collection are in. End a move that has begun."""
        self._write_retried(
            lambda connection: _place(connection, collection_id, store=_store_key(connection, record), next_store=None)
        )

    def replace_collection(self, collection_id: str, record: StoreRecord) -> int:
        """Record a new store for a collection whose old points are gone. Hide each document and queue it again.

        Return the number of queued documents. Failed and cancelled documents stay so.
        """
        hidden = {"active_generation": None, "moved": False}
        now = self._now()
        mine = sa.and_(documents.c.collection_id == collection_id, ALIVE)
        # The store is recorded last, so that a worker that is killed meanwhile begins again.
        again = new_generation(now, bulk=True) | hidden | {"updated_at": now}
        count = self._change_all(sa.and_(mine, documents.c.state.not_in(RETRYABLE)), again)
        self._change_all(sa.and_(mine, documents.c.active_generation.is_not(None)), hidden)
        self.place_collection(collection_id, record)
        return count

    def begin_move(self, collection_id: str, record: StoreRecord) -> None:
        """Make this the next store of a collection: it is filled, then it takes over from the present one.

        Change nothing if another index worker has already begun this move.
        """
        self._write_retried(
            lambda connection: _place(connection, collection_id, next_store=_store_key(connection, record))
        )

    def queue_for_next(self, limit: int) -> int:
        """Queue up to `limit` completed documents that their next store lacks, as new generations.

        Return their number. Search sees the old generation of each until the new one is in both stores.
        """
        # They are found before the write lock is taken.
        moving = (
            sa.select(documents.c.id).join_from(collections, documents).where(collections.c.next_store.is_not(None))
        )
        with self._read() as connection:
            query = moving.where(_LACKING, documents.c.state == DocumentState.COMPLETED).limit(limit)
            ids = list(connection.execute(query).scalars())
        if not ids:
            return 0
        return self._queue_completed(ids)

    def outdated_count(self) -> int:
        """Return how many documents have chunks of an older release's format, or are about to have such chunks."""
        query = sa.select(sa.func.count()).select_from(documents).where(_OUTDATED, documents.c.state.in_(_REMADE))
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())

    def queue_outdated(self, limit: int) -> int:
        """Queue up to `limit` completed documents whose chunks are of an older release's format, as new generations.

        Return their number. Search sees the old generation of each until the new one is complete.
        """
        query = sa.select(documents.c.id).where(_OUTDATED, documents.c.state == DocumentState.COMPLETED).limit(limit)
        with self._read() as connection:
            ids = list(connection.execute(query).scalars())
        return self._queue_completed(ids) if ids else 0

    def _queue_completed(self, ids: Sequence[str]) -> int:
        """Queue those of the documents that are still completed as new generations, behind documents that come in."""
        now = self._now()
        queue = change(new_generation(now, bulk=True) | {"updated_at": now}).where(
            documents.c.id.in_(ids), checked(sa.and_(documents.c.state == DocumentState.COMPLETED, _SEARCHABLE))
        )
        with self._write() as connection:
            return connection.execute(queue).rowcount

    def finish_move(self, collection_id: str) -> int | None:
        """Let the next store take over, in one step, if it has every document that search finds. Else return None.

        Documents that failed or were cancelled when they were read again do not hold up the move: search no longer
        finds them. Return their number.
        """
        with self._read() as connection:
            if _is_lacking_any(connection, collection_id):
                return None
        with self._write() as connection:
            lock_collection(connection, collection_id)
            moving = sa.select(collections.c.next_store, collections.c.placement)
            row = connection.execute(moving.where(collections.c.id == collection_id)).one_or_none()
            if row is None or row.next_store is None or _is_lacking_any(connection, collection_id):
                return None
            lost = sa.update(documents).where(
                documents.c.collection_id == collection_id,
                _SEARCHABLE,
                documents.c.placement < row.placement,
                documents.c.state.in_(RETRYABLE),
            )
            count = connection.execute(lost.values(active_generation=None)).rowcount
            _place(connection, collection_id, store=row.next_store, next_store=None)
            return count

    def cosine_scale(self, record: StoreRecord) -> CosineScale | None:
        """Return the scale that was last measured in this store, or None."""
        query = sa.select(stores.c.cosine_floor, stores.c.score_threshold, stores.c.measured_points)
        with self._read() as connection:
            row = connection.execute(query.where(_same(record), stores.c.cosine_floor.is_not(None))).one_or_none()
        return None if row is None else CosineScale(*row)

    def record_cosine_scale(self, record: StoreRecord, scale: CosineScale) -> None:
        """Keep the scale of the cosines in this store, for all workers."""
        values = {
            "cosine_floor": scale.floor,
            "score_threshold": scale.threshold,
            "measured_points": scale.points,
        }
        self._write_retried(
            lambda connection: connection.execute(
                sa.update(stores).where(stores.c.id == _store_key(connection, record)).values(**values)
            )
        )


#: The next store of the collection, if there is one, lacks the document, which search finds.
_LACKING = sa.and_(_SEARCHABLE, documents.c.placement < collections.c.placement)


def _is_lacking_any(connection: sa.Connection, collection_id: str) -> bool:
    """Return whether the next store lacks a document that can still be indexed for it."""
    query = sa.select(documents.c.id).join_from(collections, documents).where(collections.c.id == collection_id)
    waiting = query.where(_LACKING, documents.c.state.not_in(RETRYABLE)).limit(1)
    return connection.execute(waiting).one_or_none() is not None


def _store_key(connection: sa.Connection, record: StoreRecord) -> int:
    """Return the id of a store's row. Create the row if there is none, else update where its model is loaded from."""
    key = connection.execute(sa.select(stores.c.id).where(_same(record))).scalar_one_or_none()
    if key is None:
        key = connection.execute(sa.select(sa.func.coalesce(sa.func.max(stores.c.id), 0))).scalar_one() + 1
        connection.execute(sa.insert(stores).values(id=key, **asdict(record)))
    else:
        connection.execute(sa.update(stores).where(stores.c.id == key).values(model_source=record.model_source))
    return int(key)


def _same(record: StoreRecord) -> sa.ColumnElement[bool]:
    return sa.and_(
        stores.c.store_id == record.store_id,
        stores.c.embedding_model == record.embedding_model,
        stores.c.dimension == record.dimension,
    )


def _place(connection: sa.Connection, collection_id: str, **values: int | None) -> None:
    """Change the stores of a collection, and its placement number with them. Do nothing if they stay the same."""
    lock_collection(connection, collection_id)
    differs = sa.or_(*(collections.c[name].is_distinct_from(value) for name, value in values.items()))
    statement = sa.update(collections).where(collections.c.id == collection_id, differs)
    connection.execute(statement.values(**values, placement=collections.c.placement + 1))
