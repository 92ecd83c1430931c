"""The entries of WATCH_DIRS: watched folders, the collections that they feed, and their modes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

DEFAULT_COLLECTION = "default"


class WatchMode(StrEnum):
    """How changes of a watched folder affect its documents."""

    #: The documents follow the folder: when a file is deleted, its document is deleted.
    MIRROR = "mirror"
    #: New and changed files are ingested; when a file is deleted, its document stays.
    ADDITIVE = "additive"
    #: A file is removed from the folder once a copy of it is stored and its document is queued.
    CONSUME = "consume"


@dataclass(frozen=True)
class WatchRoot:
    """A watched folder, the collection that it feeds, and its mode."""

    path: Path
    collection: str
    mode: WatchMode = WatchMode.MIRROR


def watch_root_of(entry: str) -> WatchRoot:
    """Return the folder that an entry of WATCH_DIRS names: PATH, PATH=COLLECTION or PATH=COLLECTION:MODE.

    Raises:
        ValueError: the entry is wrong; the message says how.
    """
    path, separator, feeds = entry.rpartition("=")
    if not separator:
        return WatchRoot(Path(os.path.abspath(entry)), DEFAULT_COLLECTION)
    collection, colon, mode = feeds.rpartition(":")
    if colon and mode not in list(WatchMode):
        raise ValueError(
            f"WATCH_DIRS: {entry!r} names the mode {mode!r}; after `PATH=COLLECTION:` it is mirror, additive or consume"
        )
    if not (collection if colon else feeds):
        raise ValueError(
            f"WATCH_DIRS: the collection's name is empty in {entry!r}; write PATH, PATH=COLLECTION or "
            "PATH=COLLECTION:MODE"
        )
    if not path:
        raise ValueError(f"WATCH_DIRS: the path is empty in {entry!r}; write PATH=COLLECTION")
    absolute = Path(os.path.abspath(path))
    return WatchRoot(absolute, collection, WatchMode(mode)) if colon else WatchRoot(absolute, feeds)
