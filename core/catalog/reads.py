"""Documents, as their readers see them: find one, some or all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.rows import (
    ALIVE,
    SELECT_DOCUMENT,
    SELECT_LOCKED,
    as_document,
    batches,
    before,
    checked,
    newest_ids,
    page_of,
)
from core.catalog.tables import collections, documents
from core.catalog.types import UNSETTLED, Claim, Document, DocumentState, Page
from core.errors import NotFound
from core.keys import EVERYTHING, Reach


class ReadQueries(MigratedDatabase):
    """The part of the catalog that finds documents."""

    def get_document(self, document_id: str) -> Document:
        """Return the document. Raise NotFound if there is none or it has been deleted."""
        with self._read() as connection:
            return fetch(connection, document_id)

    def find_documents(self, root: str) -> list[Document]:
        """Return all documents of a watched folder, except those deleted or being deleted."""
        with self._read() as connection:
            rows = connection.execute(SELECT_DOCUMENT.where(documents.c.root == root, ALIVE))
            return [as_document(row) for row in rows]

    def lost_claims(self, claims: Sequence[Claim]) -> list[Claim]:
        """Return those of the claims that are lost: others changed, cancelled or took over the document."""
        is_one = documents.c.id.in_([claim.document.id for claim in claims])
        query = sa.select(documents.c.id, documents.c.token).where(documents.c.worker.is_not(None), is_one)
        with self._read() as connection:
            held = {row.id: row.token for row in connection.execute(query)}
        return [claim for claim in claims if held.get(claim.document.id) != claim.token]

    def documents_at(self, root: str, paths: Iterable[str]) -> list[Document]:
        """Return the documents of a watched folder at these paths, except those deleted or being deleted."""
        return self._find_in_root(root, documents.c.path, paths)

    def documents_with_content(self, root: str, *, inodes: Iterable[int], hashes: Iterable[str]) -> list[Document]:
        """Return the documents of a watched folder with one of these inodes or hashes: possible sources of a move."""
        found = self._find_in_root(root, documents.c.inode, inodes)
        found += self._find_in_root(root, documents.c.content_hash, hashes)
        return list({document.id: document for document in found}.values())

    def _find_in_root(self, root: str, column: sa.ColumnElement[Any], values: Iterable[Any]) -> list[Document]:
        found: list[Document] = []
        query = SELECT_DOCUMENT.where(documents.c.root == root, ALIVE)
        with self._read() as connection:
            for batch in batches(values):
                found += [as_document(row) for row in connection.execute(query.where(column.in_(batch)))]
        return found

    def documents_by_id(self, document_ids: Iterable[str]) -> dict[str, Document]:
        """Return the existing documents among these ids, by id, without deleted ones."""
        found = {}
        with self._read() as connection:
            for batch in batches(document_ids):
                query = SELECT_DOCUMENT.where(documents.c.id.in_(batch), documents.c.state != DocumentState.DELETED)
                found.update({row.id: as_document(row) for row in connection.execute(query)})
        return found

    def documents_with_tombstones(self, document_ids: Iterable[str]) -> list[Document]:
        """Return the documents of these ids, those that have been deleted included as long as their rows are kept."""
        found: list[Document] = []
        with self._read() as connection:
            for batch in batches(document_ids):
                rows = connection.execute(SELECT_DOCUMENT.where(documents.c.id.in_(batch)))
                found += [as_document(row) for row in rows]
        return found

    def has_unsettled(self, document_ids: Iterable[str]) -> bool:
        """Return whether one of these documents waits or is being worked on."""
        query = sa.select(documents.c.id).where(checked(documents.c.state.in_(UNSETTLED))).limit(1)
        with self._read() as connection:
            found = (connection.execute(query.where(documents.c.id.in_(batch))) for batch in batches(document_ids))
            return any(rows.one_or_none() is not None for rows in found)

    def list_documents(
        self,
        *,
        state: DocumentState | Iterable[DocumentState] | None = None,
        collection: str | None = None,
        name: str = "",
        types: Sequence[str] = (),
        limit: int = 20,
        after: str | None = None,
        reach: Reach = EVERYTHING,
    ) -> Page[Document]:
        """Return documents, the newest first, without deleted ones unless that state is asked for.

        Args:
            name: what the path or the file's name contains, in upper or lower case (of ASCII letters).
            types: each an extension such as `pdf`, or the beginning of a media type such as `image/`; one has to fit.

        Raises:
            InvalidRequest: there is no document with the id `after`.
        """
        with self._read() as connection:
            places = _collection_scopes(connection, collection, reach)
            follows = []
            if after is not None:
                follows.append(before(connection, documents, after, _seen(connection, reach)))
            follows += _named(name) + _of_types(types)
            states = _states(state)
            scopes = [(*place, documents.c.state == one, *follows) for place in places for one in states]
            ids = newest_ids(connection, documents, scopes, limit + 1)
            rows = connection.execute(SELECT_DOCUMENT.where(documents.c.id.in_(ids)))
            found = {row.id: as_document(row) for row in rows}
            return page_of([found[key] for key in ids if key in found], limit)

    def active_generations(self, document_ids: Iterable[str]) -> dict[str, int]:
        """Return the generation that search sees, by id, for those of the documents that have one."""
        found: dict[str, int] = {}
        with self._read() as connection:
            for batch in batches(document_ids):
                query = sa.select(documents.c.id, documents.c.active_generation).join_from(documents, collections)
                query = query.where(
                    documents.c.id.in_(batch),
                    documents.c.active_generation.is_not(None),
                    ALIVE,
                    # The documents of a deleted collection are marked a moment later.
                    collections.c.deleted_at.is_(None),
                )
                found.update({row.id: row.active_generation for row in connection.execute(query)})
        return found

    def moved_documents(self, limit: int) -> list[Document]:
        """Return searchable documents whose points still carry an old path."""
        query = SELECT_DOCUMENT.where(documents.c.moved.is_(True), ALIVE).limit(limit)
        with self._read() as connection:
            return [as_document(row) for row in connection.execute(query)]


def _states(state: DocumentState | Iterable[DocumentState] | None) -> set[DocumentState]:
    if state is None:
        return set(DocumentState) - {DocumentState.DELETED}
    return {state} if isinstance(state, DocumentState) else set(state)


def _named(name: str) -> list[sa.ColumnElement[bool]]:
    if not name:
        return []
    return [sa.or_(*(column.icontains(name, autoescape=True) for column in (documents.c.path, documents.c.filename)))]


def _of_types(types: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    if not types:
        return []
    fits = [
        documents.c.media_type.istartswith(one, autoescape=True)
        if "/" in one
        else documents.c.filename.iendswith(f".{one.removeprefix('.')}", autoescape=True)
        for one in types
    ]
    return [sa.or_(*fits)]


def _collection_scopes(
    connection: sa.Connection, collection: str | None, reach: Reach
) -> list[tuple[sa.ColumnElement[bool], ...]]:
    """Return a condition for each collection to list, or none for all of them together."""
    if collection is None and reach.collections is None:
        return [()]
    names = reach.collections if collection is None else [collection] if reach.sees(collection) else []
    ids = connection.execute(sa.select(collections.c.id).where(collections.c.name.in_(names or ()))).scalars()
    return [(documents.c.collection_id == key,) for key in ids]


def _seen(connection: sa.Connection, reach: Reach) -> sa.ColumnElement[bool]:
    """Return the condition for the documents in the collections that are seen."""
    if reach.collections is None:
        return sa.true()
    ids = connection.execute(sa.select(collections.c.id).where(collections.c.name.in_(reach.collections))).scalars()
    return documents.c.collection_id.in_(list(ids))


def fetch(connection: sa.Connection, document_id: str, *, lock: bool = False) -> Document:
    """Return a document that has not been deleted. With `lock`, nobody else can change it during this transaction.

    Raises:
        NotFound: there is no such document, or it has been deleted.
    """
    query = (SELECT_LOCKED if lock else SELECT_DOCUMENT).where(documents.c.id == document_id)
    row = connection.execute(query).one_or_none()
    if row is None or row.state == DocumentState.DELETED:
        raise NotFound(f"No document with the id {document_id!r}.", param="document_id")
    return as_document(row)


def fetch_alive(connection: sa.Connection, document_id: str) -> Document:
    """Return a document that is about to be changed, and lock it.

    Raises:
        NotFound: there is no such document, or it is being deleted.
    """
    document = fetch(connection, document_id, lock=True)
    if document.state == DocumentState.DELETING:
        raise NotFound(f"The document {document_id!r} is being deleted.", param="document_id")
    return document
