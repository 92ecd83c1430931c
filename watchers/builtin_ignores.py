"""Names of files and folders that are ignored: of systems, programs and caches, of deleted files and of transfers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import translate

#: Patterns of names of files and folders, in any case. A folder is ignored with its content. The first that matches is
#: the reason that is reported, so the rule for all hidden files is the last.
IGNORED_NAMES = (
    # It contains rules for other files: see ignore_file.py.
    ".llmignore",
    # Operating systems
    ".DS_Store",
    "._*",
    "Icon\r",
    "Thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "__MACOSX",
    "System Volume Information",
    "lost+found",
    "found.[0-9][0-9][0-9]",
    # Trash
    ".Trash*",
    "$RECYCLE.BIN",
    "RECYCLER",
    "RECYCLED",
    "#recycle",
    "@Recycle",
    "Network Trash Folder",
    "Temporary Items",
    # Storage servers: thumbnails, snapshots and uploads under way
    "@eaDir",
    "@tmp",
    "@__thumb",
    "@Recently-Snapshot",
    "#snapshot",
    "~snapshot",
    ".snapshot",
    ".snapshots",
    # Programs and their caches
    ".git",
    ".svn",
    ".hg",
    ".obsidian",
    ".idea",
    ".cache",
    ".venv",
    ".ipynb_checkpoints",
    "node_modules",
    "__pycache__",
    "site-packages",
    # Synchronisation
    ".stfolder",
    ".stversions",
    ".syncthing.*",
    ".sync",
    "*.!sync",
    # Editors and office programs: locks, backups, and files before they are renamed
    "~$*",
    "*~",
    "#*#",
    "*.bak",
    "*.lock",
    "*.sw[k-px]",
    "*.sb-*",
    "*___jb_???___",
    ".~lock.*#",
    ".goutputstream-*",
    # Transfers
    "*.tmp",
    "*.temp",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.opdownload",
    "*.download",
    "*.aria2",
    "*.!qB",
    "*.!ut",
    "*.bc!",
    ".*.??????",
    # Files that network file systems keep after they were deleted
    ".nfs*",
    ".fuse_hidden*",
    ".smbdelete*",
    # Hidden files, such as `.env`, which often contain passwords
    ".*",
)


class IgnoredNames:
    """The names that are ignored: the built-in patterns, changed by the entries of WATCH_IGNORE.

    An entry is a further pattern. With `!` before it, it removes that built-in pattern if there is one, and otherwise
    excepts the names that match it.
    """

    def __init__(self, entries: Sequence[str] = ()) -> None:
        removed = {entry[1:].lower() for entry in entries if entry.startswith("!")}
        kept = [pattern for pattern in IGNORED_NAMES if pattern.lower() not in removed]
        #: Built-in patterns, and those of WATCH_IGNORE after them.
        self._patterns = [(pattern, f"built-in rule: {pattern}") for pattern in kept]
        own = [entry for entry in entries if not entry.startswith("!")]
        self._patterns += [(pattern, f"WATCH_IGNORE: {pattern}") for pattern in own]
        self._ignored = _any_of([pattern for pattern, _ in self._patterns])
        self._excepted = _any_of(removed - {pattern.lower() for pattern in IGNORED_NAMES})

    def is_ignored_name(self, name: str) -> bool:
        """Return whether files and folders of this name are ignored."""
        lower = name.lower()
        return self._ignored.match(lower) is not None and self._excepted.match(lower) is None

    def rule_for_name(self, name: str) -> str | None:
        """Return the rule by which a name is ignored, or None if it is not."""
        if not self.is_ignored_name(name):
            return None
        return next(rule for pattern, rule in self._patterns if _any_of([pattern]).match(name.lower()))

    def is_ignored(self, path: str) -> bool:
        """Return whether a path, relative to its root, is ignored for its own name or that of a folder above it."""
        return any(self.is_ignored_name(name) for name in path.split("/"))


def _any_of(patterns: Sequence[str] | set[str]) -> re.Pattern[str]:
    """Return the expression of names, in lower case, that one of these patterns matches; without any, it has none."""
    return re.compile("|".join(translate(pattern.lower()) for pattern in patterns) or "(?!)")
