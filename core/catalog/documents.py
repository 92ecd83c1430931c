"""Documents, as their producers see them: add, change, move and delete them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from core.catalog.chunk_format import CHUNK_FORMAT
from core.catalog.collections import collection_id, lock_collection
from core.catalog.folders import moved_attributes
from core.catalog.migration import MigratedDatabase
from core.catalog.reads import fetch, fetch_alive
from core.catalog.rows import (
    ALIVE,
    DELETED,
    FENCED,
    REQUEUED,
    SELECT_DOCUMENT,
    SELECT_LOCKED,
    TOMBSTONE,
    as_document,
    batches,
    checked,
    made_by,
    new_generation,
    newest_first,
)
from core.catalog.tables import collections, documents
from core.catalog.transitions import change
from core.catalog.types import Document, DocumentState, NewDocument
from core.errors import Conflict
from core.ids import new_id
from core.keys import EVERYTHING, Reach

#: The state after a move, for documents that a worker holds: they are parsed or indexed again, with the new path.
_STATE_AFTER_MOVE = {
    DocumentState.PARSING: DocumentState.QUEUED,
    DocumentState.INDEXING: DocumentState.PARSED,
}


class DocumentQueries(MigratedDatabase):
    """The part of the catalog about documents, without the claims of workers."""

    def add_document(self, new: NewDocument) -> Document:
        """Add a document in the state queued.

        If a document has the same idempotency key, return it unchanged. If one is at the same root and path, update
        it: as a new generation if the content or the collection has changed, else only its size, time and inode.
        """
        return self._write_retried(lambda connection: self._add(connection, new))

    def add_files(self, new: Sequence[NewDocument]) -> list[str]:
        """Add files at different paths of watched folders in one transaction, as `add_document` does. Return ids."""
        return self._write_retried(lambda connection: self._add_files(connection, new))

    def _add_files(self, connection: sa.Connection, new: Sequence[NewDocument]) -> list[str]:
        now = self._now()
        taken = _taken_paths(connection, new)
        owners = {one.collection: one.owner for one in new}
        collection_ids = {name: collection_id(connection, name, now, owner) for name, owner in owners.items()}
        rows = [_new_row(one, collection_ids[one.collection], now) for one in new if (one.root, one.path) not in taken]
        if rows:
            connection.execute(sa.insert(documents), rows)
        ids = {(row["root"], row["path"]): str(row["id"]) for row in rows}
        return [ids.get((one.root, one.path)) or self._add(connection, one).id for one in new]

    def _add(self, connection: sa.Connection, new: NewDocument) -> Document:
        existing = _find_same(connection, new)
        now = self._now()
        if existing is None:
            return fetch(connection, _insert(connection, new, now))
        if new.root is None:
            return existing
        stat: dict[str, Any] = {
            "size_bytes": new.size_bytes,
            "mtime_ns": new.mtime_ns,
            "inode": new.inode,
            "ctime_ns": new.ctime_ns,
            "updated_at": now,
        }
        if existing.content_hash != new.content_hash or existing.collection != new.collection:
            stat["blob_key"] = new.blob_key
            stat |= new_generation(now) | {"content_hash": new.content_hash}
            stat["collection_id"] = collection_id(connection, new.collection, now, new.owner)
            if existing.collection != new.collection:
                stat["placement"] = 0  # its points are in the other collection's store
        _update(connection, existing.id, stat)
        return fetch(connection, existing.id)

    def replace_document(self, new: NewDocument, reach: Reach = EVERYTHING) -> tuple[Document, str | None]:
        """Add an upload, or make it the new version of the document with the same name in its collection.

        Only a document that may be changed is replaced.

        Return the document and the key of the original that is no longer needed: the new one's if neither content nor
        attributes have changed, the old one's if the document was replaced, None if it was added. If a document has
        the same idempotency key, return it unchanged.
        """
        return self._write_retried(lambda connection: self._replace(connection, new, reach))

    def _replace(self, connection: sa.Connection, new: NewDocument, reach: Reach) -> tuple[Document, str | None]:
        repeated = _find_repeated(connection, new)
        if repeated is not None:
            return repeated, new.blob_key
        # Two uploads of a name that is new to the collection must not both be added.
        lock_collection(connection, collection_id(connection, new.collection, self._now(), new.owner))
        existing = _find_named(connection, new, reach)
        if existing is None:
            return self._add(connection, new), None
        if (existing.content_hash, existing.attributes) == (new.content_hash, new.attributes):
            return existing, new.blob_key
        now = self._now()
        values = new_generation(now) | {"updated_at": now, "idempotency_key": new.idempotency_key}
        taken = ("content_hash", "size_bytes", "blob_key", "media_type", "attributes")
        _update(connection, existing.id, values | {name: getattr(new, name) for name in taken})
        return fetch(connection, existing.id), existing.blob_key

    def new_version(
        self,
        document_id: str,
        *,
        content_hash: str,
        size_bytes: int,
        mtime_ns: int | None,
        inode: int | None,
        ctime_ns: int | None = None,
        blob_key: str | None = None,
    ) -> Document:
        """Queue the changed original as a new generation; the old one stays searchable until the new one is complete.

        Without a `blob_key`, the original is the file in the watched folder.

        Raises:
            NotFound: there is no such document, or it is being deleted.
        """
        values = new_generation(self._now()) | {"content_hash": content_hash}
        values |= {"size_bytes": size_bytes, "mtime_ns": mtime_ns, "inode": inode, "ctime_ns": ctime_ns}
        values["blob_key"] = blob_key
        return self._change(document_id, values)

    def touch_source(
        self,
        document_id: str,
        *,
        size_bytes: int,
        mtime_ns: int | None,
        inode: int | None,
        ctime_ns: int | None = None,
    ) -> Document:
        """Record a new size, time or inode of unchanged content. Queue a document whose file had been missing.

        Raise NotFound as `new_version` does.
        """
        state = {"size_bytes": size_bytes, "mtime_ns": mtime_ns, "inode": inode, "ctime_ns": ctime_ns}
        return self._change(document_id, state)

    def move_document(
        self,
        document_id: str,
        *,
        path: str,
        filename: str,
        mtime_ns: int | None,
        inode: int | None,
        ctime_ns: int | None = None,
    ) -> Document:
        """Rename a document within its root, without parsing or embedding it again.

        A stage that a worker is in the middle of starts again with the new path, and a document whose file had been
        missing is queued. Existing points carry the old path until the indexer updates them: see `moved_documents`.

        Raises:
            NotFound: there is no such document, or it is being deleted.
            Conflict: another document is at the new path.
        """
        try:
            with self._write() as connection:
                document = fetch_alive(connection, document_id)
                values: dict[str, Any] = {"path": path, "filename": filename, "mtime_ns": mtime_ns, "inode": inode}
                values["ctime_ns"] = ctime_ns
                values |= _requeued_if_lost(document, self._now())
                if document.state in _STATE_AFTER_MOVE:
                    values |= FENCED | {"state": _STATE_AFTER_MOVE[document.state], "dispatched_at": None}
                values |= {"moved": document.active_generation is not None, "updated_at": self._now()}
                values["attributes"] = moved_attributes(document, path)
                _update(connection, document_id, values)
                return fetch(connection, document_id)
        except IntegrityError:
            raise Conflict(f"Another document is at {path}.", param="path") from None

    def confirm_moved(self, moved: Sequence[Document]) -> None:
        """Record that the points carry the paths of these documents, except of those that have moved again since."""
        path = documents.c.path.is_not_distinct_from(sa.bindparam("moved_to", type_=sa.Text))
        here = (documents.c.id == sa.bindparam("moved_id"), path)
        rows = [{"moved_id": document.id, "moved_to": document.path} for document in moved]
        if rows:
            with self._write() as connection:
                connection.execute(sa.update(documents).where(*here).values(moved=False), rows)

    def delete_document(self, document_id: str) -> Document:
        """Mark a document for deletion. Search drops it at once, and a worker that holds it is fenced off. Idempotent.

        A file in a watched folder stays there and is ignored until it changes: see `FolderQueries.ignored_files`.

        Raises:
            NotFound: there is no such document, or it has already been deleted.
        """
        with self._write() as connection:
            document = fetch(connection, document_id, lock=True)
            self._delete(connection, [document_id], ignored=document.root is not None)
            return fetch(connection, document_id)

    def delete_documents(self, document_ids: Iterable[str]) -> int:
        """Mark many documents for deletion, and return how many of them were not yet marked."""
        count = 0
        for batch in batches(document_ids):
            with self._write() as connection:
                count += self._delete(connection, batch)
        return count

    def _delete(self, connection: sa.Connection, document_ids: list[str], **more: Any) -> int:
        statement = change(DELETED | {"updated_at": self._now()} | more)
        return connection.execute(statement.where(documents.c.id.in_(document_ids), ALIVE)).rowcount

    def tombstones(self, limit: int, *, older_than_seconds: float) -> list[str]:
        """Return the ids of documents that were deleted longer ago than this, except those of ignored files."""
        oldest = self._now() - older_than_seconds
        query = sa.select(documents.c.id).where(TOMBSTONE, documents.c.ignored == sa.false())
        with self._read() as connection:
            return list(connection.execute(query.where(documents.c.updated_at < oldest).limit(limit)).scalars())

    def purge_deleted(self, document_ids: Iterable[str]) -> None:
        """Remove the rows of these documents, which `tombstones` has returned."""
        for batch in batches(document_ids):
            with self._write() as connection:
                is_over = sa.and_(documents.c.state == DocumentState.DELETED, documents.c.ignored.is_(False))
                connection.execute(sa.delete(documents).where(documents.c.id.in_(batch), checked(is_over)))

    def _change(self, document_id: str, values: dict[str, Any]) -> Document:
        with self._write() as connection:
            now = self._now()
            requeued = _requeued_if_lost(fetch_alive(connection, document_id), now)
            _update(connection, document_id, requeued | values | {"updated_at": now})
            return fetch(connection, document_id)


def _requeued_if_lost(document: Document, now: float) -> dict[str, Any]:
    """Return the columns that queue a document whose file had been missing, now that the file has been seen."""
    return REQUEUED | {"queued_at": now} if document.has_lost_file else {}


def _find_same(connection: sa.Connection, new: NewDocument) -> Document | None:
    """Return the document with the same idempotency key, else the one at the same root and path."""
    if new.root is None or new.idempotency_key is not None:
        return _find_repeated(connection, new)
    query = SELECT_LOCKED.where(documents.c.root == new.root, documents.c.path == new.path, ALIVE)
    row = connection.execute(query).one_or_none()
    return as_document(row) if row is not None else None


def _find_repeated(connection: sa.Connection, new: NewDocument) -> Document | None:
    if new.idempotency_key is None:
        return None
    query = SELECT_DOCUMENT.where(documents.c.idempotency_key == new.idempotency_key)
    row = connection.execute(query).one_or_none()
    return as_document(row) if row is not None else None


def _find_named(connection: sa.Connection, new: NewDocument, reach: Reach) -> Document | None:
    """Return the newest document with this name in this collection that is not from a watched folder."""
    query = SELECT_LOCKED.where(
        collections.c.name == new.collection, documents.c.path == new.path, documents.c.root.is_(None), ALIVE
    ).where(*made_by(documents, reach))
    row = connection.execute(query.order_by(*newest_first(documents)).limit(1)).one_or_none()
    return as_document(row) if row is not None else None


def _taken_paths(connection: sa.Connection, new: Sequence[NewDocument]) -> set[tuple[str | None, str | None]]:
    """Return those roots and paths of the new documents at which there already are documents."""
    found = set()
    for root in {one.root for one in new}:
        query = sa.select(documents.c.root, documents.c.path).where(documents.c.root == root, ALIVE)
        for batch in batches(one.path for one in new if one.root == root):
            found |= {(row.root, row.path) for row in connection.execute(query.where(documents.c.path.in_(batch)))}
    return found


def _insert(connection: sa.Connection, new: NewDocument, now: float) -> str:
    row = _new_row(new, collection_id(connection, new.collection, now, new.owner), now)
    # As parameters, not as values of the statement: that takes a third of the time.
    connection.execute(sa.insert(documents), row)
    return str(row["id"])


def _new_row(new: NewDocument, collection: str, now: float) -> dict[str, Any]:
    values = {field.name: getattr(new, field.name) for field in dataclasses.fields(new) if field.name != "collection"}
    return values | {
        "id": new_id("doc"),
        "collection_id": collection,
        "state": DocumentState.QUEUED,
        "generation": 1,
        "chunk_count": 0,
        "attempts": 0,
        "moved": False,
        "token": 0,
        "created_at": now,
        "updated_at": now,
        "queued_at": now,
        "chunk_format": CHUNK_FORMAT,
    }


def _update(connection: sa.Connection, document_id: str, values: dict[str, Any]) -> None:
    """Change a document that this transaction has locked."""
    connection.execute(change(values).where(documents.c.id == document_id, ALIVE))
