"""Give each collection a store and an embedding model of its own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("collections", sa.Column("model_choice", sa.Text))
    op.add_column("collections", sa.Column("store", sa.Integer))
    op.add_column("collections", sa.Column("next_store", sa.Integer))
    # Until now, row 1 was the store of all collections, and row 2, if there was one, the next store of all of them.
    op.execute("UPDATE collections SET store = (SELECT id FROM stores WHERE id = 1)")
    op.execute("UPDATE collections SET next_store = (SELECT id FROM stores WHERE id = 2)")
    for name in ("store_id", "embedding_model", "dimension"):
        op.drop_column("collections", name)
    # Stores now update the format of their points by themselves.
    op.drop_column("stores", "payload_format")


def downgrade() -> None:
    op.add_column("stores", sa.Column("payload_format", sa.Integer, nullable=False, server_default="1"))
    for column in (
        sa.Column("store_id", sa.Text),
        sa.Column("embedding_model", sa.Text),
        sa.Column("dimension", sa.Integer),
    ):
        op.add_column("collections", column)
    for name in ("model_choice", "store", "next_store"):
        op.drop_column("collections", name)
