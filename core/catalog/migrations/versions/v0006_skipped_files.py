"""Add the report of ignored files in watched folders."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("watched_folders", sa.Column("skipped", sa.JSON, nullable=False, server_default="{}"))
    op.create_table(
        "skipped_files",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("skipped_files_by_path", "skipped_files", ["root", "path"])


def downgrade() -> None:
    op.drop_table("skipped_files")
    op.drop_column("watched_folders", "skipped")
