"""Creating and upgrading the tables, safely while other processes do the same."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from core.catalog.copies import copy_before_upgrade
from core.catalog.engine import WRITES, Database
from core.errors import ConfigurationError
from core.release import release

log = logging.getLogger(__name__)

#: The newest revision in migrations/versions; a test checks that it is. With it, a process that starts on an
#: up-to-date catalog does not have to import Alembic.
HEAD_REVISION = "0017"
SCRIPTS = Path(__file__).parent / "migrations"
#: The keys of the PostgreSQL advisory locks: short names as numbers.
_ADVISORY_LOCKS = {"migrate": int.from_bytes(b"llmapi", "big"), "stores": int.from_bytes(b"llmstore", "big")}


def known_revisions() -> list[str]:
    """Return the revisions of the tables that this release knows, the oldest first."""
    return sorted(path.name[1:5] for path in (SCRIPTS / "versions").glob("v[0-9]*.py"))


class MigratedDatabase(Database):
    """A database that can create and upgrade its tables."""

    def migrate(self) -> None:
        """Create or upgrade the tables. Any number of processes may call this at once, any number of times.

        A SQLite catalog is copied before its upgrade.

        Raises:
            ConfigurationError: a newer release has upgraded the catalog.
            StorageFull: there is no room for the copy.
        """
        if not self.needs_migration():
            return
        with self.exclusively("migrate"):
            revision = self._known_revision()
            if revision == HEAD_REVISION:
                return
            if revision is not None:
                copy = self._copy(revision)
                log.warning(
                    "the catalog is upgraded from revision %s to %s; its copy: %s",
                    revision,
                    HEAD_REVISION,
                    copy or "none",
                )
            self._run_alembic("upgrade", "head")

    def downgrade(self, revision: str) -> Path | None:
        """Change the tables back to those of an older revision, for its release. Return the copy made of a SQLite one.

        What the newer columns and tables hold is lost. Nothing else may use the catalog.

        Raises:
            ConfigurationError: there is no such revision, it is not older, or a newer release has upgraded the catalog.
            StorageFull: there is no room for the copy.
        """
        with self.exclusively("migrate"):
            present = self._known_revision()
            known = known_revisions()
            if present is None or revision not in known or revision >= present:
                older = ", ".join(one for one in known if present is not None and one < present) or "none"
                raise ConfigurationError(
                    f"The catalog is of revision {present}, so {revision!r} is no revision to go back to: {older} are."
                )
            copy = self._copy(present)
            self._run_alembic("downgrade", revision)
            return copy

    def needs_migration(self) -> bool:
        """Return whether `migrate` has something to do. Raise ConfigurationError if a newer release has upgraded it."""
        return self._known_revision() != HEAD_REVISION

    def _known_revision(self) -> str | None:
        """Return the revision of the tables, or None if there are none yet."""
        revision = self._revision()
        if revision is not None and revision > HEAD_REVISION:
            raise ConfigurationError(
                f"The catalog {self._url.render_as_string()} is of revision {revision}, but this release of llm-api "
                f"({release()}) knows only revisions up to {HEAD_REVISION}: a newer release has upgraded it. Start "
                "that release again, or restore a copy of the catalog from before the upgrade: see "
                "docs/backup-and-upgrade.md."
            )
        return revision

    def _copy(self, revision: str) -> Path | None:
        """Copy a SQLite catalog. The backup of a PostgreSQL database is its operator's, with pg_dump."""
        return copy_before_upgrade(Path(str(self._url.database)), revision) if self.is_sqlite else None

    def _revision(self) -> str | None:
        with self._read() as connection:
            if not sa.inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()

    def _run_alembic(self, direction: Literal["upgrade", "downgrade"], revision: str) -> None:
        from alembic import command  # imported here because it takes a tenth of a second, which most starts can save
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        if self.is_sqlite:
            self._use_wal()
        with self._write() as connection:
            config.attributes["connection"] = connection
            getattr(command, direction)(config, revision)

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
