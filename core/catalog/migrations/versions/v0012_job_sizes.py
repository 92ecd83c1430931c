"""Add the size of each asynchronous job, so that the size of all of them can be bounded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("size_bytes", sa.BigInteger, nullable=False, server_default="0"))
    op.execute("UPDATE jobs SET size_bytes = length(request) + coalesce(length(result), 0)")
    op.create_index("jobs_by_size", "jobs", ["size_bytes"])


def downgrade() -> None:
    op.drop_index("jobs_by_size", "jobs")
    op.drop_column("jobs", "size_bytes")
