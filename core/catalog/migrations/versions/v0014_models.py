"""Add the model of a job, and what is wanted of each language model."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("model", sa.String(80), nullable=False, server_default=""))
    op.create_table(
        "model_wishes",
        sa.Column("model", sa.String(80), primary_key=True),
        sa.Column("wanted_at", sa.Double),
        sa.Column("unwanted_at", sa.Double),
        sa.Column("is_default", sa.Boolean, nullable=False, server_default=sa.false()),
    )


def downgrade() -> None:
    op.drop_table("model_wishes")
    op.drop_column("jobs", "model")
