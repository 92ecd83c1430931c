"""The report of files in a watched folder that were skipped, with the reason."""

from __future__ import annotations

import os
from collections import Counter

from core.catalog import UNREADABLE, SkippedFile, to_text

#: The number of files of a folder that are listed; the others are only counted.
MAX_LISTED = 1000
DELETED = "its document was deleted over the API: it is ignored until it changes"
LINK = "a link that does not lead to a file of this folder"
IRREGULAR = "neither a file nor a folder"


def unreadable(reason: str | None) -> str:
    """Return why a file or a folder cannot be read, and who would have to be able to read it."""
    return f"{UNREADABLE} by the watcher's user, {os.geteuid()}: {reason}"


class SkipReport:
    """The files that one scan of a whole folder skipped."""

    def __init__(self, root: str) -> None:
        self._root = root
        #: Numbers by reason. A folder counts as one, because its content is not scanned.
        self.counts: Counter[str] = Counter()
        self.files: list[SkippedFile] = []
        self._listed: set[str] = set()

    def add(self, path: str, reason: str, *, is_folder: bool = False) -> None:
        """Add a skipped file, or a folder with all its content. `path` is as the operating system spells it.

        A path that is added again is counted, but not listed again.
        """
        self.counts[to_text(reason)] += 1
        if len(self.files) < MAX_LISTED and path not in self._listed:
            self._listed.add(path)
            self.files.append(SkippedFile(self._root, to_text(path) + "/" * is_folder, to_text(reason)))

    def count(self, path: str, reason: str, number: int) -> None:
        """Add several entries of the file `path`, which is listed once."""
        self.add(path, reason)
        self.counts[to_text(reason)] += number - 1
