"""Rename `kept_out` to `ignored`: the file of a document that was deleted over the API is ignored until it changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _rename("kept_out", "ignored")


def downgrade() -> None:
    _rename("ignored", "kept_out")


def _rename(old: str, new: str) -> None:
    op.drop_index(f"documents_{old}", "documents")
    # In SQL, because SQLite can rename a column, but Alembic would copy the whole table there.
    op.execute(f"ALTER TABLE documents RENAME COLUMN {old} TO {new}")
    is_set = sa.column(new, sa.Boolean).is_(True)
    op.create_index(f"documents_{new}", "documents", ["root", "path"], sqlite_where=is_set, postgresql_where=is_set)
