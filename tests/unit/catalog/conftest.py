"""Fixtures: a migrated catalog on each database, with a clock that tests advance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from core.catalog import Catalog, Document, NewDocument, Source
from tests.support import migrated_catalog

#: PostgreSQL is for `make check`: its server has to be started, and each test takes longer on it.
BACKENDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.check)]


class Clock:
    """A clock of Unix seconds that only `advance` moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BACKENDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'catalog.sqlite3'}"
    url: str = request.getfixturevalue("postgresql_url")
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return url


@pytest.fixture
def catalog(database_url: str, clock: Clock) -> Iterator[Catalog]:
    if database_url.startswith("sqlite"):
        migrated_catalog(Path(database_url.removeprefix("sqlite:///"))).close()
    catalog = Catalog(database_url, clock)
    catalog.migrate()
    yield catalog
    catalog.close()


@pytest.fixture
def add(catalog: Catalog, clock: Clock) -> Callable[..., Document]:
    """Return a function that adds an upload, with its keywords as fields. Each is a second younger than the last."""

    def add(**changes: Any) -> Document:
        clock.advance(1)
        values: dict[str, Any] = {
            "collection": "default",
            "filename": "a.txt",
            "source": Source.UPLOAD,
            "content_hash": "a" * 64,
            "size_bytes": 10,
        }
        return catalog.add_document(NewDocument(**values | changes))

    return add


@pytest.fixture
def add_file(add: Callable[..., Document]) -> Callable[..., Document]:
    """Return a function that adds a file of the watched folder /inbox."""

    def add_file(path: str, **changes: Any) -> Document:
        stat = {"mtime_ns": 1, "inode": 1}
        return add(source=Source.WATCH, root="/inbox", path=path, filename=path, **stat | changes)

    return add_file
