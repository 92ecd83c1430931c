"""Progress of many documents at once, for a person, and what they can do about it: coverage, counts, retry, cancel."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.reads import fetch
from core.catalog.rows import ALIVE, FENCED, REQUEUED, AnyRow
from core.catalog.tables import collections, documents, watched_folders
from core.catalog.transitions import change
from core.catalog.types import RETRYABLE, UNSETTLED, Coverage, Document, DocumentState
from core.errors import Conflict

#: Failures that count as skipped: the file has nothing to index, or there is no parser for its type.
SKIP_CODES = ("unsupported_file", "empty_file")
#: The number of reasons that a report lists; the others are summed up.
MAX_REASONS = 50
CANCELLED = "It was cancelled. Retry it to have it indexed."
_NOT_SETTLED = documents.c.state.in_(UNSETTLED)
_INDEXED = sa.and_(documents.c.active_generation.is_not(None), documents.c.active_generation == documents.c.generation)
_STALE = sa.and_(documents.c.active_generation.is_not(None), documents.c.active_generation != documents.c.generation)


class ProgressQueries(MigratedDatabase):
    """The part of the catalog about the progress of documents."""

    def counts_by_state(self) -> dict[str, int]:
        """Return the number of documents in each state that occurs, without deleted ones."""
        query = sa.select(documents.c.state, sa.func.count().label("number")).group_by(documents.c.state)
        with self._read() as connection:
            rows = connection.execute(query.where(documents.c.state != DocumentState.DELETED)).all()
        return {row.state: row.number for row in rows}

    def coverage(self, collection: str | None = None) -> list[Coverage]:
        """Return the coverage of each collection, or of the one named, sorted by name."""
        names = sa.select(collections.c.id, collections.c.name).where(collections.c.deleted_at.is_(None))
        if collection is not None:
            names = names.where(collections.c.name == collection)
        with self._read() as connection:
            known = {row.id: row.name for row in connection.execute(names.order_by(collections.c.name))}
            sums = {row.collection_id: row for row in connection.execute(_sums(list(known)))}
            reasons = _reasons(connection, list(known))
            for key, name in known.items():
                reasons[key][0].update(_skipped_files(connection, name))
        return [_coverage(name, sums.get(key), *reasons[key]) for key, name in known.items()]

    def waiting_before(self, document: Document) -> int:
        """Return the number of documents in the same state that are older and so come first."""
        older = sa.or_(
            documents.c.created_at < document.created_at,
            sa.and_(documents.c.created_at == document.created_at, documents.c.id < document.id),
        )
        query = sa.select(sa.func.count()).where(documents.c.state == document.state, older)
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())

    def retry_document(self, document_id: str) -> Document:
        """Queue a failed or cancelled document again.

        Raises:
            NotFound: there is no such document.
            Conflict: it has neither failed nor been cancelled.
        """
        wrong = "Only failed and cancelled documents can be retried; this one is {}."
        return self._change_state(document_id, RETRYABLE, self._retried(), wrong)

    def cancel_document(self, document_id: str) -> Document:
        """Stop the work on a document; the generation that search sees stays. A cancelled document stays cancelled.

        Raises:
            NotFound: there is no such document.
            Conflict: there is no work on it to stop.
        """
        wrong = "Only documents that wait or are being processed can be cancelled; this one is {}."
        return self._change_state(document_id, (*UNSETTLED, DocumentState.CANCELLED), self._cancelled(), wrong)

    def retry_failed(self, collection: str | None = None) -> int:
        """Queue all failed documents, of one collection or of all, again; return their number. Skip cancelled ones."""
        return self._change_states(documents.c.state == DocumentState.FAILED, self._retried(), collection)

    def cancel_unsettled(self, collection: str | None = None) -> int:
        """Stop the work on all documents of one collection or of all, and return their number."""
        return self._change_states(_NOT_SETTLED, self._cancelled(), collection)

    def _retried(self) -> dict[str, Any]:
        return REQUEUED | {"queued_at": self._now()}

    def _cancelled(self) -> dict[str, Any]:
        ended = {"error": CANCELLED, "error_code": "cancelled", "ended_at": self._now()}
        return FENCED | ended | {"state": DocumentState.CANCELLED, "dispatched_at": None}

    def _change_state(
        self, document_id: str, allowed: tuple[DocumentState, ...], values: dict[str, Any], wrong: str
    ) -> Document:
        with self._write() as connection:
            state = fetch(connection, document_id, lock=True).state
            if state not in allowed:
                raise Conflict(wrong.format(state), param="document_id")
            statement = change(values | {"updated_at": self._now()}).where(documents.c.id == document_id)
            connection.execute(statement)
            return fetch(connection, document_id)

    def _change_states(self, condition: sa.ColumnElement[bool], values: dict[str, Any], collection: str | None) -> int:
        statement = change(values | {"updated_at": self._now()}).where(condition)
        if collection is not None:
            named = sa.select(collections.c.id).where(collections.c.name == collection)
            statement = statement.where(documents.c.collection_id.in_(named))
        with self._write() as connection:
            return connection.execute(statement).rowcount


def _sums(collection_ids: list[str]) -> sa.Select[Any]:
    def number(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)

    return (
        sa.select(
            documents.c.collection_id,
            sa.func.count().label("documents"),
            number(_INDEXED).label("indexed"),
            number(_STALE).label("stale"),
            number(_NOT_SETTLED).label("pending"),
            sa.func.sum(documents.c.chunk_count).label("chunks"),
            sa.func.sum(documents.c.size_bytes).label("size_bytes"),
        )
        .where(documents.c.collection_id.in_(collection_ids), ALIVE)
        .group_by(documents.c.collection_id)
    )


def _reasons(connection: sa.Connection, collection_ids: list[str]) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """Return the numbers of skipped and of failed documents by reason, for each collection."""
    found: dict[str, tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
    columns = (documents.c.collection_id, documents.c.state, documents.c.error, documents.c.error_code)
    query = sa.select(*columns, sa.func.count().label("number")).group_by(*columns)
    query = query.where(documents.c.collection_id.in_(collection_ids), documents.c.state.in_(RETRYABLE))
    for row in connection.execute(query):
        is_skipped = row.state == DocumentState.CANCELLED or row.error_code in SKIP_CODES
        found[row.collection_id][0 if is_skipped else 1][row.error or "unknown"] += row.number
    return found


def _skipped_files(connection: sa.Connection, collection: str) -> Counter[str]:
    """Return the number of files in the watched folders of a collection that are ignored, by reason."""
    found: Counter[str] = Counter()
    query = sa.select(watched_folders.c.skipped).where(watched_folders.c.collection == collection)
    for counts in connection.execute(query).scalars():
        found.update(counts)
    return found


def _coverage(name: str, sums: AnyRow | None, skipped: Counter[str], failed: Counter[str]) -> Coverage:
    if sums is None:
        return Coverage(name, skipped=_most_common(skipped))
    return Coverage(
        collection=name,
        documents=sums.documents,
        indexed=sums.indexed,
        stale=sums.stale,
        pending=sums.pending,
        skipped=_most_common(skipped),
        failed=_most_common(failed),
        chunks=int(sums.chunks),
        size_bytes=int(sums.size_bytes),
    )


def _most_common(reasons: Counter[str]) -> dict[str, int]:
    """Return the most common reasons. A reason may name a size or a page, so there can be as many as documents."""
    common = dict(reasons.most_common(MAX_REASONS))
    rest = reasons.total() - sum(common.values())
    return common | ({"other reasons": rest} if rest else {})
