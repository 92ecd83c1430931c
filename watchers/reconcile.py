"""What differs between a folder and the catalog, and what that means. Pure: values in, decisions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: A folder of fewer documents than this is never suspected of having been lost.
MASS_DELETION_FLOOR = 1


@dataclass(frozen=True)
class FileStat:
    """What tells one state of a file from another without reading it."""

    size_bytes: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True)
class Row:
    """A document of the catalog, as far as it concerns its file. The path is relative to the root."""

    document_id: str
    path: str
    content_hash: str
    collection: str
    stat: FileStat


@dataclass(frozen=True)
class Changed:
    """A document whose file is there in another state: touched, or of new content."""

    row: Row
    stat: FileStat


@dataclass(frozen=True)
class Moved:
    """A document whose file is at another path now."""

    row: Row
    path: str
    stat: FileStat


@dataclass(frozen=True)
class Difference:
    """How a folder differs from the catalog, path by path."""

    appeared: dict[str, FileStat] = field(default_factory=dict)
    changed: list[Changed] = field(default_factory=list)
    vanished: list[Row] = field(default_factory=list)

    @property
    def paths(self) -> Iterable[str]:
        """All paths that differ."""
        yield from self.appeared
        yield from (changed.row.path for changed in self.changed)
        yield from (row.path for row in self.vanished)


def compare(files: Mapping[str, FileStat], rows: Iterable[Row], collection: str) -> Difference:
    """Holds the files of a folder (or of some of its paths) against the rows of the same paths."""
    difference = Difference(appeared=dict(files))
    for row in rows:
        stat = difference.appeared.pop(row.path, None)
        if stat is None:
            difference.vanished.append(row)
        elif stat != row.stat or row.collection != collection:
            difference.changed.append(Changed(row, stat))
    return difference


def pair_by_stat(appeared: Mapping[str, FileStat], vanished: Iterable[Row]) -> list[Moved]:
    """Moves within a file system: the file at the new path is the very file that has gone from the old one."""
    at = {stat: path for path, stat in appeared.items()}
    moves = []
    for row in vanished:
        path = at.pop(row.stat, None)
        if path is not None:
            moves.append(Moved(row, path, row.stat))
    return moves


def pair_by_hash(appeared: Mapping[str, FileStat], hashes: Mapping[str, str], vanished: Iterable[Row]) -> list[Moved]:
    """Moves by copying: the new path has the content of one that has gone. The same file name goes first."""
    sources: dict[str, list[Row]] = {}
    for row in vanished:
        sources.setdefault(row.content_hash, []).append(row)
    moves = []
    for path, stat in appeared.items():
        candidates = sources.get(hashes.get(path, ""))
        if candidates:
            row = next((row for row in candidates if _name(row.path) == _name(path)), candidates[0])
            candidates.remove(row)
            moves.append(Moved(row, path, stat))
    return moves


def is_mass_deletion(row_count: int, vanished_count: int) -> bool:
    """Whether so many documents lost their files that the folder itself is in doubt: more than half of them."""
    return row_count >= MASS_DELETION_FLOOR and vanished_count * 2 > row_count


def topmost(prefixes: Iterable[str]) -> list[str]:
    """The folders that lie in no other of the given ones; "" is the root, above all."""
    found: list[str] = []
    for prefix in sorted(prefixes, key=lambda path: path.split("/") if path else []):
        if not found or not is_below(prefix, found[-1]):
            found.append(prefix)
    return found


def is_below(path: str, prefix: str) -> bool:
    """Whether a path is the folder `prefix`, or in it."""
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _name(path: str) -> str:
    return path.rpartition("/")[2]
