"""API keys: of each, the hash, and what its bearer may do."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.rows import AnyRow, before, newest_first, page_of
from core.catalog.tables import keys
from core.catalog.types import Page
from core.errors import Conflict, NotFound
from core.ids import new_id
from core.keys import ApiKey, KeyRights, Scope

#: Keys that the catalog holds, with those that have been revoked or have expired.
MAX_KEYS = 10_000
#: The last use of a key is written at most this often.
LAST_USE_SECONDS = 600.0
#: How long keys are kept that have been revoked or have expired.
ENDED_KEY_RETENTION_SECONDS = 400 * 86400.0

_SELECT = sa.select(*(keys.c[field.name] for field in fields(ApiKey)))
#: When a key has been revoked or has expired; NULL: neither.
_ENDED_AT = sa.func.coalesce(keys.c.revoked_at, keys.c.expires_at)


class KeyQueries(MigratedDatabase):
    """The part of the catalog about API keys."""

    def create_key(self, digest: bytes, rights: KeyRights) -> ApiKey:
        """Record a new key by its hash.

        Raises:
            Conflict: there are MAX_KEYS keys.
        """
        values = asdict(rights) | {"id": new_id("key"), "created_at": self._now(), "hash": digest.hex()}
        with self._write() as connection:
            if connection.execute(sa.select(sa.func.count()).select_from(keys)).scalar_one() >= MAX_KEYS:
                raise Conflict(
                    f"There are {MAX_KEYS:,} keys, and no more can be kept. Those that have ended are removed after "
                    f"{ENDED_KEY_RETENTION_SECONDS / 86400:.0f} days."
                )
            connection.execute(sa.insert(keys).values(**values))
            return _fetch(connection, values["id"])

    def find_key(self, digest: bytes) -> ApiKey | None:
        """Return the key with this hash, or None. It may have been revoked or have expired."""
        with self._read() as connection:
            row = connection.execute(_SELECT.where(keys.c.hash == digest.hex())).one_or_none()
            return None if row is None else _as_key(row)

    def get_key(self, key_id: str) -> ApiKey:
        """Return the key. Raise NotFound if there is none."""
        with self._read() as connection:
            return _fetch(connection, key_id)

    def list_keys(self, limit: int = 20, after: str | None = None) -> Page[ApiKey]:
        """Return keys, the newest first. Raise InvalidRequest if there is no key with the id `after`."""
        query = _SELECT.order_by(*newest_first(keys)).limit(limit + 1)
        with self._read() as connection:
            if after is not None:
                query = query.where(before(connection, keys, after))
            return page_of([_as_key(row) for row in connection.execute(query)], limit)

    def has_keys(self) -> bool:
        """Return whether there is or was a key: the end of the last one must not open the server to everyone.

        A catalog without tables has none.
        """
        with self._read() as connection:
            if not sa.inspect(connection).has_table(keys.name):
                return False
            return connection.execute(sa.select(keys.c.id).limit(1)).one_or_none() is not None

    def revoke_key(self, key_id: str) -> ApiKey:
        """Revoke a key for good. Idempotent. Raise NotFound if there is none."""
        revoked_at = sa.func.coalesce(keys.c.revoked_at, self._now())
        with self._write() as connection:
            connection.execute(sa.update(keys).where(keys.c.id == key_id).values(revoked_at=revoked_at))
            return _fetch(connection, key_id)

    def record_key_use(self, key: ApiKey) -> None:
        """Record that a key is used now, unless that has been recorded in the last LAST_USE_SECONDS."""
        now = self._now()
        if key.last_used_at is None or now - key.last_used_at >= LAST_USE_SECONDS:
            with self._write() as connection:
                connection.execute(sa.update(keys).where(keys.c.id == key.id).values(last_used_at=now))

    def purge_keys(self) -> int:
        """Remove keys that ended ENDED_KEY_RETENTION_SECONDS ago. Return their number.

        The newest key is kept, so that `has_keys` stays true.
        """
        newest = sa.select(keys.c.id).order_by(*newest_first(keys)).limit(1).scalar_subquery()
        is_over = self._now() - ENDED_KEY_RETENTION_SECONDS > _ENDED_AT
        with self._write() as connection:
            return connection.execute(sa.delete(keys).where(is_over, keys.c.id != newest)).rowcount


def _fetch(connection: sa.Connection, key_id: str) -> ApiKey:
    row = connection.execute(_SELECT.where(keys.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(f"No key with the id {key_id!r}.", param="key_id")
    return _as_key(row)


def _as_key(row: AnyRow) -> ApiKey:
    values: dict[str, Any] = dict(row._mapping)
    values["scopes"] = tuple(Scope(scope) for scope in values["scopes"])
    for name in ("collections", "models"):
        values[name] = None if values[name] is None else tuple(values[name])
    return ApiKey(**values)
