"""Nothing that runs again and again reads all rows of a table that grows with history, or sorts them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from core.catalog import (
    Catalog,
    Claim,
    Document,
    DocumentState,
    Indexed,
    JobState,
    NewDocument,
    Refused,
    Source,
    StoreRecord,
)
from core.keys import Reach
from tests.support import migrated_catalog

PARSE: dict[str, Any] = {"expected": DocumentState.QUEUED, "claimed": DocumentState.PARSING}
INDEX: dict[str, Any] = {"expected": DocumentState.PARSED, "claimed": DocumentState.INDEXING}
DELETE: dict[str, Any] = {"expected": DocumentState.DELETING, "claimed": DocumentState.DELETING}
HASH = "a" * 64


def many(document: Document) -> list[str]:
    """Return as many ids as make a plan prefer an index of states, if it may."""
    return [document.id, *(f"doc-{number}" for number in range(100))]


def claims(document: Document) -> list[Claim]:
    return [Claim(replace(document, id=key), 1) for key in many(document)]


#: Calls of processes that have nothing to do, and of routes that list.
CALLS: dict[str, Callable[[Catalog, Document], object]] = {
    "counts": lambda catalog, _: catalog.counts_by_state(),
    "coverage": lambda catalog, _: catalog.coverage("default"),
    "compact counts": lambda catalog, _: catalog.compact_counts(),
    "work for the indexer": lambda catalog, _: catalog.has_work_for_indexer(tombstones_older_than_seconds=1),
    "documents to send": lambda catalog, _: catalog.dispatchable(10),
    "claim to parse": lambda catalog, _: catalog.claim_next("w", **PARSE, limit=10),
    "claim to index": lambda catalog, _: catalog.claim_next("w", **INDEX, limit=10),
    "claim short ones": lambda catalog, _: catalog.claim_next("w", **INDEX, limit=10, max_chunks=64),
    "claim to delete": lambda catalog, _: catalog.claim_next("w", **DELETE, limit=10),
    "moved documents": lambda catalog, _: catalog.moved_documents(10),
    "tombstones": lambda catalog, _: catalog.tombstones(10, older_than_seconds=1),
    "purge collections": lambda catalog, _: catalog.purge_collections(),
    "queue for a move": lambda catalog, _: catalog.queue_for_next(10),
    "outdated documents": lambda catalog, _: catalog.outdated_count(),
    "queue outdated documents": lambda catalog, _: catalog.queue_outdated(10),
    "finish a move": lambda catalog, one: catalog.finish_move(catalog.get_collection(one.collection).id),
    "list documents": lambda catalog, _: catalog.list_documents(),
    "list of a state": lambda catalog, _: catalog.list_documents(state=DocumentState.FAILED),
    "list of a collection": lambda catalog, one: catalog.list_documents(collection="default", after=one.id),
    "list of both": lambda catalog, _: catalog.list_documents(collection="default", state=DocumentState.FAILED),
    "place in the queue": lambda catalog, one: catalog.waiting_before(one),
    "files of a folder": lambda catalog, _: list(catalog.mirrored_files("/inbox", "a")),
    "ignored files": lambda catalog, _: catalog.find_ignored_files("/inbox", paths=["a.txt"], inodes=[1]),
    "documents of a folder": lambda catalog, _: catalog.has_in_root("/inbox", 5),
    "search": lambda catalog, one: catalog.active_generations([one.id]),
    "list jobs": lambda catalog, _: catalog.list_jobs(),
    "list jobs after": lambda catalog, _: catalog.list_jobs(after="job-1"),
    "jobs of an owner": lambda catalog, _: catalog.list_jobs(after="job-1", reach=Reach("default")),
    "jobs of a limited key": lambda catalog, _: catalog.list_jobs(reach=Reach("default", ("a",))),
    "unfinished jobs of an owner": lambda catalog, _: catalog.unfinished_job_count("default"),
    "bytes of an owner": lambda catalog, _: catalog.job_bytes("default"),
    "list of some collections": lambda catalog, _: catalog.list_documents(reach=Reach("default", ("a", "default"))),
    "jobs after": lambda catalog, _: catalog.unfinished_jobs(10, after=catalog.get_job("job-1")),
    "list jobs of a state": lambda catalog, _: catalog.list_jobs(state=JobState.FAILED),
    "unfinished jobs": lambda catalog, _: catalog.unfinished_jobs(10),
    "purge jobs": lambda catalog, _: catalog.purge_jobs(10),
    "delete of one": lambda catalog, one: catalog.delete_document(one.id),
    "delete of many": lambda catalog, one: catalog.delete_documents(many(one)),
    "message of many": lambda catalog, one: catalog.mark_dispatched(many(one)),
    "message taken back": lambda catalog, one: catalog.recall_dispatched(many(one)),
    "claim of many": lambda catalog, one: catalog.claim_all(many(one), "w", **PARSE),
    "end of parsing": lambda catalog, one: catalog.end_parsing([Refused(claim, "no") for claim in claims(one)]),
    "end of indexing": lambda catalog, one: catalog.activate_all([Indexed(claim, 1) for claim in claims(one)]),
    "end of deletion": lambda catalog, one: catalog.finish_deletes(claims(one)),
    "purge of many": lambda catalog, one: catalog.purge_deleted(many(one)),
    "search of many": lambda catalog, one: catalog.active_generations(many(one)),
    "unsettled among many": lambda catalog, one: catalog.has_unsettled(many(one)),
    "cancel of all": lambda catalog, _: catalog.cancel_unsettled("default"),
    "other chunks": lambda catalog, _: catalog.update_collection("default", {"chunk_tokens": 50}),
    "delete of all": lambda catalog, _: catalog.delete_collection("default"),
}


@pytest.fixture
def sqlite_catalog(tmp_path: Path) -> Iterator[Catalog]:
    catalog = migrated_catalog(tmp_path / "catalog.sqlite3")
    yield catalog
    catalog.close()


@contextmanager
def plans(catalog: Catalog) -> Iterator[list[tuple[str, str]]]:
    """Collect all statements that are executed, each with each step of its plan."""
    statements: list[tuple[str, Any]] = []
    found: list[tuple[str, str]] = []

    def collect(connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.split()[0] in ("SELECT", "UPDATE", "DELETE"):
            statements.append((statement, parameters[0] if many else parameters))

    event.listen(catalog._engine, "before_cursor_execute", collect)
    yield found
    event.remove(catalog._engine, "before_cursor_execute", collect)
    with catalog._read() as connection:
        for statement, parameters in statements:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            found += [(statement, row.detail) for row in rows]


@pytest.mark.parametrize("name", CALLS)
def test_a_call_follows_indexes(sqlite_catalog: Catalog, name: str) -> None:
    catalog = sqlite_catalog
    stat = {"root": "/inbox", "path": "a.txt", "mtime_ns": 1, "inode": 1}
    document = catalog.add_document(NewDocument("default", "a.txt", Source.WATCH, HASH, 1, **stat))
    catalog.create_job("job-1", "chat", "/", "{}")
    catalog.begin_move(catalog.get_collection("default").id, StoreRecord("store-1", "minilm", 384))
    with plans(catalog) as planned:
        CALLS[name](catalog, document)
    steps = [step for _, step in planned]
    assert steps
    searches = [step for statement, step in planned if "documents.id IN" in statement and "SEARCH documents" in step]
    assert [step for step in searches if "sqlite_autoindex_documents_1 (id=?)" not in step] == []
    # A page of a list follows an index from its end, and an index of few rows may be read whole.
    allowed = ("jobs_unfinished", "jobs_by_age") if name == "list jobs" else ("jobs_unfinished",)
    scans = [step for step in steps if step.startswith(("SCAN documents", "SCAN jobs"))]
    assert [step for step in scans if not step.endswith(allowed)] == []
    assert not [step for step in steps if "TEMP B-TREE" in step and "GROUP BY" not in step], steps
