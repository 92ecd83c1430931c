"""Create the tables of collections, documents, jobs and vector stores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _create_collections()
    _create_documents()
    _index_documents()
    _create_jobs()


def downgrade() -> None:
    for table in ("jobs", "documents", "stores", "collections"):
        op.drop_table(table)


def _create_collections() -> None:
    op.create_table(
        "collections",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("store_id", sa.Text),
        sa.Column("embedding_model", sa.Text),
        sa.Column("dimension", sa.Integer),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "stores",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("store_id", sa.Text, nullable=False),
        sa.Column("embedding_model", sa.Text, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
    )


def _create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("collection_id", sa.String(64), sa.ForeignKey("collections.id"), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("root", sa.Text),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("active_generation", sa.Integer),
        sa.Column("chunk_count", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger),
        sa.Column("inode", sa.BigInteger),
        sa.Column("blob_key", sa.Text),
        sa.Column("media_type", sa.Text),
        sa.Column("attributes", sa.JSON, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("moved", sa.Boolean, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("dispatched_at", sa.Double),
        sa.Column("completed_at", sa.Double),
    )


def _index_documents() -> None:
    mirrored = sa.text("root IS NOT NULL AND state NOT IN ('deleting', 'deleted')")
    op.create_index("documents_by_state", "documents", ["state", "created_at", "id"])
    op.create_index("documents_by_age", "documents", ["created_at", "id"])
    op.create_index("documents_by_collection", "documents", ["collection_id", "created_at", "id"])
    op.create_index("documents_by_idempotency_key", "documents", ["idempotency_key"], unique=True)
    op.create_index("documents_by_hash", "documents", ["root", "content_hash"])
    op.create_index("documents_by_inode", "documents", ["root", "inode"])
    op.create_index(
        "documents_by_path",
        "documents",
        ["root", "path"],
        unique=True,
        sqlite_where=mirrored,
        postgresql_where=mirrored,
    )
    op.create_index(
        "documents_moved",
        "documents",
        ["moved"],
        sqlite_where=sa.text("moved IS 1"),
        postgresql_where=sa.text("moved IS true"),
    )


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("result", sa.Text),
        sa.Column("error", sa.Text),
        sa.Column("key", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
    )
    op.create_index("jobs_by_state", "jobs", ["state", "created_at", "id"])
    op.create_index("jobs_by_age", "jobs", ["created_at", "id"])
