"""Add what tells changes of watched files that keep size and modification time, and changes of web pages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("documents", sa.Column("ctime_ns", sa.BigInteger))
    op.create_table(
        "web_pages",
        sa.Column("root", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, primary_key=True),
        sa.Column("etag", sa.Text),
        sa.Column("last_modified", sa.Text),
    )


def downgrade() -> None:
    op.drop_table("web_pages")
    op.drop_column("documents", "ctime_ns")
