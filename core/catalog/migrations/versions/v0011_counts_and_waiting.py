"""Keep counts of documents, find what waits by small indexes, and number the placements of collections.

The counts are kept by triggers, so that no writer can forget them. In SQLite, which has one writer at a time, they change
the row of a count. In PostgreSQL, transactions that changed one row would wait for each other: there each statement adds
rows of its own, which `ProgressQueries.compact_counts` adds up.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None

_WAITING = "state NOT IN ('completed', 'failed', 'cancelled', 'deleted')"
_COUNTED = ("collection_id", "state", "generation", "active_generation", "error", "error_code")
_SUMMED = ("chunk_count", "size_bytes")
_KEYS = ("collection_id", "state", "search", "error_code", "error")


def upgrade() -> None:
    _add_columns()
    _number_placements()
    _index_documents()
    _index_jobs()
    _create_counts()


def downgrade() -> None:
    _drop_triggers()
    op.drop_table("document_counts")
    for table, names in _NEW_INDEXES.items():
        for name in names:
            op.drop_index(name, table)
    op.create_index("documents_by_age", "documents", ["created_at", "id"])
    op.create_index("documents_by_collection", "documents", ["collection_id", "created_at", "id"])
    op.add_column("documents", sa.Column("next_generation", sa.Integer))
    op.execute(
        "UPDATE documents SET next_generation = active_generation WHERE placement = "
        "(SELECT placement FROM collections WHERE id = collection_id AND next_store IS NOT NULL)"
    )
    for column in ("bulk", "chunks_missing", "placement"):
        op.drop_column("documents", column)
    op.drop_column("collections", "placement")


_NEW_INDEXES = {
    "documents": (
        "documents_waiting",
        "documents_by_collection",
        "documents_by_placement",
        "documents_tombstones",
    ),
    "jobs": ("jobs_unfinished", "jobs_ended"),
}


def _add_columns() -> None:
    op.add_column("documents", sa.Column("bulk", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("documents", sa.Column("chunks_missing", sa.Integer, nullable=False, server_default="0"))
    op.add_column("documents", sa.Column("placement", sa.Integer, nullable=False, server_default="0"))
    op.add_column("collections", sa.Column("placement", sa.Integer, nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "postgresql":
        # Paths are found by the first part of them, so they have to be sorted by their bytes, as in SQLite.
        op.execute('ALTER TABLE documents ALTER COLUMN path TYPE TEXT COLLATE "C"')


def _number_placements() -> None:
    """Give documents that the next store of their collection has already the number of its newest placement."""
    op.execute("UPDATE collections SET placement = 1 WHERE next_store IS NOT NULL")
    op.execute("UPDATE documents SET placement = 1 WHERE next_generation = active_generation")
    op.drop_column("documents", "next_generation")


def _index_documents() -> None:
    op.drop_index("documents_by_age", "documents")
    op.drop_index("documents_by_collection", "documents")
    op.create_index("documents_by_collection", "documents", ["collection_id", "state", "created_at", "id"])
    _partial_index("documents_waiting", "documents", ["state", "bulk", "created_at", "id"], _WAITING)
    searchable = "active_generation IS NOT NULL"
    _partial_index("documents_by_placement", "documents", ["collection_id", "placement", "state"], searchable)
    _partial_index("documents_tombstones", "documents", ["ignored", "updated_at"], "state = 'deleted'")


def _index_jobs() -> None:
    _partial_index("jobs_unfinished", "jobs", ["created_at", "id"], "state NOT IN ('completed', 'failed', 'cancelled')")
    _partial_index("jobs_ended", "jobs", ["finished_at"], "finished_at IS NOT NULL")


def _partial_index(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)


def _create_counts() -> None:
    op.create_table(
        "document_counts",
        sa.Column("collection_id", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("search", sa.Integer, nullable=False),
        sa.Column("error_code", sa.String(64), nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("chunks", sa.BigInteger, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("document_counts_by_state", "document_counts", ["collection_id", "state"])
    op.execute(
        f"INSERT INTO document_counts ({', '.join(_KEYS)}, number, chunks, size_bytes) "  # noqa: S608
        f"SELECT {_keys('documents')}, COUNT(*), SUM(chunk_count), SUM(size_bytes) FROM documents GROUP BY 1, 2, 3, 4, 5"
    )
    for statement in _POSTGRESQL if op.get_bind().dialect.name == "postgresql" else _SQLITE:
        op.execute(statement)


def _key_values(row: str) -> list[str]:
    """Return the expressions of `_KEYS` for a row. `search`: 0 without an active generation, 1 with the newest, 2 old."""
    has_ended = f"CASE WHEN {row}.state IN ('failed', 'cancelled')"
    return [
        f"{row}.collection_id",
        f"{row}.state",
        f"CASE WHEN {row}.active_generation IS NULL THEN 0 "
        f"WHEN {row}.active_generation = {row}.generation THEN 1 ELSE 2 END",
        f"{has_ended} THEN COALESCE({row}.error_code, '') ELSE '' END",
        f"{has_ended} THEN COALESCE({row}.error, '') ELSE '' END",
    ]


def _keys(row: str) -> str:
    return ", ".join(_key_values(row))


def _count(row: str, sign: str) -> str:
    """Return SQLite's statements that count a row (with "+") or no longer count it (with "-")."""
    same = " AND ".join(f"{name} = {value}" for name, value in zip(_KEYS, _key_values(row), strict=True))
    added = f"number = number {sign} 1, chunks = chunks {sign} {row}.chunk_count, "
    added += f"size_bytes = size_bytes {sign} {row}.size_bytes"
    values = f"{_keys(row)}, {sign}1, {sign}{row}.chunk_count, {sign}{row}.size_bytes"
    return (
        f"UPDATE document_counts SET {added} WHERE {same}; "  # noqa: S608
        f"INSERT INTO document_counts ({', '.join(_KEYS)}, number, chunks, size_bytes) "
        f"SELECT {values} WHERE changes() = 0;"
    )


