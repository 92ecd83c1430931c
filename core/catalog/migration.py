"""Creating and upgrading the tables, safely while other processes do the same."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from core.catalog.engine import WRITES, Database

#: The newest revision in migrations/versions; a test checks that it is. With it, a process that starts on an
#: up-to-date catalog does not have to import Alembic.
HEAD_REVISION = "0012"
SCRIPTS = Path(__file__).parent / "migrations"
#: The keys of the PostgreSQL advisory locks: short names as numbers.
_ADVISORY_LOCKS = {"migrate": int.from_bytes(b"llmapi", "big"), "stores": int.from_bytes(b"llmstore", "big")}


class MigratedDatabase(Database):
    """A database that can create and upgrade its tables."""

    def migrate(self) -> None:
        """Create or upgrade the tables. Any number of processes may call this at once, any number of times."""
        if self._revision() == HEAD_REVISION:
            return
        with self.exclusively("migrate"):
            if self._revision() != HEAD_REVISION:
                self._upgrade()

    def _revision(self) -> str | None:
        with self._read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def _upgrade(self) -> None:
        from alembic import command  # imported here because it takes a tenth of a second, which most starts can save
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        if self.is_sqlite:
            self._use_wal()
        with self._write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def _use_wal(self) -> None:
        connection = self._engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()

    @contextmanager
    def exclusively(self, purpose: Literal["migrate", "stores"]) -> Iterator[None]:
        """Hold a lock that one process at a time has, of all that use this database. It ends with the process."""
        if not self.is_sqlite:
            with self._engine.connect().execution_options(**{WRITES: True}) as connection:
                # The lock belongs to the connection and ends with it.
                key = _ADVISORY_LOCKS[purpose]
                connection.execute(sa.select(sa.func.pg_advisory_lock(key)))
                try:
                    yield
                finally:
                    connection.execute(sa.select(sa.func.pg_advisory_unlock(key)))
            return
        with Path(f"{self._url.database}.{purpose}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
