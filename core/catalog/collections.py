"""Collections: creating, renaming, changing and deleting them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from core.catalog.batched import BatchedDatabase
from core.catalog.rows import ALIVE, DELETED, SELECT_COLLECTION, as_collection, new_generation
from core.catalog.tables import collections, documents
from core.catalog.types import RETRYABLE, Collection
from core.errors import Conflict, NotFound, PermissionDenied
from core.ids import new_id
from core.keys import DEFAULT_OWNER, EVERYTHING, Reach

#: Settings that decide how documents are cut into chunks.
CHUNK_SETTINGS = ("chunk_tokens", "chunk_overlap_tokens")


class CollectionQueries(BatchedDatabase):
    """The part of the catalog about collections."""

    def ensure_collection(self, name: str, owner: str = DEFAULT_OWNER) -> Collection:
        """Return the collection of this name. If it does not exist, create it for this owner."""
        with self._read() as connection:
            found = _find(connection, name)
        if found is not None:
            return found
        now = self._now()
        return self._write_retried(
            lambda connection: _find(connection, name) or _insert(connection, name, now, owner=owner)
        )

    def create_collection(
        self,
        name: str,
        *,
        chunk_tokens: int | None = None,
        chunk_overlap_tokens: int | None = None,
        model_choice: str | None = None,
        dense_weight: float | None = None,
        owner: str = DEFAULT_OWNER,
    ) -> Collection:
        """Create a collection. Raise Conflict if there is one of this name."""
        settings = {
            "chunk_tokens": chunk_tokens,
            "chunk_overlap_tokens": chunk_overlap_tokens,
            "model_choice": model_choice,
            "dense_weight": dense_weight,
            "owner": owner,
        }
        try:
            with self._write() as connection:
                if _find(connection, name) is not None:
                    raise _taken(name)
                return _insert(connection, name, self._now(), **settings)
        except IntegrityError:
            raise _taken(name) from None

    def list_collections(self) -> list[Collection]:
        """Return all collections, sorted by name."""
        query = _SELECT.order_by(collections.c.name)
        with self._read() as connection:
            return [as_collection(row) for row in connection.execute(query)]

    def get_collection(self, name_or_id: str) -> Collection:
        """Return the collection with this name, else with this id. Raise NotFound if there is none."""
        with self._read() as connection:
            return _fetch(connection, name_or_id)

    def update_collection(self, name_or_id: str, changes: dict[str, Any]) -> tuple[Collection, int]:
        """Change the `name`, `model_choice`, `dense_weight` or `CHUNK_SETTINGS` of a collection.

        A new name or weight changes no document. New chunk settings queue each document again, as a new generation:
        search sees the old one until the new one is complete. A new model only records the choice: the index worker
        begins the move, see `StoreQueries`. Return the collection and the number of documents that were queued.

        Raises:
            NotFound: there is no such collection.
            Conflict: another collection has the new name.
        """
        try:
            with self._write() as connection:
                before = _fetch(connection, name_or_id, _LOCKED)
                name = changes.get("name", before.name)
                if name != before.name and _find(connection, name) is not None:
                    raise _taken(name)
                if changes:
                    connection.execute(sa.update(collections).where(collections.c.id == before.id).values(**changes))
                after = _fetch(connection, before.id)
        except IntegrityError:
            raise _taken(changes["name"]) from None
        is_rechunked = any(getattr(after, key) != getattr(before, key) for key in CHUNK_SETTINGS)
        return after, self._queue_again(before.id) if is_rechunked else 0

    def watched_roots(self, collection_id: str) -> list[str]:
        """Return the watched folders that contain documents of this collection."""
        query = sa.select(documents.c.root).distinct()
        query = query.where(documents.c.collection_id == collection_id, documents.c.root.is_not(None), ALIVE)
        with self._read() as connection:
            return sorted(connection.execute(query).scalars())

    def delete_collection(self, name_or_id: str, reach: Reach = EVERYTHING) -> int:
        """Mark a collection and all its documents for deletion, and return the number of documents.

        Search drops them at once, and the name is free for a new collection.

        Raises:
            NotFound: there is no such collection.
            PermissionDenied: it has documents of other owners.
        """
        now = self._now()
        with self._write() as connection:
            collection = _fetch(connection, name_or_id, _LOCKED)
            _require_own(connection, collection, reach)
            # The row stays until its last document is removed: see `purge_collections`.
            gone = {"name": f"{collection.id} (deleted)", "deleted_at": now}
            connection.execute(sa.update(collections).where(collections.c.id == collection.id).values(**gone))
        return self._delete_all(collection.id)

    def _delete_all(self, collection_id: str) -> int:
        """Mark all documents of a deleted collection for deletion."""
        mine = documents.c.collection_id == collection_id
        self._change_all(sa.and_(mine, documents.c.ignored.is_(True)), {"ignored": False})
        return self._change_all(sa.and_(mine, ALIVE), DELETED | {"updated_at": self._now()})

    def purge_collections(self) -> int:
        """Remove the rows of deleted collections that have no documents left. Return their number.

        If a deletion was interrupted, mark the rest of the documents.
        """
        deleted = sa.select(collections.c.id).where(collections.c.deleted_at.is_not(None))
        with self._read() as connection:
            ids = connection.execute(deleted).scalars().all()
        for collection_id in ids:
            self._delete_all(collection_id)
        is_filled = sa.exists().where(documents.c.collection_id == collections.c.id)
        statement = sa.delete(collections).where(collections.c.deleted_at.is_not(None), sa.not_(is_filled))
        with self._write() as connection:
            return connection.execute(statement).rowcount

    def _queue_again(self, collection_id: str) -> int:
        now = self._now()
        mine = sa.and_(documents.c.collection_id == collection_id, ALIVE, documents.c.state.not_in(RETRYABLE))
        return self._change_all(mine, new_generation(now, bulk=True) | {"updated_at": now})


def collection_id(connection: sa.Connection, name: str, now: float, owner: str = DEFAULT_OWNER) -> str:
    """Return the id of the collection of this name. If it does not exist, create it. Needs a write transaction.

    On PostgreSQL, nobody can delete or rename it during this transaction.
    """
    return (_find(connection, name, _KEPT) or _insert(connection, name, now, owner=owner)).id


def lock_collection(connection: sa.Connection, key: str) -> None:
    """On PostgreSQL, make other transactions that lock the collection wait. Documents can still be added to it."""
    query = sa.select(collections.c.id).where(collections.c.id == key)
    connection.execute(query.with_for_update(key_share=True))


_SELECT = SELECT_COLLECTION.where(collections.c.deleted_at.is_(None))
#: A collection that is about to be changed, and one that must not be deleted or renamed meanwhile.
_LOCKED = _SELECT.with_for_update(of=collections)
_KEPT = _SELECT.with_for_update(of=collections, read=True, key_share=True)


def _find(connection: sa.Connection, name: str, select: sa.Select[Any] = _SELECT) -> Collection | None:
    row = connection.execute(select.where(collections.c.name == name)).one_or_none()
    return as_collection(row) if row is not None else None


def _fetch(connection: sa.Connection, name_or_id: str, select: sa.Select[Any] = _SELECT) -> Collection:
    found = _find(connection, name_or_id, select)
    if found is not None:
        return found
    row = connection.execute(select.where(collections.c.id == name_or_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no collection {name_or_id!r}.", param="collection")
    return as_collection(row)


def _require_own(connection: sa.Connection, collection: Collection, reach: Reach) -> None:
    """Raise PermissionDenied if the collection has a document that others made. Needs the collection's lock."""
    if reach.owner is None:
        return
    others = sa.select(documents.c.id).where(
        documents.c.collection_id == collection.id, ALIVE, documents.c.owner != reach.owner
    )
    if connection.execute(others.limit(1)).one_or_none() is not None:
        raise PermissionDenied(
            f"The collection {collection.name!r} has documents of other owners. Delete your own documents one by one, "
            "or use an admin key.",
            param="collection",
            code="not_the_owner",
        )


def _taken(name: str) -> Conflict:
    return Conflict(f"There is already a collection named {name!r}.", param="name")


def _insert(connection: sa.Connection, name: str, now: float, **settings: int | float | str | None) -> Collection:
    key = new_id("col")
    values = {"id": key, "name": name, "created_at": now, "point_key": key, **settings}
    connection.execute(sa.insert(collections).values(**values))
    return _fetch(connection, key)
