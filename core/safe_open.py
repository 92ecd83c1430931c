"""Opens files beneath a folder without following links out of it.

Whoever can write to a folder can put a link in place of a file or of a subfolder at any moment, also between a check
and the use of the path. So each part of a path is opened by itself, from the descriptor of the part before it, and none
may be a link. Only the folder itself may be reached over links, because its path comes from the settings.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

#: Linux can open a folder that may be entered but not listed; elsewhere it must be readable.
_FOLDER = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
#: O_NONBLOCK, because a pipe may have been put in the file's place, and opening one would block.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
#: The errors of opening a link with O_NOFOLLOW: Linux and macOS, FreeBSD.
_IS_LINK = frozenset({errno.ELOOP, errno.EMLINK})
#: Errors that mean that there is no such file: it is gone, is reached over a link, or its name is too long.
NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EMLINK})


@contextmanager
def opened_folder(root: str, relative: str = "") -> Iterator[int]:
    """Open a folder beneath `root` ("" is the root itself). Yield a descriptor for paths relative to it.

    Raises:
        OSError: there is no such folder, or a part of `relative` is a link (ENOTDIR or ELOOP).
    """
    descriptor = os.open(root, _FOLDER)
    try:
        for name in relative.split("/") if relative else ():
            inner = os.open(_checked(name), _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(root: str, relative: str) -> Iterator[int]:
    """Open a regular file beneath `root` for reading, and yield its descriptor.

    If the path is a link to a file beneath `root`, that file is opened.

    Raises:
        OSError: there is no such file, it is a link out of `root`, or one of its folders is a link: see `NO_FILE`.
    """
    descriptor = _open_file(root, relative)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(errno.ENOENT, "Not a regular file", relative)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_file(root: str, relative: str) -> int:
    try:
        return _open_unlinked(root, relative)
    except OSError as error:
        target = link_target(root, relative) if error.errno in _IS_LINK else None
        if target is None:
            raise
    return _open_unlinked(root, target)


def _open_unlinked(root: str, relative: str) -> int:
    folder, _, name = relative.rpartition("/")
    with opened_folder(root, folder) as descriptor:
        return os.open(_checked(name), _FILE, dir_fd=descriptor)


def file_status(root: str, relative: str) -> os.stat_result:
    """Return the status of a file beneath `root`, or that of a link if there is one.

    Raises:
        OSError: there is no such file, or one of its folders is a link: see `NO_FILE`.
    """
    folder, _, name = relative.rpartition("/")
    with opened_folder(root, folder) as descriptor:
        return os.stat(_checked(name), dir_fd=descriptor, follow_symlinks=False)


def link_target(root: str, relative: str) -> str | None:
    """Return the path, relative to `root`, of the file that a link leads to, or None if it leads out of the folder.

    The folders of a link are not links: else there is no target.
    """
    folder = relative.rpartition("/")[0]
    prefix = os.path.realpath(root).rstrip("/") + "/"
    if folder and os.path.realpath(f"{prefix}{folder}") != f"{prefix}{folder}":
        return None
    target = os.path.realpath(f"{prefix}{relative}")
    return target.removeprefix(prefix) if target.startswith(prefix) else None


def _checked(name: str) -> str:
    if name in ("", ".", ".."):
        raise OSError(errno.EINVAL, f"{name!r} is not the name of a file")
    return name
