"""Collections, and the record of the vector store that they are in."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from core.catalog.migration import MigratedDatabase
from core.catalog.models import collections, documents, stores
from core.catalog.rows import ALIVE, as_collection
from core.catalog.types import Collection, DocumentState, StoreRecord
from core.ids import new_id

_SELECT_STORE = sa.select(stores.c.store_id, stores.c.embedding_model, stores.c.dimension)


class CollectionQueries(MigratedDatabase):
    """The part of the catalog about collections."""

    def ensure_collection(self, name: str) -> Collection:
        """The collection of this name, made if there is none."""
        with self._read() as connection:
            found = _find(connection, name)
        if found is not None:
            return found
        try:
            with self._write() as connection:
                return _find(connection, name) or _insert(connection, name, self._now())
        except IntegrityError:
            # PostgreSQL only: another process made it between the question and the insert.
            return self.ensure_collection(name)

    def list_collections(self) -> list[Collection]:
        """All collections, by name."""
        query = sa.select(collections).order_by(collections.c.name)
        with self._read() as connection:
            return [as_collection(row) for row in connection.execute(query)]

    def record_store(self, store_id: str, embedding_model: str, dimension: int) -> None:
        """Records the vector store and model that completed documents are in from now on."""
        values = {"store_id": store_id, "embedding_model": embedding_model, "dimension": dimension}
        with self._write() as connection:
            if not connection.execute(sa.update(stores).values(**values)).rowcount:
                connection.execute(sa.insert(stores).values(id=1, **values))
            connection.execute(sa.update(collections).values(**values))

    def store_record(self) -> StoreRecord | None:
        """What `record_store` recorded last; None in a new catalog."""
        with self._read() as connection:
            row = connection.execute(_SELECT_STORE).one_or_none()
        return StoreRecord(**row._mapping) if row is not None else None

    def reindex_all(self) -> int:
        """Queues every document again as a new generation, and hides the old points: they are gone or of another model.

        Returns how many documents were queued. Failed documents stay failed.
        """
        with self._write() as connection:
            connection.execute(sa.update(documents).where(ALIVE).values(active_generation=None))
            result = connection.execute(
                sa.update(documents)
                .where(ALIVE, documents.c.state != DocumentState.FAILED)
                .values(
                    state=DocumentState.QUEUED,
                    generation=documents.c.generation + 1,
                    token=documents.c.token + 1,
                    attempts=0,
                    worker=None,
                    lease_until=None,
                    dispatched_at=None,
                    completed_at=None,
                    moved=False,
                    updated_at=self._now(),
                )
            )
            return result.rowcount


def collection_id(connection: sa.Connection, name: str, now: float) -> str:
    """Id of the collection of this name, made if there is none, inside a write transaction."""
    return (_find(connection, name) or _insert(connection, name, now)).id


def _find(connection: sa.Connection, name: str) -> Collection | None:
    row = connection.execute(sa.select(collections).where(collections.c.name == name)).one_or_none()
    return as_collection(row) if row is not None else None


def _insert(connection: sa.Connection, name: str, now: float) -> Collection:
    store = connection.execute(_SELECT_STORE).one_or_none()
    collection = Collection(
        id=new_id("col"),
        name=name,
        store_id=store.store_id if store is not None else None,
        embedding_model=store.embedding_model if store is not None else None,
        dimension=store.dimension if store is not None else None,
        created_at=now,
    )
    connection.execute(sa.insert(collections).values(**vars(collection)))
    return collection
