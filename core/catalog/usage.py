"""Usage: requests and tokens of each key on each day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.rows import page_of
from core.catalog.tables import usage
from core.catalog.types import Page
from core.usage import USAGE_RETENTION_DAYS, DailyUsage, iso_day

_COUNTS = ("requests", "prompt_tokens", "completion_tokens")
_SELECT = sa.select(*(usage.c[field.name] for field in fields(DailyUsage)))


class UsageQueries(MigratedDatabase):
    """The part of the catalog about usage."""

    def add_usage(self, counts: Sequence[DailyUsage]) -> None:
        """Add counts to those of their days and keys."""
        # In one order, so that on PostgreSQL two processes that write the same rows do not lock each other out.
        ordered = sorted(counts, key=lambda one: (one.day, one.owner, one.key))

        def add(connection: sa.Connection) -> None:
            for one in ordered:
                _add(connection, one)

        self._write_retried(add)

    def tokens_of_day(self, owner: str, key: str) -> int:
        """Return the tokens that a key has used today, in UTC, as far as they have been written."""
        total = sa.func.sum(usage.c.prompt_tokens + usage.c.completion_tokens)
        query = sa.select(total).where(usage.c.day == iso_day(self._now()), usage.c.owner == owner, usage.c.key == key)
        with self._read() as connection:
            return int(connection.execute(query).scalar_one() or 0)

    def list_usage(
        self,
        *,
        owner: str | None = None,
        key: str | None = None,
        first_day: str | None = None,
        last_day: str | None = None,
        limit: int = 100,
        after: tuple[str, str, str] | None = None,
    ) -> Page[DailyUsage]:
        """Return the usage of all owners, one owner or one key, the last day first.

        Args:
            after: the day, the owner and the key of the row that the page follows.
        """
        conditions = [
            *([usage.c.owner == owner] if owner is not None else []),
            *([usage.c.key == key] if key is not None else []),
            *([usage.c.day >= first_day] if first_day is not None else []),
            *([usage.c.day <= last_day] if last_day is not None else []),
        ]
        order = (usage.c.day, usage.c.owner, usage.c.key)
        if after is not None:
            conditions.append(sa.tuple_(*order) < sa.tuple_(*after))
        query = _SELECT.where(*conditions).order_by(*(column.desc() for column in order)).limit(limit + 1)
        with self._read() as connection:
            return page_of([DailyUsage(**row._mapping) for row in connection.execute(query)], limit)

    def purge_usage(self) -> int:
        """Remove the counts of days more than USAGE_RETENTION_DAYS ago. Return the number of rows."""
        oldest = iso_day(self._now() - USAGE_RETENTION_DAYS * 86400)
        with self._write() as connection:
            return connection.execute(sa.delete(usage).where(usage.c.day < oldest)).rowcount


def _add(connection: sa.Connection, one: DailyUsage) -> None:
    same = (usage.c.day == one.day, usage.c.owner == one.owner, usage.c.key == one.key)
    added = {name: usage.c[name] + getattr(one, name) for name in _COUNTS}
    if connection.execute(sa.update(usage).where(*same).values(**added)).rowcount == 0:
        connection.execute(sa.insert(usage).values(**{field.name: getattr(one, field.name) for field in fields(one)}))
