"""Files that stay out: a person has deleted their documents over the API, and they have not changed since."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from core.catalog import Catalog, to_text
from watchers.folder import Folder
from watchers.reconcile import Difference, FileStat, Row, pair_by_stat, row_of


class SkippedAfterDelete:
    """The files of one folder that stay out, as of the last `refresh`."""

    def __init__(self, folder: Folder, catalog: Catalog) -> None:
        self._folder = folder
        self._catalog = catalog
        self.rows: list[Row] = []

    def refresh(self) -> list[Row]:
        """Asks the catalog."""
        found = self._catalog.ignored_documents(self._folder.key)
        self.rows = [replace(row_of(document), is_ignored=True) for document in found]
        return self.rows

    def follow(self, difference: Difference, is_missing: Callable[[Row], bool]) -> None:
        """Takes files that have another name now out of the difference: they stay out under it."""
        for move in pair_by_stat(difference.appeared, self.rows):
            if is_missing(move.row):
                self._catalog.change_ignored(move.row.document_id, path=to_text(move.path))
                del difference.appeared[move.path]
                difference.readmitted[:] = [row for row in difference.readmitted if row is not move.row]

    def stays(self, path: str, stat: FileStat, content_hash: str) -> bool:
        """Whether a new or touched file has the very content that was deleted at its path: then it stays out."""
        row = next((row for row in self.rows if row.path == path and row.content_hash == content_hash), None)
        if row is not None:
            state = {"size_bytes": stat.size_bytes, "mtime_ns": stat.mtime_ns, "inode": stat.inode}
            self._catalog.change_ignored(row.document_id, **state)
        return row is not None

    def admit(self, paths: Collection[str]) -> None:
        """Forgets the files at these paths: they are gone, or documents again."""
        self._admit(row for row in self.rows if row.path in paths)

    def _admit(self, rows: Iterable[Row]) -> None:
        ids = [row.document_id for row in rows]
        if ids:
            self._catalog.stop_ignoring(ids)
