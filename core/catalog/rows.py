"""Conversion of rows to the catalog's values, and parts of queries that several modules share."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeAlias

import sqlalchemy as sa

from core.catalog.tables import collections, documents, jobs, stores
from core.catalog.types import (
    Collection,
    Document,
    DocumentState,
    ItemT,
    Job,
    JobState,
    JobSummary,
    Page,
    Source,
    StoreRecord,
)
from core.errors import InvalidRequest
from core.keys import Reach

#: The number of ids in one statement: SQLite takes at most 32,766 parameters, and long lists are slow to compile.
IDS_PER_STATEMENT = 500

#: States of deletion: the document is hidden from the mirror and from search.
GONE = (DocumentState.DELETING, DocumentState.DELETED)
#: In none of these states. Written out, not bound: SQLite uses a partial index only if it can read the condition.
ALIVE = sa.text("documents.state NOT IN ('deleting', 'deleted')")
#: There is something to do on the document: the condition of the index `documents_waiting`.
WAITING = sa.text("documents.state NOT IN ('completed', 'failed', 'cancelled', 'deleted')")
TOMBSTONE = sa.text("documents.state = 'deleted'")

#: Fences off the worker that holds the document: its token becomes an old one.
FENCED = {"token": documents.c.token + 1, "worker": None, "lease_until": None}
#: Queued for the first time, or again after a change.
REQUEUED = FENCED | {
    "state": DocumentState.QUEUED,
    "attempts": 0,
    "error": None,
    "error_code": None,
    "dispatched_at": None,
    "completed_at": None,
    "bulk": False,
    "chunks_indexed": 0,
    "chunks_embedded": 0,
    "chunks_missing": 0,
    "parsing_at": None,
    "parsed_at": None,
    "indexing_at": None,
    "ended_at": None,
}
#: Hidden from search at once; its points and files are removed later.
DELETED = FENCED | {
    "state": DocumentState.DELETING,
    "active_generation": None,
    "idempotency_key": None,
    "moved": False,
    "attempts": 0,
    "error": None,
    "error_code": None,
    "dispatched_at": None,
}

#: SQLAlchemy's type of a row lists the types of its columns; here columns are read by name.
AnyRow: TypeAlias = sa.Row[*tuple[Any, ...]]

_HIDDEN = {"collection_id", "idempotency_key", "moved", "token", "worker", "placement", "bulk", "chunk_format"}
_DOCUMENT_COLUMNS = [column for column in documents.c if column.name not in _HIDDEN]

SELECT_DOCUMENT = sa.select(
    *_DOCUMENT_COLUMNS,
    documents.c.token,
    collections.c.name.label("collection"),
    collections.c.point_key.label("collection_key"),
    collections.c.chunk_tokens,
    collections.c.chunk_overlap_tokens,
    collections.c.model_choice,
).join_from(documents, collections)
#: The same for documents that are about to be changed: on PostgreSQL, no other transaction can change them meanwhile.
SELECT_LOCKED = SELECT_DOCUMENT.with_for_update(of=documents)

_STORE_COLUMNS = ("store_id", "embedding_model", "dimension", "model_source")
_STORE, _NEXT_STORE = stores.alias("store"), stores.alias("next_store")
_COLLECTION_COLUMNS = (
    "id",
    "name",
    "created_at",
    "point_key",
    "chunk_tokens",
    "chunk_overlap_tokens",
    "model_choice",
    "dense_weight",
    "placement",
    "owner",
)

SELECT_COLLECTION = sa.select(
    *(collections.c[name] for name in _COLLECTION_COLUMNS),
    *(_STORE.c[name].label(f"store_{name}") for name in _STORE_COLUMNS),
    *(_NEXT_STORE.c[name].label(f"next_store_{name}") for name in _STORE_COLUMNS),
).select_from(
    collections.outerjoin(_STORE, collections.c.store == _STORE.c.id).outerjoin(
        _NEXT_STORE, collections.c.next_store == _NEXT_STORE.c.id
    )
)


def as_document(row: AnyRow, changes: Mapping[str, Any] | None = None) -> Document:
    """Return the document of a row of SELECT_DOCUMENT, with the changes just written to it."""
    values = {**row._mapping, **(changes or {})}
    del values["token"]
    values["state"] = DocumentState(values["state"])
    values["source"] = Source(values["source"])
    return Document(**values)


def as_collection(row: AnyRow) -> Collection:
    """Return the collection of a row of SELECT_COLLECTION."""
    own = {name: row._mapping[name] for name in _COLLECTION_COLUMNS}
    return Collection(**own, store=_store_of(row, "store_"), next_store=_store_of(row, "next_store_"))


def _store_of(row: AnyRow, prefix: str) -> StoreRecord | None:
    values = {name: row._mapping[prefix + name] for name in _STORE_COLUMNS}
    return StoreRecord(**values) if values["store_id"] is not None else None


SELECT_JOB = sa.select(*(jobs.c[field.name] for field in fields(Job)))
SELECT_JOB_SUMMARY = sa.select(*(jobs.c[field.name] for field in fields(JobSummary)))


def as_job(row: AnyRow) -> Job:
    """Return the job of a row of SELECT_JOB."""
    return Job(**dict(row._mapping) | {"state": JobState(row._mapping["state"])})


def as_job_summary(row: AnyRow) -> JobSummary:
    """Return the job of a row of SELECT_JOB_SUMMARY."""
    return JobSummary(**dict(row._mapping) | {"state": JobState(row._mapping["state"])})


def new_generation(now: float, *, bulk: bool = False) -> dict[str, Any]:
    """Return the columns that queue a document as a new generation, beside the one that search sees.

    With `bulk`, it is queued behind documents that come one by one.
    """
    return REQUEUED | {"generation": documents.c.generation + 1, "queued_at": now, "bulk": bulk}


def batches(ids: Iterable[ItemT]) -> Iterator[list[ItemT]]:
    """Yield the ids (or other values) in lists that fit one statement."""
    iterator = iter(ids)
    while batch := list(itertools.islice(iterator, IDS_PER_STATEMENT)):
        yield batch


def checked(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return the condition in a form by which no plan finds rows, for rows that are found by their ids.

    Without statistics, SQLite takes an index of states to be narrower than a list of ids, and reads a whole queue.
    """
    return sa.case((condition, 1), else_=0) == 1


