"""File names as text that every database and JSON can hold, without losing bytes that are not UTF-8.

A name on disk is bytes. Bytes that are not UTF-8 become the private characters U+EF80 to U+EFFF (as in MirBSD's
OPTU-8). If a name really contains these characters, their bytes are mapped the same way, so both directions are exact.
"""

from __future__ import annotations

import os
import re

#: The number of folder levels that get an attribute of their own; deeper levels get none.
MAX_FOLDER_ATTRIBUTES = 16

#: Added to a byte from 0x80 to 0xFF.
_PRIVATE_BASE = 0xEF00
_PRIVATE = re.compile("[\uef80-\uefff]")
_SURROGATE = re.compile("[\udc80-\udcff]")


def to_text(path: str | os.PathLike[str]) -> str:
    """Return a path of the operating system (with `surrogateescape`) as text that encodes to UTF-8."""
    name = os.fspath(path)
    if name.isascii():
        return name
    escaped = _PRIVATE.sub(lambda match: "".join(map(_private, match.group().encode())), name)
    return _SURROGATE.sub(lambda match: _private(ord(match.group()) - 0xDC00), escaped)


def to_os(text: str) -> str:
    """Return the path as `open` takes it: the inverse of `to_text`."""
    if text.isascii() or not _PRIVATE.search(text):
        return text
    raw = b"".join(
        bytes([ord(char) - _PRIVATE_BASE]) if _PRIVATE.match(char) else char.encode("utf-8", "surrogateescape")
        for char in text
    )
    return raw.decode("utf-8", "surrogateescape")


def folder_attributes(path: str) -> dict[str, str]:
    """Return the attributes with which searches can filter watched documents by folder.

    `folder` is the folder that contains the file, relative to the watched folder ("" for the watched folder itself).
    `folder_1` is the topmost folder of the path, `folder_2` the path of the folder below it, and so on: `a/b/c.txt`
    has `folder` = `a/b`, `folder_1` = `a`, `folder_2` = `a/b`. So all documents below `a/b` have `folder_2` = `a/b`.
    """
    names = path.split("/")[:-1]
    levels = range(1, min(len(names), MAX_FOLDER_ATTRIBUTES) + 1)
    return {"folder": "/".join(names)} | {f"folder_{level}": "/".join(names[:level]) for level in levels}


def _private(byte: int) -> str:
    return chr(_PRIVATE_BASE + byte)
