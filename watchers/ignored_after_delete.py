"""Ignored files: a file whose document was deleted over the API is ignored until it changes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from core.catalog import Catalog, to_text
from watchers.folder import Folder
from watchers.reconcile import Difference, FileStat, Row, pair_by_stat, row_of


class IgnoredAfterDelete:
    """The files of one folder that are ignored because their documents were deleted, as of the last `refresh`."""

    def __init__(self, folder: Folder, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        self.rows: list[Row] = []

    def refresh(self) -> list[Row]:
        """Read the rows of the ignored files from the catalog, and return them."""
        found = self._catalog.ignored_documents(self._folder.key)
        self.rows = [replace(row_of(document), is_ignored=True) for document in found]
        return self.rows

    def follow_moves(self, difference: Difference, is_missing: Callable[[Row], bool]) -> None:
        """Remove renamed files from the difference: they are ignored under their new paths too."""
        for move in pair_by_stat(difference.appeared, self.rows):
            if is_missing(move.row):
                self._catalog.change_ignored(move.row.document_id, path=to_text(move.path))
                del difference.appeared[move.path]
                rows = [row for row in difference.no_longer_ignored if row is not move.row]
                difference.no_longer_ignored[:] = rows

    def keeps_ignoring(self, path: str, stat: FileStat, content_hash: str) -> bool:
        """Return whether a new or touched file has the content that was deleted at its path, so it is still ignored.

        Record its new state in that case.
        """
        row = next((row for row in self.rows if row.path == path and row.content_hash == content_hash), None)
        if row is not None:
            state = {"size_bytes": stat.size_bytes, "mtime_ns": stat.mtime_ns, "inode": stat.inode}
            self._catalog.change_ignored(row.document_id, **state)
        return row is not None

    def stop_ignoring(self, paths: Collection[str]) -> None:
        """Record that the files at these paths are no longer ignored: they are gone, or are documents again."""
        ids = [row.document_id for row in self.rows if row.path in paths]
        if ids:
            self._catalog.stop_ignoring(ids)
