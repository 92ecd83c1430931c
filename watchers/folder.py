"""One watched folder on disk: which of its files are mirrored, and what state they are in."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.catalog import to_text
from core.safe_open import NO_FILE, file_status, link_target, opened_file, opened_folder
from core.watch_roots import WatchRoot
from watchers.builtin_ignores import IgnoredNames
from watchers.completeness import HEAD_BYTES, TAIL_BYTES
from watchers.ignore_file import IGNORE_FILE, IgnoreRules
from watchers.reconcile import FileStat
from watchers.skip_report import IRREGULAR, LINK, SkipReport, unreadable
from watchers.writers import OpenForWriting, without_writers

logger = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
#: Inodes of some network file systems use all 64 bits; databases store 63.
_INODE_MASK = (1 << 63) - 1


@dataclass(frozen=True)
class Identity:
    """Distinguishes a folder from another one at the same path, such as the empty mount point below it."""

    device: int
    inode: int

    def __str__(self) -> str:
        return f"{self.device}:{self.inode}"


class Stopped(Exception):
    """The watcher was stopped while it read a file."""


class Folder:
    """A watched folder. Paths are relative to it, as the operating system spells them."""

    def __init__(self, root: WatchRoot, excluded: Sequence[Path] = (), ignore: Sequence[str] = ()) -> None:
        """Prepare to mirror it, without the folders `excluded` inside it, and with the entries of WATCH_IGNORE."""
        self.path = str(root.path)
        self.collection = root.collection
        self.mode = root.mode
        #: The folder's path as the catalog stores it.
        self.key = to_text(self.path)
        self.rules = IgnoreRules(self.path)
        self._names = IgnoredNames(ignore)
        self._excluded = [os.path.relpath(path, self.path) for path in excluded if _is_inside(path, root.path)]

    def identity(self) -> Identity | None:
        """Return the identity of the folder that is at the path now, or None if there is none or it is unreachable."""
        try:
            status = Path(self.path).stat()
        except OSError:
            return None
        return Identity(status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None

    def relative(self, path: str) -> str | None:
        """Return an absolute path relative to the folder ("" for the folder itself).

        Return None if the path is not in the folder, is excluded, or is ignored by a built-in rule. Paths that only
        `.llmignore` ignores are returned. For a `.llmignore` file, return the folder that contains it.
        """
        if path == self.path:
            return ""
        prefix = self.path.rstrip("/") + "/"
        if not path.startswith(prefix):
            return None
        relative = path[len(prefix) :]
        parent, _, name = relative.rpartition("/")
        if name == IGNORE_FILE:
            relative = parent
        return None if self._names.is_ignored(relative) or self._is_excluded(relative) else relative

    def is_ignored(self, relative: str) -> bool:
        """Return whether a file exists and is ignored for its name, or by a rule of `.llmignore`."""
        try:
            return self._is_ruled_out(relative) and self._regular(relative) is not None
        except OSError:
            return False

    def _is_ruled_out(self, relative: str) -> bool:
        return self._names.is_ignored(relative) or self.rules.is_ignored(relative)

    def absolute(self, relative: str) -> str:
        return f"{self.path.rstrip('/')}/{relative}" if relative else self.path

    def stat(self, relative: str) -> FileStat | None:
        """Return the state of a file.

        Return None if there is no regular file, if it is reached over a link out of the folder, or if it is ignored.

        Raises:
            OSError: the state is unknown, because of missing permission or because the disk does not answer.
        """
        found = self._regular(relative)
        return None if found is None or self._is_ruled_out(relative) else found

    def _regular(self, relative: str) -> FileStat | None:
        try:
            status = file_status(self.path, relative)
            if stat.S_ISLNK(status.st_mode):
                target = link_target(self.path, relative)
                if target is None or self._is_excluded(target):
                    return None
                status = file_status(self.path, target)
        except OSError as error:
            if error.errno in NO_FILE:
                return None
            raise
        return _file_stat(status) if stat.S_ISREG(status.st_mode) else None

    def scan(self, prefix: str = "", skips: SkipReport | None = None) -> Iterator[tuple[str, FileStat]]:
        """Yield all files to mirror, or those below the subfolder `prefix`. Log and skip what cannot be read.

        Skipped files are added to the report `skips`.
        """
        skips = skips if skips is not None else SkipReport(self.key)
        self.rules.forget()
        pending = [prefix] if self._is_entered(prefix) else []
        while pending:
            current = pending.pop()
            try:
                with opened_folder(self.path, current) as folder:
                    yield from self._scan_folder(folder, current, pending, skips)
            except (FileNotFoundError, NotADirectoryError):
                continue  # it was removed after it was listed, or is not a folder
            except OSError as error:
                logger.warning("The folder %s cannot be read: %s", to_text(self.absolute(current)), error.strerror)
                skips.add(current, unreadable(error.strerror), is_folder=True)

    def _scan_folder(
        self, folder: int, path: str, pending: list[str], skips: SkipReport
    ) -> Iterator[tuple[str, FileStat]]:
        """Yield the files of an open folder, and add its subfolders to `pending`."""
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
        try:
            with os.scandir(listed) as entries:
                for entry in entries:
                    relative = f"{path}/{entry.name}" if path else entry.name
                    if self._is_excluded(relative):
                        continue
                    is_folder = entry.is_dir(follow_symlinks=False)
                    rule = self._rule_for(entry.name, relative, is_folder)
                    if rule is not None:
                        if entry.name != IGNORE_FILE:
                            skips.add(relative, rule, is_folder=is_folder)
                    elif is_folder:
                        pending.append(relative)
                    elif (found := self._entry_stat(folder, entry, relative, skips)) is not None:
                        yield relative, found
        finally:
            os.close(listed)

    def hash(self, relative: str, seen: FileStat, stop: threading.Event) -> str:
        """Return the SHA-256 of the file's content in hex. See `read`."""
        digest = hashlib.sha256()
        self.read(relative, seen, digest.update, stop)
        return digest.hexdigest()

    def read(self, relative: str, seen: FileStat, take: Callable[[bytes], object], stop: threading.Event) -> None:
        """Pass the content of the file that was seen at this path to `take`, block by block.

        Raises:
            FileNotFoundError: another file, or none, is at the path now, or the file has another state.
            OSError: it cannot be read.
            Stopped: `stop` was set.
        """
        with self.opened(relative, seen) as descriptor:
            while block := os.read(descriptor, BLOCK_BYTES):
                if stop.is_set():
                    raise Stopped
                take(block)

    @contextmanager
    def opened(self, relative: str, seen: FileStat) -> Iterator[int]:
        """Open the file that was seen at this path, and yield its descriptor.

        Raises:
            FileNotFoundError: another file, or none, is at the path now, or the file has another state.
            OSError: it cannot be opened.
        """
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(opened_file(self.path, relative))
            except OSError as error:
                if error.errno in NO_FILE:
                    raise _replaced(relative) from error
                raise
            if _file_stat(os.fstat(descriptor)) != seen:
                raise _replaced(relative)
            yield descriptor

    def is_open_for_writing(self, relative: str, seen: FileStat) -> bool:
        """Return whether somebody has the file that was seen at this path open for writing.

        Raises:
            FileNotFoundError: see `opened`.
            OSError: it cannot be opened.
        """
        try:
            with self.opened(relative, seen) as descriptor, without_writers(descriptor):
                return False
        except OpenForWriting:
            return True

    def ends(self, relative: str, seen: FileStat) -> tuple[bytes, bytes]:
        """Return the first HEAD_BYTES and the last TAIL_BYTES of the file that was seen at this path.

        Raises:
            FileNotFoundError: see `opened`.
            OSError: it cannot be read.
        """
        with self.opened(relative, seen) as descriptor:
            tail = os.pread(descriptor, TAIL_BYTES, max(0, seen.size_bytes - TAIL_BYTES))
            return os.pread(descriptor, HEAD_BYTES, 0), tail

    def remove(self, relative: str, seen: FileStat) -> bool:
        """Remove a file, and return whether it was removed: not if it has changed or is open for writing.

        Raises:
            FileNotFoundError: see `opened`.
            OSError: it cannot be removed.
        """
        parent, _, name = relative.rpartition("/")
        with opened_folder(self.path, parent) as folder, self.opened(relative, seen) as descriptor:
            try:
                with without_writers(descriptor) as is_unwritten:
                    if self._status_in(folder, relative) != seen or not is_unwritten():
                        return False
                    os.unlink(name, dir_fd=folder)
                    return True
            except OpenForWriting:
                return False

    def _status_in(self, folder: int, relative: str) -> FileStat | None:
        """Return the state of a file, given its open folder: the folder at its path may be another one by now."""
        status = os.stat(relative.rpartition("/")[2], dir_fd=folder, follow_symlinks=False)
        return self.stat(relative) if stat.S_ISLNK(status.st_mode) else _file_stat(status)

    def _is_entered(self, folder: str) -> bool:
        """Return whether a scan may begin in a folder: no rule ignores it, and its rules can be read."""
        try:
            return not self.rules.is_folder_ignored(folder)
        except OSError as error:
            logger.warning("%s cannot be read: %s", to_text(self.absolute(folder)), error)
            return False

    def _rule_for(self, name: str, relative: str, is_folder: bool) -> str | None:
        return self._names.rule_for_name(name) or self.rules.rule_for(relative, is_folder=is_folder)

    def _entry_stat(self, folder: int, entry: os.DirEntry[str], relative: str, skips: SkipReport) -> FileStat | None:
        try:
            if entry.is_symlink():
                found = self.stat(relative)
                if found is None:
                    skips.add(relative, LINK)
                return found
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("The file %s cannot be read: %s", to_text(self.absolute(relative)), error.strerror)
            skips.add(relative, unreadable(error.strerror))
            return None
        if not stat.S_ISREG(status.st_mode):
            skips.add(relative, IRREGULAR)
            return None
        if not os.access(entry.name, os.R_OK, dir_fd=folder):
            # It is reported, but its state is returned: an existing document stays, and it is ingested once it can
            # be read.
            skips.add(relative, unreadable(os.strerror(errno.EACCES)))
        return _file_stat(status)

    def _is_excluded(self, relative: str) -> bool:
        if not self._excluded:
            return False  # a scan asks for each file
        return any(relative == path or relative.startswith(f"{path}/") for path in self._excluded)


def _is_inside(path: Path, root: Path) -> bool:
    return path != root and path.is_relative_to(root)


def _replaced(relative: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "The file that was seen is no longer there", relative)


def _file_stat(status: os.stat_result) -> FileStat:
    return FileStat(status.st_size, status.st_mtime_ns, status.st_ino & _INODE_MASK, status.st_ctime_ns)
