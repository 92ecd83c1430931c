"""Add an index of documents by name, and record which documents the next embedding model has."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("documents_by_name", "documents", ["collection_id", "path"])
    op.add_column("documents", sa.Column("next_generation", sa.Integer))
    op.add_column("stores", sa.Column("model_source", sa.Text))


def downgrade() -> None:
    op.drop_column("stores", "model_source")
    op.drop_column("documents", "next_generation")
    op.drop_index("documents_by_name", "documents")
