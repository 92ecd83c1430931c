"""What in a watched folder is no document: leavings of systems, of editors, and of transfers under way."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase, translate

#: Names of files and folders, in any case; a folder's content is ignored with it.
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
    # Rules for the other files: see ignore.py.
    ".llmignore",
)
_IGNORED = re.compile("|".join(translate(name.lower()) for name in IGNORED_NAMES))


def is_ignored_name(name: str) -> bool:
    """Whether a file or folder of this name is passed over."""
    return _IGNORED.match(name.lower()) is not None


def rule_for_name(name: str) -> str:
    """The pattern by which a name is passed over."""
    return next(pattern for pattern in IGNORED_NAMES if fnmatchcase(name.lower(), pattern.lower()))


def is_ignored(path: str) -> bool:
    """Whether a path relative to its root is passed over, for its own name or that of a folder above it."""
    return any(is_ignored_name(name) for name in path.split("/"))
