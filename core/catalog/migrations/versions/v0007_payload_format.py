"""Record the format of the payloads of points."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stores", sa.Column("payload_format", sa.Integer, nullable=False, server_default="1"))


def downgrade() -> None:
    op.drop_column("stores", "payload_format")
