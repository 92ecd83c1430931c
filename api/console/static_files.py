"""The console's scripts and styles, read once and served from memory, plain and compressed."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class StaticFile:
    """A file as it is sent."""

    content: bytes
    compressed: bytes
    media_type: str


class StaticFiles:
    """All files below `api/console/static` that a page may load, by their path relative to it."""

    @cached_property
    def files(self) -> dict[str, StaticFile]:
        """The files by path, such as `js/dom.js`."""
        return dict(_walk(files("api.console") / "static", ""))

    @cached_property
    def version(self) -> str:
        """A hash of all files. It is part of their addresses, so that browsers keep them until they change."""
        digest = hashlib.sha256()
        for path in sorted(self.files):
            digest.update(path.encode() + b"\0" + self.files[path].content + b"\0")
        return digest.hexdigest()[:16]

    def find(self, version: str, path: str) -> StaticFile | None:
        """Return a file of this version, or None."""
        return self.files.get(path) if version == self.version else None


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, StaticFile]]:
    for entry in folder.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            yield from _walk(entry, f"{path}/")
            continue
        media_type = MEDIA_TYPES.get(path[path.rfind(".") :])
        if media_type is not None:
            content = entry.read_bytes()
            yield path, StaticFile(content, gzip.compress(content, mtime=0), media_type)
