"""Add settings of collections, and the progress of each document."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLLECTIONS = (
    sa.Column("point_key", sa.Text, nullable=False, server_default=""),
    sa.Column("chunk_tokens", sa.Integer),
    sa.Column("chunk_overlap_tokens", sa.Integer),
    sa.Column("deleted_at", sa.Double),
)
_DOCUMENTS = (
    sa.Column("error_code", sa.String(64)),
    sa.Column("chunks_indexed", sa.Integer, nullable=False, server_default="0"),
    sa.Column("chunks_embedded", sa.Integer, nullable=False, server_default="0"),
    sa.Column("queued_at", sa.Double),
    sa.Column("parsing_at", sa.Double),
    sa.Column("parsed_at", sa.Double),
    sa.Column("indexing_at", sa.Double),
    sa.Column("ended_at", sa.Double),
)


def upgrade() -> None:
    for column in _COLLECTIONS:
        op.add_column("collections", column.copy())
    for column in _DOCUMENTS:
        op.add_column("documents", column.copy())
    # Existing points carry the name of their collection.
    op.execute("UPDATE collections SET point_key = name")


def downgrade() -> None:
    for column in _DOCUMENTS:
        op.drop_column("documents", column.name)
    for column in _COLLECTIONS:
        op.drop_column("collections", column.name)