def before(
    connection: sa.Connection, table: sa.Table, after: str, *scope: sa.ColumnElement[bool]
) -> sa.ColumnElement[bool]:
    """Return the condition for the items that follow the item `after` in a list with the newest first.

    Raises:
        InvalidRequest: there is no such item in this scope.
    """
    cursor = connection.execute(sa.select(table.c.created_at).where(table.c.id == after, *scope)).scalar()
    if cursor is None:
        raise InvalidRequest(f"No item with the id {after!r} to continue after.", param="after")
    # As one comparison, which an index answers from its middle.
    return sa.tuple_(table.c.created_at, table.c.id) < sa.tuple_(cursor, after)


#: The order in which documents that wait have their turn.
IN_TURN = (documents.c.bulk, documents.c.created_at, documents.c.id)


def newest_first(table: sa.Table) -> Sequence[sa.ColumnElement[Any]]:
    return (table.c.created_at.desc(), table.c.id.desc())


def newest_ids(
    connection: sa.Connection, table: sa.Table, scopes: Iterable[Sequence[sa.ColumnElement[bool]]], limit: int
) -> list[str]:
    """Return the ids of the newest rows in any of these scopes.

    Each scope is asked for by itself, because its rows lie in an index in this order.
    """
    query = sa.select(table.c.created_at, table.c.id).order_by(*newest_first(table)).limit(limit)
    found = [row for scope in scopes for row in connection.execute(query.where(*scope))]
    return [row.id for row in heapq.nlargest(limit, found, key=lambda row: (row.created_at, row.id))]


def made_by(table: sa.Table, reach: Reach) -> Sequence[sa.ColumnElement[bool]]:
    """Return the conditions for the rows that an owner made, none for the rows of all owners."""
    return () if reach.owner is None else (table.c.owner == reach.owner,)


def page_of(rows: Sequence[Any], limit: int) -> Page[Any]:
    """Return a page made of up to `limit + 1` rows: the extra row says that there are more."""
    return Page(list(rows[:limit]), len(rows) > limit)


def clean(text: str) -> str:
    """Return the text without NULs and lone surrogates, which not every database stores."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode()
