"""The mirror: updates the catalog after changes of a folder's files, and notifies the workers."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from core.catalog import Catalog, DocumentState, NewDocument, Source, folder_attributes, to_text
from core.errors import Conflict, NotFound
from watchers.folder import Folder
from watchers.hints import Messenger, WorkHints
from watchers.ignored_after_delete import IgnoredAfterDelete
from watchers.large_files import LARGE_BYTES, LargeFiles
from watchers.originals import Originals
from watchers.reconcile import (
    Changed,
    Difference,
    FileStat,
    Moved,
    Row,
    compare,
    is_below,
    pair_by_hash,
    pair_by_stat,
    row_of,
    row_of_file,
)
from watchers.stability import Mark

logger = logging.getLogger(__name__)

#: The number of files that are hashed before the workers are notified of them.
FILES_PER_BATCH = 100
ItemT = TypeVar("ItemT")
#: Answers whether documents may be deleted, given how many of their files are gone (and not merely ignored).
MayDelete = Callable[[int], bool]


class Mirror:
    """Makes the catalog agree with the stable files of one folder."""

    def __init__(
        self,
        folder: Folder,
        catalog: Catalog,
        messenger: Messenger,
        originals: Originals,
        stop: threading.Event,
        max_upload_bytes: int,
    ) -> None:
        self._folder = folder
        self._originals = originals
        self._catalog = catalog
        self._hints = WorkHints(catalog, messenger)
        self._stop = stop
        self._max_upload_bytes = max_upload_bytes
        self._large = LargeFiles(originals.read_large)
        #: Unreadable files that have been logged: they are not logged again at each scan.
        self._logged_unreadable: set[str] = set()
        self._ignored = IgnoredAfterDelete(folder, catalog)
        #: Paths of the present call of `settle` that must wait again, with their present state.
        self._postponed: dict[str, FileStat | None] = {}

    def rows(self, prefix: str = "") -> Iterator[Row]:
        """Yield the catalog's rows of the folder or of its subfolder `prefix`, including ignored files."""
        yield from map(row_of_file, self._catalog.mirrored_files(self._folder.key, to_text(prefix)))
        yield from (row for row in self._ignored.all() if is_below(row.path, prefix))

    def compare(self, files: Mapping[str, FileStat], rows: Iterable[Row]) -> Difference:
        """Return the difference between these files and these rows; `files` has all files at the paths of the rows."""
        mirrored = {path: stat for path, stat in files.items() if not self._originals.is_unremovable(path, stat)}
        return compare(mirrored, rows, self._folder.collection, self._folder.mode)

    def count_at(self, paths: Iterable[str]) -> int:
        """Return the number of documents at these paths."""
        return len(self._catalog.documents_at(self._folder.key, map(to_text, paths)))

    def delete(self, rows: Sequence[Row]) -> None:
        """Delete the documents of files that are gone."""
        self._catalog.delete_documents(row.document_id for row in rows)
        for row in rows:
            logger.info("deleted: %s (%s)", to_text(row.path), row.document_id)
        if rows:
            self._hints.wake_indexer()

    def settle(
        self,
        marks: Sequence[Mark[str]],
        upcoming: Collection[FileStat],
        may_delete: MayDelete,
    ) -> dict[str, FileStat | None]:
        """Mirror paths that are stable. Return those that must wait again, with their present state.

        `upcoming` has the states, as far as renames keep them, of files that are not stable yet: a vanished file may
        have moved to one of them.
        `may_delete` is called after the files were read: it checks that the folder is still the one that was mirrored.

        Raises:
            Unavailable: the catalog does not answer. Nothing is lost: settle the same paths again.
            Stopped: the watcher was stopped meanwhile.
        """
        self._postponed = {}
        files = self._stable_files(marks)
        changed = [mark.key for mark in marks if mark.key not in files]
        self._large.forget(changed)
        self._originals.drop_staged(changed)
        paths = {mark.key for mark in marks if mark.key not in self._postponed}
        rows = [row_of(document) for document in self._catalog.documents_at(self._folder.key, map(to_text, paths))]
        rows += self._ignored.find(paths, files.values())
        difference = self.compare(files, [row for row in rows if row.path in files or self.is_missing(row)])
        self._ignored.follow_moves(difference, self.is_missing)
        moved_ids = self._take_appeared(difference)
        self._take_changed(difference.changed)
        vanished = [row for row in difference.vanished if row.document_id not in moved_ids]
        self._take_vanished(vanished, upcoming, may_delete)
        gone = [row for row in difference.no_longer_ignored if row.path not in files]
        gone = self._without_upcoming(gone, upcoming)
        if gone and may_delete(0):
            self._ignored.stop_ignoring([row.path for row in gone])
        return self._postponed

    def _stable_files(self, marks: Iterable[Mark[str]]) -> dict[str, FileStat]:
        """Return the files that have not changed since they were marked. Postpone the others."""
        files: dict[str, FileStat] = {}
        for mark in marks:
            try:
                stat = self._folder.stat(mark.key)
            except OSError as error:
                self._log_unreadable(mark.key, error)
                continue
            if stat != mark.stat or (stat is not None and self._originals.must_wait(mark.key, stat)):
                self._postponed[mark.key] = stat
            elif stat is not None:
                files[mark.key] = stat
        return files

    def _take_appeared(self, difference: Difference) -> set[str]:
        """Move or add the documents of files at new paths. Return the ids of moved documents."""
        moved_ids: set[str] = set()
        # Small files first, so that they do not wait for a huge one.
        by_size = sorted(difference.appeared.items(), key=lambda item: item[1].size_bytes)
        for batch in _batches(by_size, FILES_PER_BATCH):
            moved_ids |= self._take_batch(dict(batch))
        return moved_ids

    def _take_batch(self, appeared: dict[str, FileStat]) -> set[str]:
        inodes = [stat.inode for stat in appeared.values()]
        moves = self._move(pair_by_stat(appeared, self._sources(inodes=inodes)))
        for path in moves.values():
            del appeared[path]
        hashes = self._hash_all(appeared)
        sources = self._sources(hashes=hashes.values())
        readable = {path: stat for path, stat in appeared.items() if path in hashes}
        copied = self._move(pair_by_hash(readable, hashes, sources))
        new = [path for path in readable if path not in copied.values() and path not in self._postponed]
        fresh = [path for path in new if not self._ignored.keeps_ignoring(path, readable[path], hashes[path])]
        added = self._add_all({path: readable[path] for path in fresh}, hashes)
        self._ignored.stop_ignoring(list(added))
        self._hints.dispatch(list(added.values()))
        return {*moves, *copied}

    def _sources(self, *, inodes: Iterable[int] = (), hashes: Iterable[str] = ()) -> list[Row]:
        """Return documents that may have moved: they have one of these inodes or hashes, and their file is missing."""
        found = self._catalog.documents_with_content(self._folder.key, inodes=inodes, hashes=hashes)
        return [row for row in map(row_of, found) if self.is_missing(row)]

    def _move(self, moves: Iterable[Moved]) -> dict[str, str]:
        """Rename documents. Return the new paths by document id."""
        done: dict[str, str] = {}
        requeued = []
        for move in moves:
            try:
                moved = self._catalog.move_document(
                    move.row.document_id,
                    path=to_text(move.path),
                    filename=_name(move.path),
                    mtime_ns=move.stat.mtime_ns,
                    inode=move.stat.inode,
                    ctime_ns=move.stat.ctime_ns,
                )
            except (NotFound, Conflict) as error:
                # Meanwhile the document was deleted over the API, or another one took the path: try again.
                logger.info("%s was not moved to %s: %s", to_text(move.row.path), to_text(move.path), error.message)
                self._postponed[move.path] = None
                continue
            logger.info("moved: %s -> %s", to_text(move.row.path), to_text(move.path))
            done[moved.id] = move.path
            if moved.state is DocumentState.QUEUED and moved.dispatched_at is None:
                requeued.append(moved.id)
        if done:
            self._hints.dispatch(requeued)
            self._hints.wake_indexer()
        return done

    def _add_all(self, files: Mapping[str, FileStat], hashes: Mapping[str, str]) -> dict[str, str]:
        """Add documents. Return their ids by path, without files that have to wait again."""
        plain = [path for path, stat in files.items() if not self._originals.should_copy(stat)]
        ids = self._catalog.add_files([self._new(path, files[path], hashes[path]) for path in plain])
        for path, document_id in zip(plain, ids, strict=True):
            logger.info("added: %s (%s)", to_text(path), document_id)
        added = dict(zip(plain, ids, strict=True))
        copied = {path: self._add(path, stat, hashes[path]) for path, stat in files.items() if path not in added}
        return added | {path: document_id for path, document_id in copied.items() if document_id is not None}

    def _new(self, path: str, stat: FileStat, content_hash: str, blob_key: str | None = None) -> NewDocument:
        is_consumed = blob_key is not None and self._originals.is_consumed
        return NewDocument(
            collection=self._folder.collection,
            filename=_name(path),
            source=Source.WATCH,
            content_hash=content_hash,
            size_bytes=stat.size_bytes,
            blob_key=blob_key,
            # A consumed file is no longer compared with the folder: the next file of its name is another document.
            root=None if is_consumed else self._folder.key,
            path=to_text(path),
            mtime_ns=stat.mtime_ns,
            inode=stat.inode,
            ctime_ns=stat.ctime_ns,
            attributes=folder_attributes(to_text(path)),
            idempotency_key=self._originals.idempotency_key(path, stat, content_hash) if is_consumed else None,
        )

    def _add(self, path: str, stat: FileStat, content_hash: str) -> str | None:
        """Add a document. Return its id, or None if the file has to wait again."""
        blob_key = None
        if self._originals.should_copy(stat):
            blob_key = self._copy(path, stat, content_hash)
            if blob_key is None:
                return None
        document = self._catalog.add_document(self._new(path, stat, content_hash, blob_key))
        if document.blob_key != blob_key:
            self._originals.discard(blob_key)
        logger.info("added: %s (%s)", document.path, document.id)
        if blob_key is not None and self._originals.is_consumed:
            self._originals.remove(path, stat)
        return document.id

    def _copy(self, path: str, stat: FileStat, content_hash: str) -> str | None:
        """Copy a file to the blobs. Return the copy's key, or None if the file has to wait again."""
        try:
            blob_key = self._originals.copy(path, stat, content_hash)
        except FileNotFoundError:
            blob_key = None
        except OSError as error:
            self._log_unreadable(path, error)
            return None
        if blob_key is None:
            self._postponed[path] = None
        return blob_key

    def _take_changed(self, changes: Iterable[Changed]) -> None:
        for batch in _batches(changes, FILES_PER_BATCH):
            stats = {change.row.path: change.stat for change in batch}
            hashes = self._hash_all(stats)
            updated = [self._update(change, hashes) for change in batch]
            self._hints.dispatch([document_id for document_id in updated if document_id is not None])

    def _update(self, change: Changed, hashes: Mapping[str, str]) -> str | None:
        """Record the new state of a file. Return the document's id if it must be ingested again, else None."""
        row, stat = change.row, change.stat
        content_hash = hashes.get(row.path)
        if content_hash is None:
            return None
        if self._originals.is_consumed and self._originals.should_copy(stat):
            # Until now it was mirrored, or was too large.
            consumed = self._add(row.path, stat, content_hash)
            if consumed is not None:
                self.delete([row])
            return consumed
        if row.collection != self._folder.collection:
            return self._add(row.path, stat, content_hash)
        blob_key = None
        if self._originals.should_copy(stat) and (content_hash != row.content_hash or row.blob_key is None):
            blob_key = self._copy(row.path, stat, content_hash)
            if blob_key is None:
                return None
        try:
            return self._update_document(change, content_hash, blob_key)
        except NotFound:
            # Meanwhile the document was deleted over the API: look at the file again.
            self._originals.discard(blob_key)
            self._postponed[row.path] = stat
            return None

    def _update_document(self, change: Changed, content_hash: str, blob_key: str | None) -> str | None:
        row, stat = change.row, change.stat
        is_new = content_hash != row.content_hash
        state = stat._asdict()
        if not is_new:
            touched = self._catalog.touch_source(row.document_id, **state)
            if blob_key is not None and not self._catalog.store_original(row.document_id, blob_key):
                self._originals.discard(blob_key)
            return row.document_id if row.is_lost and touched.state is DocumentState.QUEUED else None
        self._catalog.new_version(row.document_id, content_hash=content_hash, blob_key=blob_key, **state)
        self._originals.discard(row.blob_key)
        logger.info("changed: %s (%s)", to_text(row.path), row.document_id)
        return row.document_id

    def _take_vanished(self, vanished: Iterable[Row], upcoming: Collection[FileStat], may_delete: MayDelete) -> None:
        deleted = self._without_upcoming(vanished, upcoming)
        lost = [row for row in deleted if not self._folder.is_ignored(row.path)]
        if deleted and may_delete(len(lost)):
            self.delete(deleted)

    def _without_upcoming(self, vanished: Iterable[Row], upcoming: Collection[FileStat]) -> list[Row]:
        """Return the rows whose files are gone. Postpone those whose files may be at a path that still waits."""
        gone, sizes = [], self._large.sizes()
        for row in vanished:
            if row.stat.across_renames in upcoming or row.stat.size_bytes in sizes:
                self._postponed[row.path] = None
            else:
                gone.append(row)
        return gone

    # Files and messages

    def _hash_all(self, files: Mapping[str, FileStat]) -> dict[str, str]:
        """Return the content hashes, by path, of the files that can be read and did not change meanwhile."""
        hashes = {}
        for path, stat in files.items():
            try:
                content_hash = self._hash(path, stat)
                if content_hash is None:
                    self._postponed[path] = stat
                    continue
                now = self._folder.stat(path)
            except FileNotFoundError:
                self._postponed[path] = None
                continue
            except OSError as error:
                self._log_unreadable(path, error)
                continue
            self._logged_unreadable.discard(path)
            if now == stat:
                hashes[path] = content_hash
            else:
                self._postponed[path] = now
        return hashes

    def _hash(self, path: str, stat: FileStat) -> str | None:
        """Return the hash of a file's content, or None while a large file is being read."""
        if stat.size_bytes > self._max_upload_bytes:
            # The parser will refuse it for its size, so it is not read here.
            state = f"FileStat(size_bytes={stat.size_bytes}, mtime_ns={stat.mtime_ns}, inode={stat.inode})"
            return hashlib.sha256(f"too large: {state}".encode()).hexdigest()
        if stat.size_bytes > LARGE_BYTES:
            return self._large.hash(path, stat)
        return self._folder.hash(path, stat, self._stop)

    def is_missing(self, row: Row) -> bool:
        """Return whether a document's file is certainly gone: a file that cannot be reached does not count."""
        try:
            return self._folder.stat(row.path) is None
        except OSError:
            return False

    def _log_unreadable(self, path: str, error: OSError) -> None:
        if path not in self._logged_unreadable:
            self._logged_unreadable.add(path)
            logger.warning("%s cannot be read, and will be tried again later: %s", to_text(path), error.strerror)


def _name(path: str) -> str:
    return to_text(path.rpartition("/")[2])


def _batches(items: Iterable[ItemT], size: int) -> Iterator[list[ItemT]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
