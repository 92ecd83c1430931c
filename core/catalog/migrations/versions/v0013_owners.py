"""Add API keys, owners of jobs, documents and collections, and usage by owner, key and day.

What there is already belongs to the default owner.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("collections", "documents", "jobs"):
        op.add_column(table, sa.Column("owner", sa.Text, nullable=False, server_default="default"))
    op.add_column("jobs", sa.Column("collections", sa.Text))
    op.drop_index("jobs_by_size", "jobs")
    op.create_index("jobs_by_size", "jobs", ["owner", "size_bytes"])
    op.create_index("jobs_by_owner", "jobs", ["owner", "state", "created_at", "id"])
    _create_keys()
    _create_usage()


def downgrade() -> None:
    op.drop_table("usage")
    op.drop_table("keys")
    op.drop_index("jobs_by_owner", "jobs")
    op.drop_index("jobs_by_size", "jobs")
    op.create_index("jobs_by_size", "jobs", ["size_bytes"])
    op.drop_column("jobs", "collections")
    for table in ("jobs", "documents", "collections"):
        op.drop_column(table, "owner")


def _create_keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("scopes", sa.JSON, nullable=False),
        sa.Column("collections", sa.JSON(none_as_null=True)),
        sa.Column("models", sa.JSON(none_as_null=True)),
        sa.Column("requests_per_minute", sa.Integer),
        sa.Column("concurrent_requests", sa.Integer),
        sa.Column("tokens_per_day", sa.BigInteger),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double),
        sa.Column("revoked_at", sa.Double),
        sa.Column("last_used_at", sa.Double),
    )
    op.create_index("keys_by_hash", "keys", ["hash"], unique=True)
    op.create_index("keys_by_age", "keys", ["created_at", "id"])


def _create_usage() -> None:
    op.create_table(
        "usage",
        sa.Column("day", sa.String(10), primary_key=True),
        sa.Column("owner", sa.Text, primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False, server_default="0"),
    )
    op.create_index("usage_by_owner", "usage", ["owner", "day", "key"])
