"""The comparison of a folder with the catalog. Pure: values in, decisions out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from core.catalog import Document, MirroredFile, to_os
from core.watch_roots import WatchMode

#: The least number of missing files that counts as a mass deletion.
MASS_DELETION_FLOOR = 5


class FileStat(NamedTuple):
    """The state of a file, as far as it is known without reading the content."""

    size_bytes: int
    mtime_ns: int
    inode: int
    #: Nobody can set it, so it tells changes that keep size and time. A rename changes it too. 0: not known.
    ctime_ns: int = 0

    @property
    def across_renames(self) -> FileStat:
        """The part of the state that a rename leaves as it is."""
        return self._replace(ctime_ns=0)


class Row(NamedTuple):
    """The part of a document that concerns its file. The path is relative to the root."""

    document_id: str
    path: str
    content_hash: str
    collection: str
    stat: FileStat
    #: The key of the file's copy in the blob store, if there is one.
    blob_key: str | None = None
    #: The file was missing when a worker wanted to read it.
    is_lost: bool = False
    #: The document was deleted over the API, and its file is ignored until it changes.
    is_ignored: bool = False


@dataclass(frozen=True)
class Changed:
    """A document whose file has another state: it was touched, has new content, or is back."""

    row: Row
    stat: FileStat


@dataclass(frozen=True)
class Moved:
    """A document whose file is now at another path."""

    row: Row
    path: str
    stat: FileStat


@dataclass(frozen=True)
class Difference:
    """How a folder differs from the catalog, path by path."""

    appeared: dict[str, FileStat] = field(default_factory=dict)
    changed: list[Changed] = field(default_factory=list)
    vanished: list[Row] = field(default_factory=list)
    #: Ignored files that have changed or are gone, and those that are still ignored.
    no_longer_ignored: list[Row] = field(default_factory=list)
    still_ignored: list[Row] = field(default_factory=list)
    #: The number of rows, without ignored files.
    row_count: int = 0
    #: The ctimes, by document, of files that an older release has seen, which did not record it.
    unknown_ctimes: dict[str, int] = field(default_factory=dict)

    @property
    def paths(self) -> Iterable[str]:
        """All paths that differ."""
        yield from self.appeared
        yield from (changed.row.path for changed in self.changed)
        yield from (row.path for row in self.vanished)
        yield from (row.path for row in self.no_longer_ignored)

    @property
    def lost(self) -> list[Row]:
        """The rows whose files are gone and were not merely renamed."""
        appeared = {stat.across_renames for stat in self.appeared.values()}
        return [row for row in self.vanished if row.stat.across_renames not in appeared]


def row_of(document: Document) -> Row:
    """Return the row of a document."""
    return Row(
        document_id=document.id,
        path=to_os(document.path or ""),
        content_hash=document.content_hash,
        collection=document.collection,
        stat=FileStat(document.size_bytes, document.mtime_ns or 0, document.inode or 0, document.ctime_ns or 0),
        blob_key=document.blob_key,
        is_lost=document.has_lost_file,
    )


def row_of_file(file: MirroredFile, *, is_ignored: bool = False) -> Row:
    """Return the row of a file as the catalog knows it."""
    # By position, since a scan does this for every file.
    stat = FileStat(file.size_bytes, file.mtime_ns or 0, file.inode or 0, file.ctime_ns or 0)
    is_lost = bool(file.has_lost_file)
    path = to_os(file.path)
    return Row(file.document_id, path, file.content_hash, file.collection, stat, file.blob_key, is_lost, is_ignored)


def compare(
    files: Mapping[str, FileStat], rows: Iterable[Row], collection: str, mode: WatchMode = WatchMode.MIRROR
) -> Difference:
    """Compare the files of a folder (or of some of its paths) with the rows of the same paths."""
    appeared, count = dict(files), 0
    ctimes: dict[str, int] = {}
    changed: list[Changed] = []
    vanished: list[Row] = []
    ignored = []
    for row in rows:
        if row.is_ignored:
            ignored.append(row)
            continue
        count += 1
        stat = appeared.pop(row.path, None)
        if stat is None:
            if _follows(row, mode):
                vanished.append(row)
        elif not _is_same(stat, row, ctimes) or row.collection != collection or row.is_lost or _needs_copy(row, mode):
            changed.append(Changed(row, stat))
    still, no_longer = [], []
    for row in ignored:
        found = appeared.get(row.path)
        if found is not None and _is_same(found, row, ctimes):
            del appeared[row.path]
            still.append(row)
        else:
            no_longer.append(row)
    return Difference(appeared, changed, vanished, no_longer, still, count, ctimes)


def _is_same(stat: FileStat, row: Row, ctimes: dict[str, int]) -> bool:
    """Return whether a file is in the state of the row. If the row has no ctime, add the file's to `ctimes`."""
    if stat == row.stat:
        return True
    if row.stat.ctime_ns or stat.across_renames != row.stat:
        return False
    ctimes[row.document_id] = stat.ctime_ns
    return True


def _follows(row: Row, mode: WatchMode) -> bool:
    """Return whether a document is deleted with its file. In consumed folders, a stored document stays."""
    return mode is WatchMode.MIRROR or (mode is WatchMode.CONSUME and row.blob_key is None)


def _needs_copy(row: Row, mode: WatchMode) -> bool:
    """Return whether the file still has to be copied (and then, in a consumed folder, removed)."""
    return mode is WatchMode.CONSUME or (mode is WatchMode.ADDITIVE and row.blob_key is None)


def pair_by_stat(appeared: Mapping[str, FileStat], vanished: Iterable[Row]) -> list[Moved]:
    """Return the moves within a file system: the file at the new path is the same as the one that vanished."""
    at = {stat.across_renames: path for path, stat in appeared.items()}
    moves = []
    for row in vanished:
        path = at.pop(row.stat.across_renames, None)
        if path is not None:
            moves.append(Moved(row, path, appeared[path]))
    return moves


def pair_by_hash(appeared: Mapping[str, FileStat], hashes: Mapping[str, str], vanished: Iterable[Row]) -> list[Moved]:
    """Return the moves by copying: a file at a new path has the content of one that vanished.

    Among several vanished files, prefer one with the same file name.
    """
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
    """Return whether so many documents lost their files at once that a person must confirm it: more than half."""
    return lost_count >= floor and lost_count * 2 > row_count


def is_restored(row_count: int, lost_count: int) -> bool:
    """Return whether the files are back after a mass deletion: nine tenths of `row_count` documents have their file.

    Half of them is not enough, because a disk that comes back step by step must not lose the other half.
    """
    return lost_count * 10 <= row_count


def topmost(prefixes: Iterable[str]) -> list[str]:
    """Return the folders that are not inside another of the given ones; "" is the root, which contains all."""
    found: list[str] = []
    for prefix in sorted(prefixes, key=lambda path: path.split("/") if path else []):
        if not found or not is_below(prefix, found[-1]):
            found.append(prefix)
    return found


def is_below(path: str, prefix: str) -> bool:
    """Return whether a path is the folder `prefix` or is in it."""
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _name(path: str) -> str:
    return path.rpartition("/")[2]
