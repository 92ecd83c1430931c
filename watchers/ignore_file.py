"""`.llmignore`: which files a folder's owner keeps out, in the syntax of `.gitignore`, in any folder of the tree."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.base import GitIgnorePatternError

from core.catalog import to_text

logger = logging.getLogger(__name__)

IGNORE_FILE = ".llmignore"


class IgnoreRules:
    """The rules of one watched folder, read when they are first needed. Used by one thread."""

    def __init__(self, root: str) -> None:
        self._root = root
        #: By folder, relative to the root; None: it has no rules.
        self._specs: dict[str, GitIgnoreSpec | None] = {}

    def forget(self) -> None:
        """The files with the rules may have changed: they are read again."""
        self._specs.clear()

    def is_ignored(self, path: str) -> bool:
        """Whether a file, relative to the root, or a folder above it is ignored.

        Raises:
            OSError: rules are there that cannot be read, so that nobody can tell.
        """
        folder = path.rpartition("/")[0]
        return self.is_folder_ignored(folder) or self.is_matched(path, is_folder=False)

    def is_folder_ignored(self, folder: str) -> bool:
        """Whether a folder, relative to the root, or one above it is ignored; "" is the root. Raises as above."""
        parts = folder.split("/") if folder else []
        levels = range(1, len(parts) + 1)
        return any(self.is_matched("/".join(parts[:level]), is_folder=True) for level in levels)

    def is_matched(self, path: str, *, is_folder: bool) -> bool:
        """Whether the rules name just this path. Those nearest to it come first, and in a file the last one.

        Raises:
            OSError: see `is_ignored`.
        """
        return self.rule_for(path, is_folder=is_folder) is not None

    def rule_for(self, path: str, *, is_folder: bool) -> str | None:
        """The rule that ignores just this path, if one does: see `is_matched`."""
        for folder in _folders_above(path):
            spec = self._spec(folder)
            if spec is not None:
                below = path[len(folder) + 1 :] if folder else path
                found = spec.check_file(f"{below}/" if is_folder else below)
                if found.include is not None:
                    where = f"{folder}/{IGNORE_FILE}" if folder else IGNORE_FILE
                    return f"{where}: {spec.patterns[found.index or 0].pattern!s}" if found.include else None
        return None

    def _spec(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            self._specs[folder] = _read(Path(self._root, folder, IGNORE_FILE))
        return self._specs[folder]


def _folders_above(path: str) -> Iterator[str]:
    """The folders that a path is in, the innermost first, "" at last."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _read(file: Path) -> GitIgnoreSpec | None:
    if not file.is_file():
        return None
    try:
        lines = file.read_bytes().decode("utf-8-sig", "surrogateescape").splitlines()
    except FileNotFoundError:
        return None
    return GitIgnoreSpec.from_lines([line for number, line in enumerate(lines, 1) if _is_pattern(file, number, line)])


def _is_pattern(file: Path, number: int, line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except GitIgnorePatternError:
        logger.warning("%s, line %d is no pattern of .gitignore and is passed over: %s", to_text(file), number, line)
        return False
    return True
