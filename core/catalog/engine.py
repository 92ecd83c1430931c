"""Connections and transactions: SQLite in WAL mode with `BEGIN IMMEDIATE` for each write, or PostgreSQL."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.catalog.changes import CHANGED, OnChange, new_changes, watch
from core.disk import is_disk_full
from core.errors import ConfigurationError, StorageFull, Unavailable
from core.redaction import redacted

log = logging.getLogger(__name__)

BUSY_TIMEOUT_MS = 5000
AnswerT = TypeVar("AnswerT")
NO_ANSWER = "The catalog (DATABASE_URL) does not answer. Try again in a moment; the server's log has the reason."
#: The execution option of transactions that write.
WRITES = "llm_api_writes"


class Database:
    """Read and write transactions on one engine. Thread-safe, and usable after a fork.

    `on_change` gets what each write transaction has changed, after its commit.
    """

    def __init__(
        self, database_url: str, clock: Callable[[], float] = time.time, on_change: OnChange | None = None
    ) -> None:
        self._url = _normalise(database_url)
        self._clock = clock
        self._engine = _create_engine(self._url)
        self._on_change = on_change
        if on_change is not None:
            watch(self._engine)
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        # SQLite's busy handler is unfair, so the threads of one process wait here and only processes compete in it.
        self._write_lock = threading.Lock()
        _reset_after_fork(self)

    def close(self) -> None:
        """Close the pooled connections; a later call opens new ones."""
        self._engine.dispose()

    def ping(self) -> None:
        """Raise Unavailable if the database does not answer."""
        with self._read() as connection:
            connection.execute(sa.select(1))

    def _now(self) -> float:
        return self._clock()

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        """Open a deferred transaction that sees one snapshot."""
        with self._translated_errors(), self._engine.connect() as connection:
            if not self.is_sqlite:
                # By default each statement has a snapshot of its own: a list that is read by several of them would have
                # a document twice, or not at all, whose state has changed between them.
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        """Open a transaction that holds the write lock from its first statement. Do no I/O inside.

        Raises:
            Unavailable: the database does not answer, or was locked for longer than 5 s.
        """
        changed = new_changes()
        with ExitStack() as stack:
            stack.enter_context(self._translated_errors())
            if self.is_sqlite:
                stack.enter_context(self._write_lock)
            connection = stack.enter_context(self._engine.connect())
            connection = connection.execution_options(**{WRITES: True, CHANGED: changed})
            stack.enter_context(connection.begin())
            yield connection
        if changed and self._on_change is not None:
            self._on_change(changed)

    def _write_retried(self, work: Callable[[sa.Connection], AnswerT]) -> AnswerT:
        """Do work in a write transaction, and once more if another process has just inserted the same row.

        That happens on PostgreSQL only. The second time, the work finds that row.
        """
        try:
            with self._write() as connection:
                return work(connection)
        except IntegrityError:
            with self._write() as connection:
                return work(connection)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (DBAPIError, sa.exc.TimeoutError) as error:
            # Any other error of the driver is a fault in one of our statements.
            if isinstance(error, DBAPIError) and not isinstance(error, sa.exc.OperationalError):
                raise
            cause = error.orig if isinstance(error, DBAPIError) else error
            if cause is not None and is_disk_full(cause):
                raise StorageFull("The catalog cannot be written: its disk is full.") from error
            # The driver names hosts and users. That is for the log, not for clients.
            log.warning("the catalog does not answer: %s", redacted(cause, self._url.password))
            raise Unavailable(NO_ANSWER, retry_after_seconds=1) from error


def _normalise(database_url: str) -> sa.URL:
    try:
        url = sa.make_url(database_url)
    except (sa.exc.ArgumentError, ValueError):
        # Their messages may quote a part of the password.
        raise ConfigurationError(
            "DATABASE_URL is not a SQLAlchemy URL, such as postgresql://user@host/name. In a password, write @ : / and "
            "other special characters as in a URL, for example @ as %40."
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"DATABASE_URL names {url.get_backend_name()}: it must be sqlite or postgresql")
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError("DATABASE_URL: several processes share the catalog, so SQLite needs a file")
    return url


def _create_engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "postgresql":
        return _engine(url, pool_size=8, max_overflow=24, pool_pre_ping=True, pool_timeout=5)
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = _engine(
        url,
        pool_size=8,
        max_overflow=56,
        pool_timeout=5,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "isolation_level": None, "check_same_thread": False},
    )
    event.listen(engine, "connect", _configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _engine(url: sa.URL, **options: Any) -> sa.Engine:
    try:
        # Parameters are hidden in errors, because they may be texts of users.
        return sa.create_engine(url, hide_parameters=True, **options)
    except (sa.exc.ArgumentError, ImportError):
        raise ConfigurationError(
            f"DATABASE_URL names the driver {url.drivername}: it must be sqlite or postgresql+psycopg"
        ) from None


def _configure_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The journal mode is not set here: it is stored in the file, and `migrate` sets it under its lock, because
    # switching it does not wait for other connections.
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    # The driver's own deferred BEGIN fails with "locked" when a reader becomes a writer, so take the write lock first.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _reset_after_fork(database: Database) -> None:
    """Make forked children drop the inherited connections without closing them: the parent still uses them."""
    _databases.add(database)


def _forget_connections() -> None:
    for database in _databases:
        database._engine.dispose(close=False)
        database._write_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_connections)
