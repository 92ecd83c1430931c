"""What of a watched folder is no document, and which rule says so."""

from __future__ import annotations

from collections import Counter

from core.catalog import SkippedFile, to_text

#: Files of a folder that are told one by one; the others are counted.
MAX_LISTED = 1000
DELETED = "its document was deleted over the API: it stays out until it changes"
LINK = "a link to no file of this folder"
IRREGULAR = "neither a file nor a folder"


class Skips:
    """What one scan of a whole folder has passed over."""

    def __init__(self, root: str) -> None:
        self._root = root
        #: By reason. A folder counts as one: what is in it is not looked at.
        self.counts: Counter[str] = Counter()
        self.files: list[SkippedFile] = []

    def add(self, path: str, reason: str, *, is_folder: bool = False) -> None:
        """Passes over a file, or a folder with all that is in it. `path` as the operating system spells it."""
        self.counts[to_text(reason)] += 1
        if len(self.files) < MAX_LISTED:
            self.files.append(SkippedFile(self._root, to_text(path) + "/" * is_folder, to_text(reason)))
