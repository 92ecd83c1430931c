"""Progress of many documents at once, for a person, and what they can do about it: coverage, counts, retry, cancel."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from core.catalog.batched import BatchedDatabase
from core.catalog.reads import fetch
from core.catalog.rows import (
    ALIVE,
    FENCED,
    GONE,
    IN_TURN,
    REQUEUED,
    TOMBSTONE,
    WAITING,
    AnyRow,
    made_by,
    new_generation,
)
from core.catalog.tables import collections, document_counts, documents, watched_folders
from core.catalog.transitions import change
from core.catalog.types import RETRYABLE, UNSETTLED, Coverage, Document, DocumentState
from core.errors import Conflict
from core.keys import EVERYTHING, Reach

#: Failures that count as skipped: the file has nothing to index, or there is no parser for its type.
SKIP_CODES = ("unsupported_file", "empty_file")
#: The number of reasons that a report lists; the others are summed up.
MAX_REASONS = 50
CANCELLED = "It was cancelled. Retry it to have it indexed."
_NOT_SETTLED = documents.c.state.in_(UNSETTLED)
_INDEXER_STATES = (DocumentState.PARSED, DocumentState.INDEXING, DocumentState.DELETING)
_OLDEST = sa.bindparam("oldest", type_=sa.Float)
#: One statement for all that the indexer looks for: it asks every few seconds, and mostly finds nothing.
_WORK_FOR_INDEXER = sa.select(
    sa.or_(
        sa.exists().where(WAITING, documents.c.state.in_(_INDEXER_STATES)),
        sa.exists().where(documents.c.moved.is_(True), ALIVE),
        sa.exists().where(TOMBSTONE, documents.c.ignored == sa.false(), documents.c.updated_at < _OLDEST),
    )
)
#: Values of `document_counts.search`: search finds the newest generation, or an older one.
NEWEST, OLDER = 1, 2
#: The counts are added up when they have more rows than this, and thrice as many as the last time.
COUNT_ROWS = 1000


class ProgressQueries(BatchedDatabase):
    """The part of the catalog about the progress of documents."""

    #: The rows of the counts after this process added them up last.
    _compacted_rows = 0

    def counts_by_state(self) -> dict[str, int]:
        """Return the number of documents in each state that occurs, without deleted ones."""
        number = sa.func.sum(document_counts.c.number).label("number")
        query = sa.select(document_counts.c.state, number).where(document_counts.c.state != DocumentState.DELETED)
        with self._read() as connection:
            rows = connection.execute(query.group_by(document_counts.c.state).having(number != 0))
            return {row.state: int(row.number) for row in rows}

    def failures_by_code(self) -> dict[str, int]:
        """Return the number of failed documents by their `error_code`."""
        number = sa.func.sum(document_counts.c.number).label("number")
        query = sa.select(document_counts.c.error_code, number).where(document_counts.c.state == DocumentState.FAILED)
        with self._read() as connection:
            rows = connection.execute(query.group_by(document_counts.c.error_code).having(number != 0))
            return {row.error_code: int(row.number) for row in rows}

    def chunk_count(self) -> int:
        """Return the number of chunks of all documents, without deleted ones."""
        query = sa.select(sa.func.sum(document_counts.c.chunks)).where(document_counts.c.state != DocumentState.DELETED)
        with self._read() as connection:
            return int(connection.execute(query).scalar_one() or 0)

    def size_bytes(self) -> int:
        """Return the size of the database: of SQLite, without what is still in its log."""
        sqlite = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        query = sqlite if self.is_sqlite else "SELECT pg_database_size(current_database())"
        with self._read() as connection:
            return int(connection.execute(sa.text(query)).scalar_one())

    def has_work_for_indexer(self, *, tombstones_older_than_seconds: float) -> bool:
        """Return whether a document waits to be indexed, renamed or deleted, or is being indexed by anyone.

        A document that was deleted longer ago than `tombstones_older_than_seconds` counts too.
        """
        with self._read() as connection:
            oldest = self._now() - tombstones_older_than_seconds
            return bool(connection.execute(_WORK_FOR_INDEXER, {"oldest": oldest}).scalar_one())

    def coverage(self, collection: str | None = None) -> list[Coverage]:
        """Return the coverage of each collection, or of the one named, sorted by name."""
        names = sa.select(collections.c.id, collections.c.name).where(collections.c.deleted_at.is_(None))
        if collection is not None:
            names = names.where(collections.c.name == collection)
        with self._read() as connection:
            known = {row.id: row.name for row in connection.execute(names.order_by(collections.c.name))}
            counts: dict[str, list[AnyRow]] = defaultdict(list)
            for row in connection.execute(_SUMS.where(document_counts.c.collection_id.in_(known))):
                counts[row.collection_id].append(row)
            skipped = _skipped_files(connection)
        return [_coverage(name, counts[key], skipped[name]) for key, name in known.items()]

    def compact_counts(self) -> None:
        """Add up the rows of the counts, once there are many of them, and remove those that have become 0."""
        limit = COUNT_ROWS + 2 * self._compacted_rows
        query = sa.select(document_counts.c.number).offset(limit).limit(1)
        with self._read() as connection:
            if connection.execute(query).one_or_none() is None:
                return
        with self._write() as connection:
            # Exactly the rows that are added up: others may be added meanwhile.
            removed = connection.execute(sa.delete(document_counts).returning(*document_counts.c)).all()
            sums = _added_up(removed)
            if sums:
                connection.execute(sa.insert(document_counts), sums)
            self._compacted_rows = len(sums)

    def documents_held(self) -> dict[str, tuple[DocumentState, int]]:
        """Return for each worker that holds documents now their state and their number."""
        held = (DocumentState.PARSING, DocumentState.INDEXING)
        number = sa.func.count().label("number")
        query = sa.select(documents.c.worker, documents.c.state, number).where(
            WAITING,
            documents.c.state.in_(held),
            documents.c.worker.is_not(None),
            documents.c.lease_until >= self._now(),
        )
        with self._read() as connection:
            rows = connection.execute(query.group_by(documents.c.worker, documents.c.state))
            return {row.worker: (DocumentState(row.state), int(row.number)) for row in rows}

    def waiting_before(self, document: Document) -> int:
        """Return the number of documents in the same state that come first."""
        turn = sa.select(*IN_TURN).where(documents.c.id == document.id)
        with self._read() as connection:
            mine = connection.execute(turn).one_or_none()
            if mine is None:
                return 0
            earlier = sa.and_(WAITING, documents.c.state == document.state, sa.tuple_(*IN_TURN) < sa.tuple_(*mine))
            return int(connection.execute(sa.select(sa.func.count()).where(earlier)).scalar_one())

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

    def retry_failed(self, collection: str | None = None, reach: Reach = EVERYTHING) -> int:
        """Queue all failed documents, of one collection or of all, again; return their number. Skip cancelled ones."""
        again = self._retried() | {"bulk": True}
        return self._change_states(documents.c.state == DocumentState.FAILED, again, collection, reach)

    def cancel_unsettled(self, collection: str | None = None, reach: Reach = EVERYTHING) -> int:
        """Stop the work on all documents of one collection or of all, and return their number."""
        return self._change_states(_NOT_SETTLED, self._cancelled(), collection, reach)

    def reindex_document(self, document_id: str) -> Document:
        """Queue a completed document as a new generation. Search sees the old one until the new one is complete.

        Raises:
            NotFound: there is no such document.
            Conflict: it is not completed: it waits, is being processed, or can be retried.
        """
        wrong = "Only completed documents can be indexed again; this one is {}."
        return self._change_state(document_id, (DocumentState.COMPLETED,), new_generation(self._now()), wrong)

    def reindex_completed(self, collection: str | None = None, reach: Reach = EVERYTHING) -> int:
        """Queue all completed documents of one collection or of all as new generations, and return their number."""
        again = new_generation(self._now(), bulk=True)
        return self._change_states(documents.c.state == DocumentState.COMPLETED, again, collection, reach)

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

    def _change_states(
        self, condition: sa.ColumnElement[bool], values: dict[str, Any], collection: str | None, reach: Reach
    ) -> int:
        conditions = [condition, *made_by(documents, reach)]
        for names in ([collection] if collection is not None else None, reach.collections):
            if names is not None:
                named = sa.select(collections.c.id).where(collections.c.name.in_(names))
                conditions.append(documents.c.collection_id.in_(named))
        condition = sa.and_(*conditions)
        return self._change_all(condition, values | {"updated_at": self._now()})


_KEYS = [column for column in document_counts.c if column.name not in ("number", "chunks", "size_bytes")]
_SUMMED = [document_counts.c.number, document_counts.c.chunks, document_counts.c.size_bytes]
_SUMS = sa.select(*_KEYS, *(sa.func.sum(column).label(column.name) for column in _SUMMED)).group_by(*_KEYS)


def _added_up(rows: Iterable[AnyRow]) -> list[dict[str, Any]]:
    """Return one row for each key, without those that add up to nothing."""
    sums: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        mine = sums[tuple(getattr(row, column.name) for column in _KEYS)]
        for position, column in enumerate(_SUMMED):
            mine[position] += getattr(row, column.name)
    names = [column.name for column in (*_KEYS, *_SUMMED)]
    return [dict(zip(names, (*key, *values), strict=True)) for key, values in sums.items() if any(values)]


def _skipped_files(connection: sa.Connection) -> dict[str, Counter[str]]:
    """Return the number of files in watched folders that are ignored, by collection and reason."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for row in connection.execute(sa.select(watched_folders.c.collection, watched_folders.c.skipped)):
        found[row.collection].update(row.skipped)
    return found


