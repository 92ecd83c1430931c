"""Record the format of the chunks of each document, and find those of an older one by a small index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_OUTDATED = sa.text("chunk_format < 2")


def upgrade() -> None:
    op.add_column("documents", sa.Column("chunk_format", sa.Integer, nullable=False, server_default="1"))
    op.create_index("documents_outdated", "documents", ["state"], sqlite_where=_OUTDATED, postgresql_where=_OUTDATED)


def downgrade() -> None:
    op.drop_index("documents_outdated", "documents")
    op.drop_column("documents", "chunk_format")
