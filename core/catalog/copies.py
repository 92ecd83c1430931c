"""Copies of a SQLite catalog: making them while other processes write to it, and reading them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from core.disk import is_disk_full
from core.errors import StorageFull, Unavailable

#: The folder, beside the catalog, of the copies that are made before upgrades.
FOLDER = "catalog-copies"
#: The number of these copies that are kept, the newest ones.
KEPT = 3
BUSY_TIMEOUT_SECONDS = 5.0


def copy_before_upgrade(catalog: Path, revision: str) -> Path:
    """Copy a catalog of this revision, remove the oldest copies, and return the path of the new one.

    Raises:
        StorageFull: there is no room for the copy.
        Unavailable: the catalog cannot be read, or the copy cannot be written.
    """
    folder = catalog.with_name(FOLDER)
    target = folder / f"catalog-{revision}.sqlite3"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        copy_catalog(catalog, target)
        for old in sorted(folder.glob("catalog-*.sqlite3"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink()
    except OSError as error:
        raise _not_copied(target, error) from error
    return target


def copy_catalog(catalog: Path, target: Path) -> None:
    """Copy one snapshot of a catalog. `target` is replaced once the copy is complete.

    Raises:
        StorageFull: there is no room for the copy.
        Unavailable: the catalog cannot be read, or the copy cannot be written.
    """
    draft = target.with_name(f"{target.name}.new")
    draft.unlink(missing_ok=True)
    try:
        with closing(_connect(catalog)) as source, closing(sqlite3.connect(draft)) as copy:
            source.backup(copy)
        draft.chmod(0o600)
        draft.replace(target)
    except (sqlite3.Error, OSError) as error:
        draft.unlink(missing_ok=True)
        raise _not_copied(target, error) from error


def revision_of(copy: Path) -> str:
    """Return the revision of a copy. Raise `Unavailable` if the file is not a sound catalog."""
    ((result,),) = _read(copy, "PRAGMA quick_check(1)")
    if result != "ok":
        raise Unavailable(f"{copy} is damaged: {result}")
    ((revision,),) = _read(copy, "SELECT version_num FROM alembic_version")
    return str(revision)


def originals_of(copy: Path) -> dict[str, int]:
    """Return the sizes of the originals that a copy names, by their blob keys."""
    named = "blob_key IS NOT NULL AND state NOT IN ('deleting', 'deleted')"
    return dict(_read(copy, f"SELECT blob_key, size_bytes FROM documents WHERE {named}"))  # noqa: S608 - a constant


def _read(copy: Path, query: str) -> list[Any]:
    try:
        # Nobody writes to a copy, and reading it leaves no files beside it.
        with closing(sqlite3.connect(f"file:{quote(str(copy))}?mode=ro&immutable=1", uri=True)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error as error:
        raise Unavailable(f"{copy} cannot be read as a catalog: {error}") from error


def _connect(catalog: Path) -> sqlite3.Connection:
    # By default, SQLite would create a file that does not exist.
    return sqlite3.connect(f"file:{quote(str(catalog))}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_SECONDS)


def _not_copied(target: Path, error: BaseException) -> Unavailable:
    kind = StorageFull if is_disk_full(error) else Unavailable
    return kind(f"The catalog cannot be copied to {target}: {error}")
