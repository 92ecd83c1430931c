"""Add watched folders with their state, and mark deleted documents whose files are ignored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "watched_folders",
        sa.Column("root", sa.Text, primary_key=True),
        sa.Column("collection", sa.Text, nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("identity", sa.Text),
        sa.Column("document_count", sa.Integer, nullable=False),
        sa.Column("missing_count", sa.Integer, nullable=False),
        sa.Column("confirmed", sa.Boolean, nullable=False),
        sa.Column("changed_at", sa.Double, nullable=False),
    )
    kept_out = sa.Column("kept_out", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("documents", kept_out)
    is_kept_out = sa.column("kept_out", sa.Boolean).is_(True)
    op.create_index(
        "documents_kept_out",
        "documents",
        ["root", "path"],
        sqlite_where=is_kept_out,
        postgresql_where=is_kept_out,
    )


def downgrade() -> None:
    op.drop_index("documents_kept_out", "documents")
    op.drop_column("documents", "kept_out")
    op.drop_table("watched_folders")