_CHANGED = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in (*_COUNTED, *_SUMMED))
_SQLITE = (
    f"CREATE TRIGGER documents_counted_insert AFTER INSERT ON documents BEGIN {_count('NEW', '+')} END",
    f"CREATE TRIGGER documents_counted_delete AFTER DELETE ON documents BEGIN {_count('OLD', '-')} END",
    f"CREATE TRIGGER documents_counted_update AFTER UPDATE OF {', '.join((*_COUNTED, *_SUMMED))} ON documents "
    f"WHEN {_CHANGED} BEGIN {_count('OLD', '-')} {_count('NEW', '+')} END",
)


def _selected(table: str, sign: str) -> str:
    return f"SELECT {_keys('one')}, {sign}1, {sign}chunk_count, {sign}size_bytes FROM {table} AS one"  # noqa: S608


def _function(operation: str, *selects: str) -> str:
    """Return PostgreSQL's function that counts what one statement has changed. Rows that count as before cancel out."""
    names = ", ".join((*_KEYS, "number", "chunks", "size_bytes"))
    return (
        f"CREATE FUNCTION count_documents_{operation}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "  # noqa: S608
        f"INSERT INTO document_counts ({names}) SELECT {', '.join(_KEYS)}, SUM(number), SUM(chunks), SUM(size_bytes) "
        f"FROM ({' UNION ALL '.join(selects)}) AS change ({names}) GROUP BY {', '.join(_KEYS)} "
        "HAVING SUM(number) <> 0 OR SUM(chunks) <> 0 OR SUM(size_bytes) <> 0; RETURN NULL; END $$"
    )


def _trigger(operation: str, tables: str) -> str:
    return (
        f"CREATE TRIGGER documents_counted_{operation} AFTER {operation.upper()} ON documents REFERENCING {tables} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION count_documents_{operation}()"
    )


_POSTGRESQL = (
    _function("insert", _selected("added", "+")),
    _trigger("insert", "NEW TABLE AS added"),
    _function("delete", _selected("removed", "-")),
    _trigger("delete", "OLD TABLE AS removed"),
    _function("update", _selected("added", "+"), _selected("removed", "-")),
    _trigger("update", "NEW TABLE AS added OLD TABLE AS removed"),
)


def _drop_triggers() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for operation in ("insert", "delete", "update"):
        op.execute(f"DROP TRIGGER documents_counted_{operation}" + (" ON documents" if is_postgresql else ""))
        if is_postgresql:
            op.execute(f"DROP FUNCTION count_documents_{operation}()")
