"""The built-in rules of files to ignore: files of operating systems and editors, and of transfers under way."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase, translate

#: Patterns of names of files and folders, in any case. A folder is ignored with its content.
IGNORED_NAMES = (
    ".DS_Store",
    "._*",
    "Thumbs.db",
    "desktop.ini",
    "~$*",
    "*.tmp",
    "*.part",
    "*.partial",
    "*.crdownload",
    "*.swp",
    "*~",
    ".~lock.*#",
    ".git",
    ".stfolder",
    ".stversions",
    ".syncthing.*",
    "@eaDir",
    "__MACOSX",
    # It contains rules for other files: see ignore_file.py.
    ".llmignore",
)
_IGNORED = re.compile("|".join(translate(name.lower()) for name in IGNORED_NAMES))


def is_ignored_name(name: str) -> bool:
    """Return whether files and folders of this name are ignored."""
    return _IGNORED.match(name.lower()) is not None


def rule_for_name(name: str) -> str:
    """Return the pattern by which a name is ignored."""
    return next(pattern for pattern in IGNORED_NAMES if fnmatchcase(name.lower(), pattern.lower()))


def is_ignored(path: str) -> bool:
    """Return whether a path, relative to its root, is ignored for its own name or that of a folder above it."""
    return any(is_ignored_name(name) for name in path.split("/"))
