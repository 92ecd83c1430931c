"""Ignored files: a file whose document was deleted over the API is ignored until it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import chain

from core.catalog import Catalog, to_text
from watchers.folder import Folder
from watchers.reconcile import Difference, FileStat, Row, pair_by_stat, row_of_file


class IgnoredAfterDelete:
    """The files of one folder that are ignored because their documents were deleted."""

    def __init__(self, folder: Folder, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        #: The rows that were found last, by path.
        self._rows: dict[str, list[Row]] = {}

    def all(self) -> list[Row]:
        """Return the rows of all ignored files."""
        return [row_of_file(file, is_ignored=True) for file in self._catalog.ignored_files(self._folder.key)]

    def find(self, paths: Collection[str], stats: Iterable[FileStat]) -> list[Row]:
        """Find the rows at these paths, and of files that may have moved to a path with one of these states.

        Return those at the paths. The other methods know the rows that were found last.
        """
        found = self._catalog.find_ignored_files(
            self._folder.key, paths=map(to_text, paths), inodes={stat.inode for stat in stats}
        )
        self._rows = {}
        for row in (row_of_file(file, is_ignored=True) for file in found):
            self._rows.setdefault(row.path, []).append(row)
        return [row for path in paths for row in self._rows.get(path, ())]

    def follow_moves(self, difference: Difference, is_missing: Callable[[Row], bool]) -> None:
        """Remove renamed files from the difference: they are ignored under their new paths too."""
        for move in pair_by_stat(difference.appeared, chain.from_iterable(self._rows.values())):
            if is_missing(move.row):
                self._catalog.change_ignored(move.row.document_id, path=to_text(move.path), ctime_ns=move.stat.ctime_ns)
                del difference.appeared[move.path]
                rows = [row for row in difference.no_longer_ignored if row is not move.row]
                difference.no_longer_ignored[:] = rows

    def keeps_ignoring(self, path: str, stat: FileStat, content_hash: str) -> bool:
        """Return whether a new or touched file has the content that was deleted at its path, so it is still ignored.

        Record its new state in that case.
        """
        row = next((row for row in self._rows.get(path, ()) if row.content_hash == content_hash), None)
        if row is not None:
            self._catalog.change_ignored(row.document_id, **stat._asdict())
        return row is not None

    def stop_ignoring(self, paths: Collection[str]) -> None:
        """Record that the files at these paths are no longer ignored: they are gone, or are documents again."""
        ids = [row.document_id for path in paths for row in self._rows.get(path, ())]
        if ids:
            self._catalog.stop_ignoring(ids)
