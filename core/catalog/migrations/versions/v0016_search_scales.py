"""Add the weight of the cosine in searches of a collection, and what cosines an embedding model gives in a store."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_OF_STORES = ("cosine_floor", "score_threshold")


def upgrade() -> None:
    op.add_column("collections", sa.Column("dense_weight", sa.Double))
    for name in _OF_STORES:
        op.add_column("stores", sa.Column(name, sa.Double))
    op.add_column("stores", sa.Column("measured_points", sa.BigInteger))


def downgrade() -> None:
    for name in ("measured_points", *_OF_STORES):
        op.drop_column("stores", name)
    op.drop_column("collections", "dense_weight")
