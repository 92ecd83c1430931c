"""`.llmignore`: a user's rules of files to ignore, in the syntax of `.gitignore`, in any folder of the tree."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore.base import GitIgnorePatternError

from core.catalog import to_text
from core.safe_open import NO_FILE, opened_file
from watchers.ignore_patterns import LinearPattern

logger = logging.getLogger(__name__)

IGNORE_FILE = ".llmignore"
#: Each rule is compared with each file, so a file has some thousands of rules at most.
MAX_IGNORE_FILE_BYTES = 64 * 1024


class IgnoreRules:
    """The rules of one watched folder, which are read when they are first needed. Not thread-safe."""

    def __init__(self, root: str) -> None:
        self._root = root
        #: Rules by folder, relative to the root; None: the folder has none.
        self._specs: dict[str, GitIgnoreSpec | None] = {}

    def forget(self) -> None:
        """Forget the rules, so that they are read again: their files may have changed."""
        self._specs.clear()

    def is_ignored(self, path: str) -> bool:
        """Return whether a file, relative to the root, or a folder above it is ignored.

        Raises:
            OSError: a file with rules cannot be read, so the answer is unknown.
        """
        folder = path.rpartition("/")[0]
        return self.is_folder_ignored(folder) or self.is_matched(path, is_folder=False)

    def is_folder_ignored(self, folder: str) -> bool:
        """Return whether a folder, relative to the root ("" for the root), or one above it is ignored.

        Raises:
            OSError: see `is_ignored`.
        """
        parts = folder.split("/") if folder else []
        levels = range(1, len(parts) + 1)
        return any(self.is_matched("/".join(parts[:level]), is_folder=True) for level in levels)

    def is_matched(self, path: str, *, is_folder: bool) -> bool:
        """Return whether a rule ignores exactly this path. The nearest rules win, and within a file the last one.

        Raises:
            OSError: see `is_ignored`.
        """
        return self.rule_for(path, is_folder=is_folder) is not None

    def rule_for(self, path: str, *, is_folder: bool) -> str | None:
        """Return the rule that ignores exactly this path, or None: see `is_matched`."""
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
            self._specs[folder] = _read(self._root, f"{folder}/{IGNORE_FILE}" if folder else IGNORE_FILE)
        return self._specs[folder]


def _folders_above(path: str) -> Iterator[str]:
    """Yield the folders that contain a path, from the innermost to the root ("")."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _read(root: str, path: str) -> GitIgnoreSpec | None:
    try:
        with opened_file(root, path) as descriptor:
            content = os.read(descriptor, MAX_IGNORE_FILE_BYTES + 1)
    except OSError as error:
        if error.errno in NO_FILE:
            return None
        raise
    if len(content) > MAX_IGNORE_FILE_BYTES:
        raise OSError(errno.EFBIG, f"{path} has more than {MAX_IGNORE_FILE_BYTES} bytes of rules")
    lines = content.decode("utf-8-sig", "surrogateescape").splitlines()
    patterns = [line for number, line in enumerate(lines, 1) if _is_pattern(f"{root}/{path}", number, line)]
    return GitIgnoreSpec.from_lines(patterns, LinearPattern)


def _is_pattern(file: str, number: int, line: str) -> bool:
    try:
        LinearPattern(line)
    except (GitIgnorePatternError, re.error):
        logger.warning("%s, line %d is not a .gitignore pattern and has no effect: %s", to_text(file), number, line)
        return False
    return True