def _coverage(name: str, counts: Sequence[AnyRow], skipped_files: Counter[str]) -> Coverage:
    alive = [row for row in counts if row.state not in GONE]
    ended = [row for row in alive if row.state in RETRYABLE]
    skipped, failed = Counter(skipped_files), Counter[str]()
    for row in ended:
        is_skipped = row.state == DocumentState.CANCELLED or row.error_code in SKIP_CODES
        (skipped if is_skipped else failed)[row.error or "unknown"] += int(row.number)
    return Coverage(
        collection=name,
        documents=_total(alive),
        indexed=_total(row for row in alive if row.search == NEWEST),
        stale=_total(row for row in alive if row.search == OLDER),
        pending=_total(row for row in alive if row.state in UNSETTLED),
        skipped=_most_common(+skipped),
        failed=_most_common(+failed),
        chunks=sum(int(row.chunks) for row in alive),
        size_bytes=sum(int(row.size_bytes) for row in alive),
    )


def _total(rows: Iterable[AnyRow]) -> int:
    return sum(int(row.number) for row in rows)


def _most_common(reasons: Counter[str]) -> dict[str, int]:
    """Return the most common reasons. A reason may name a size or a page, so there can be as many as documents."""
    common = dict(reasons.most_common(MAX_REASONS))
    rest = reasons.total() - sum(common.values())
    return common | ({"other reasons": rest} if rest else {})
