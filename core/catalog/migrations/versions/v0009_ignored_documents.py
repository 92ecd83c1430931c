"""The column that says a watched file is ignored after its document was deleted gets the name of what it means."""

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
    # In SQL, since Alembic would copy the whole table on SQLite, which renames columns itself.
    op.execute(f"ALTER TABLE documents RENAME COLUMN {old} TO {new}")
    is_set = sa.column(new, sa.Boolean).is_(True)
    op.create_index(f"documents_{new}", "documents", ["root", "path"], sqlite_where=is_set, postgresql_where=is_set)
