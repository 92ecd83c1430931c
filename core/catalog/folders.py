"""Watched folders: what the watcher saw last, what a person confirmed, and which of their files are ignored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from core.catalog.migration import MigratedDatabase
from core.catalog.paths import folder_attributes
from core.catalog.rows import ALIVE, AnyRow, batches, page_of
from core.catalog.tables import collections, documents, skipped_files, watched_folders
from core.catalog.types import (
    ORIGINAL_MISSING,
    Document,
    DocumentState,
    FolderState,
    MirroredFile,
    Page,
    SkippedFile,
    WatchedFolder,
)
from core.errors import Conflict, InvalidRequest, NotFound

#: Folders in these states keep the documents of missing files until a person confirms the deletion.
_CONFIRMABLE = (FolderState.HELD, FolderState.MISSING)
_IGNORED = documents.c.ignored.is_(True)
#: Files read from the catalog at a time.
FILES_PER_READ = 5000
_HAS_LOST_FILE = sa.and_(
    documents.c.state == DocumentState.FAILED,
    documents.c.error_code == ORIGINAL_MISSING,
    documents.c.blob_key.is_(None),
)
#: The columns of MirroredFile, in its order.
_MIRRORED = sa.select(
    documents.c.id,
    documents.c.path,
    documents.c.content_hash,
    collections.c.name,
    documents.c.size_bytes,
    documents.c.mtime_ns,
    documents.c.inode,
    documents.c.ctime_ns,
    documents.c.blob_key,
    sa.func.coalesce(_HAS_LOST_FILE, sa.false()),
).join_from(documents, collections)


class FolderQueries(MigratedDatabase):
    """The part of the catalog about watched folders."""

    def watched_folders(self) -> list[WatchedFolder]:
        """Return all folders that were ever watched, sorted by path."""
        with self._read() as connection:
            rows = connection.execute(sa.select(watched_folders).order_by(watched_folders.c.root))
            return [_as_folder(row) for row in rows]

    def watched_folder(self, root: str) -> WatchedFolder | None:
        """Return the folder as it was saved last, or None if it never was."""
        with self._read() as connection:
            return _find(connection, root)

    def save_watched_folder(self, folder: WatchedFolder) -> None:
        """Record what the watcher saw, without the skipped files: see `save_skipped`.

        A confirmation that arrived meanwhile is kept: see `end_confirmation`.
        """
        values = asdict(folder) | {"changed_at": self._now()}
        del values["confirmed"], values["skipped"]
        with self._write() as connection:
            change = sa.update(watched_folders).where(watched_folders.c.root == folder.root)
            if connection.execute(change.values(**values)).rowcount == 0:
                connection.execute(sa.insert(watched_folders).values(**values, confirmed=False))

    def confirm_watched_folder(self, root: str) -> WatchedFolder:
        """Record that the missing files were deleted on purpose; the watcher then deletes their documents.

        Raises:
            NotFound: no such folder was ever watched.
            Conflict: no deletion is held back for it.
        """
        with self._write() as connection:
            found = _find(connection, root)
            if found is None:
                raise NotFound(f"{root} is not a watched folder.", param="path")
            if found.state not in _CONFIRMABLE:
                raise Conflict(f"There is nothing to confirm for {root}: no deletion is held back.", param="path")
            change = sa.update(watched_folders).where(watched_folders.c.root == root)
            connection.execute(change.values(confirmed=True))
            return _as_folder(connection.execute(_select(root)).one())

    def end_confirmation(self, root: str) -> None:
        """Record that the watcher has acted on the confirmation."""
        with self._write() as connection:
            change = sa.update(watched_folders).where(watched_folders.c.root == root)
            connection.execute(change.values(confirmed=False))

    def count_in_root(self, root: str) -> int:
        """Return the number of documents of a watched folder."""
        query = sa.select(sa.func.count()).select_from(documents).where(documents.c.root == root, ALIVE)
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())

    def has_in_root(self, root: str, number: int) -> bool:
        """Return whether a watched folder has at least so many documents. It costs no more than counting those."""
        query = sa.select(documents.c.id).where(documents.c.root == root, ALIVE).offset(number - 1).limit(1)
        with self._read() as connection:
            return connection.execute(query).one_or_none() is not None

    def mirrored_files(self, root: str, prefix: str = "") -> Iterator[MirroredFile]:
        """Yield the files of a watched folder or its subfolder `prefix` by path, without deleted documents."""
        query = _MIRRORED.where(documents.c.root == root, ALIVE).order_by(documents.c.path).limit(FILES_PER_READ)
        if prefix:
            # All paths below a folder, in the order of their bytes: "0" follows "/".
            query = query.where(documents.c.path > f"{prefix}/", documents.c.path < f"{prefix}0")
        following = query
        while True:
            with self._read() as connection:
                rows = connection.execute(following).all()
            yield from map(_as_mirrored, rows)
            if len(rows) < FILES_PER_READ:
                return
            following = query.where(documents.c.path > rows[-1].path)

    def ignored_files(self, root: str) -> list[MirroredFile]:
        """Return the files of a watched folder that are ignored until they change.

        A person deleted their documents over the API while the files stayed, so they do not become new documents.
        """
        with self._read() as connection:
            rows = connection.execute(_MIRRORED.where(documents.c.root == root, _IGNORED))
            return list(map(_as_mirrored, rows))

    def find_ignored_files(self, root: str, *, paths: Iterable[str], inodes: Iterable[int]) -> list[MirroredFile]:
        """Return the ignored files of a watched folder at these paths or with these inodes."""
        found: dict[str, MirroredFile] = {}
        query = _MIRRORED.where(documents.c.root == root, _IGNORED)
        with self._read() as connection:
            for column, values in ((documents.c.path, paths), (documents.c.inode, inodes)):
                for batch in batches(values):
                    rows = connection.execute(query.where(column.in_(batch)))
                    found.update({row.id: _as_mirrored(row) for row in rows})
        return list(found.values())

    def change_ignored(self, document_id: str, **file: Any) -> None:
        """Record a new `path`, `size_bytes`, `mtime_ns`, `inode` or `ctime_ns` of an ignored file."""
        with self._write() as connection:
            change = sa.update(documents).where(documents.c.id == document_id, _IGNORED)
            connection.execute(change.values(**file))

    def save_ctimes(self, ctimes: Mapping[str, int]) -> None:
        """Record ctimes, by document, of watched files whose ctime is not known."""
        here = (documents.c.id == sa.bindparam("document"), documents.c.ctime_ns.is_(None))
        change = sa.update(documents).where(*here).values(ctime_ns=sa.bindparam("ctime"))
        for batch in batches(ctimes.items()):
            with self._write() as connection:
                connection.execute(change, [{"document": key, "ctime": ctime} for key, ctime in batch])

    def stop_ignoring(self, document_ids: Iterable[str]) -> None:
        """Record that the files of these deleted documents are no longer ignored: they are gone or have changed."""
        for batch in batches(document_ids):
            with self._write() as connection:
                change = sa.update(documents).where(documents.c.id.in_(batch))
                connection.execute(change.values(ignored=False))

    def save_skipped(self, root: str, counts: Mapping[str, int], files: Sequence[SkippedFile]) -> None:
        """Record the skipped files of a watched folder: their number by reason, and the first of them."""
        with self._write() as connection:
            change = sa.update(watched_folders).where(watched_folders.c.root == root)
            connection.execute(change.values(skipped=dict(counts)))
            connection.execute(sa.delete(skipped_files).where(skipped_files.c.root == root))
            if files:
                connection.execute(sa.insert(skipped_files), [asdict(file) | {"id": file.id} for file in files])

    def list_skipped(self, collection: str, *, limit: int = 20, after: str | None = None) -> Page[SkippedFile]:
        """Return the skipped files of a collection's watched folders, sorted by folder and path.

        Raises:
            InvalidRequest: there is no skipped file with the id `after`.
        """
        table = skipped_files.c
        query = sa.select(table.root, table.path, table.reason).join_from(
            skipped_files, watched_folders, watched_folders.c.root == table.root
        )
        query = query.where(watched_folders.c.collection == collection)
        with self._read() as connection:
            if after is not None:
                last = connection.execute(sa.select(table.root, table.path).where(table.id == after)).one_or_none()
                if last is None:
                    raise InvalidRequest(f"No skipped file with the id {after!r} to continue after.", param="after")
                same = sa.and_(table.root == last.root, table.path > last.path)
                query = query.where(sa.or_(table.root > last.root, same))
            rows = connection.execute(query.order_by(table.root, table.path).limit(limit + 1))
            return page_of([SkippedFile(**row._mapping) for row in rows], limit)

    def store_original(self, document_id: str, blob_key: str) -> bool:
        """Record that the blob store has a copy of a watched file. Return False if the document is gone."""
        change = sa.update(documents).where(documents.c.id == document_id, ALIVE)
        with self._write() as connection:
            return connection.execute(change.values(blob_key=blob_key)).rowcount == 1


def moved_attributes(document: Document, path: str) -> dict[str, Any]:
    """Return the attributes of a document after a move to `path`: those that name its folders change."""
    if document.path is None:
        return document.attributes
    old = folder_attributes(document.path)
    kept = {key: value for key, value in document.attributes.items() if old.get(key) != value}
    return kept | folder_attributes(path)


def _as_mirrored(row: AnyRow) -> MirroredFile:
    return MirroredFile._make(row)


def _select(root: str) -> sa.Select[Any]:
    return sa.select(watched_folders).where(watched_folders.c.root == root)


def _find(connection: sa.Connection, root: str) -> WatchedFolder | None:
    row = connection.execute(_select(root)).one_or_none()
    return _as_folder(row) if row is not None else None


def _as_folder(row: AnyRow) -> WatchedFolder:
    return WatchedFolder(**dict(row._mapping) | {"state": FolderState(row.state)})
