"""What `llm-api backup` writes and `llm-api restore` reads: the folder's layout, and the copying of files.

<folder>/backup.json       written last: a folder without it is not a complete backup
<folder>/catalog.sqlite3   one snapshot of the catalog
<folder>/originals/        the originals that the catalog names, as in BLOB_DIR
<folder>/vectors/          the embedded vector store, if nothing was running
"""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import msgspec
import sqlalchemy as sa

from core.errors import ConfigurationError
from core.settings import Settings

FORMAT = 1
_COPY_BYTES = 2**20
#: Errors of a hard link between two file systems, on one without links, or to a file with too many of them.
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK})


class Manifest(msgspec.Struct, kw_only=True):
    """What a backup contains, and what wrote it. `created_at` is in Unix seconds."""

    format: int = FORMAT
    release: str
    catalog_revision: str
    created_at: float
    originals: int
    original_bytes: int
    has_vectors: bool


@dataclass(frozen=True)
class BackupFolder:
    """The paths in a backup."""

    path: Path

    @property
    def manifest(self) -> Path:
        return self.path / "backup.json"

    @property
    def catalog(self) -> Path:
        return self.path / "catalog.sqlite3"

    @property
    def originals(self) -> Path:
        return self.path / "originals"

    @property
    def vectors(self) -> Path:
        return self.path / "vectors"


def catalog_path(settings: Settings) -> Path:
    """Return the file of the catalog.

    Raises:
        ConfigurationError: the catalog is not in SQLite.
    """
    url = sa.make_url(settings.catalog_url)
    if url.get_backend_name() != "sqlite":
        raise ConfigurationError(
            "DATABASE_URL: the catalog is in PostgreSQL, which has tools of its own. Back up the database with "
            "pg_dump, then copy the folder BLOB_DIR; restore both before llm-api is started. See "
            "docs/backup-and-upgrade.md."
        )
    return Path(str(url.database))


def vectors_path(settings: Settings) -> Path | None:
    """Return the folder of the embedded vector store, or None if there is no store on this machine's disk."""
    is_embedded = settings.qdrant_server_url is None and not settings.qdrant_use_memory
    return settings.state_dir / "vectors" if is_embedded else None


def link_or_copy(source: Path, target: Path) -> bool:
    """Create `target` with the content of a file that never changes. Return False if there is no such file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return _copy(source, target)
    return True


def _copy(source: Path, target: Path) -> bool:
    draft = target.with_name(f"{target.name}.new")
    try:
        shutil.copy2(source, draft)
    except FileNotFoundError:
        return False
    draft.replace(target)
    return True


def copy_sparse_tree(source: Path, target: Path) -> None:
    """Copy the folder of a vector store that nobody uses: its files are large, but mostly holes."""
    shutil.copytree(source, target, copy_function=_copy_sparse, ignore=shutil.ignore_patterns("owner.*.lock"))


def _copy_sparse(source: str, target: str) -> str:
    with Path(source).open("rb") as origin, Path(target).open("xb") as copy:
        size, offset = os.fstat(origin.fileno()).st_size, 0
        while offset < size:
            start, offset = _next_data(origin.fileno(), offset, size)
            copy.seek(start)
            while start < offset:
                start += copy.write(os.pread(origin.fileno(), min(_COPY_BYTES, offset - start), start))
        copy.truncate(size)
    return target


def _next_data(descriptor: int, offset: int, size: int) -> tuple[int, int]:
    """Return where the next data of a file begin and end; both are the file's size if only a hole is left."""
    try:
        start = os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return size, size
    return start, os.lseek(descriptor, start, os.SEEK_HOLE)
