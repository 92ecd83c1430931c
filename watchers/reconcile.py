"""What differs between a folder and the catalog, and what that means. Pure: values in, decisions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from core.catalog import Document, to_os
from core.settings import WatchMode

#: Fewer files than this may always be deleted at once.
MASS_DELETION_FLOOR = 5


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
    #: The key of our own copy of the file, if there is one.
    blob_key: str | None = None
    #: Its file was gone when it was to be read.
    is_lost: bool = False
    #: No document, but a file that stays out: a person has deleted its document.
    is_ignored: bool = False


@dataclass(frozen=True)
class Changed:
    """A document whose file is there in another state: touched, of new content, or there again."""

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
    #: Files that stayed out, and are of another state now or gone.
    readmitted: list[Row] = field(default_factory=list)

    @property
    def paths(self) -> Iterable[str]:
        """All paths that differ."""
        yield from self.appeared
        yield from (changed.row.path for changed in self.changed)
        yield from (row.path for row in self.vanished)
        yield from (row.path for row in self.readmitted)

    @property
    def lost(self) -> list[Row]:
        """The rows whose files are gone, and have not just another name."""
        there = set(self.appeared.values())
        return [row for row in self.vanished if row.stat not in there]


def row_of(document: Document) -> Row:
    """What of a document concerns its file."""
    return Row(
        document_id=document.id,
        path=to_os(document.path or ""),
        content_hash=document.content_hash,
        collection=document.collection,
        stat=FileStat(document.size_bytes, document.mtime_ns or 0, document.inode or 0),
        blob_key=document.blob_key,
        is_lost=document.has_lost_file,
    )


def compare(
    files: Mapping[str, FileStat], rows: Iterable[Row], collection: str, mode: WatchMode = WatchMode.MIRROR
) -> Difference:
    """Holds the files of a folder (or of some of its paths) against the rows of the same paths."""
    difference = Difference(appeared=dict(files))
    ignored = []
    for row in rows:
        if row.is_ignored:
            ignored.append(row)
            continue
        stat = difference.appeared.pop(row.path, None)
        if stat is None:
            if _follows(row, mode):
                difference.vanished.append(row)
        elif stat != row.stat or row.collection != collection or row.is_lost or _needs_copy(row, mode):
            difference.changed.append(Changed(row, stat))
    for row in ignored:
        if difference.appeared.get(row.path) == row.stat:
            del difference.appeared[row.path]
        else:
            difference.readmitted.append(row)
    return difference


def _follows(row: Row, mode: WatchMode) -> bool:
    """Whether a document goes when its file does. In folders that are emptied, what was stored stays."""
    return mode is WatchMode.MIRROR or (mode is WatchMode.CONSUME and row.blob_key is None)


def _needs_copy(row: Row, mode: WatchMode) -> bool:
    """Whether the file is still to be stored (and then removed, where that is meant)."""
    return mode is WatchMode.CONSUME or (mode is WatchMode.ADDITIVE and row.blob_key is None)


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


def is_mass_deletion(row_count: int, lost_count: int, floor: int = MASS_DELETION_FLOOR) -> bool:
    """Whether so many documents lost their files at once that somebody should say so: more than half of them."""
    return lost_count >= floor and lost_count * 2 > row_count


def is_restored(row_count: int, lost_count: int) -> bool:
    """Whether the files are back after a mass deletion from a folder of `row_count` documents: nine tenths are there.

    Not just half of them: a disk that comes back bit by bit must not lose the other half.
    """
    return lost_count * 10 <= row_count


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
