"""File names as text that every database and JSON can hold, without losing the bytes that are not UTF-8.

A name on disk is bytes. Bytes that are not UTF-8 become the private characters U+EF80 to U+EFFF (as in MirBSD's
OPTU-8), and so do the bytes of those characters themselves where a name really has them, so both directions are exact.
"""

from __future__ import annotations

import os
import re

#: Added to a byte from 0x80 to 0xFF.
_PRIVATE_BASE = 0xEF00
_PRIVATE = re.compile("[\uef80-\uefff]")
_SURROGATE = re.compile("[\udc80-\udcff]")


def to_text(path: str | os.PathLike[str]) -> str:
    """A path as the operating system gives it (`surrogateescape`), as text that encodes to UTF-8."""
    name = os.fspath(path)
    if name.isascii():
        return name
    escaped = _PRIVATE.sub(lambda match: "".join(map(_private, match.group().encode())), name)
    return _SURROGATE.sub(lambda match: _private(ord(match.group()) - 0xDC00), escaped)


def to_os(text: str) -> str:
    """The inverse of `to_text`: the path as `open` takes it."""
    if text.isascii() or not _PRIVATE.search(text):
        return text
    raw = b"".join(
        bytes([ord(char) - _PRIVATE_BASE]) if _PRIVATE.match(char) else char.encode("utf-8", "surrogateescape")
        for char in text
    )
    return raw.decode("utf-8", "surrogateescape")


def _private(byte: int) -> str:
    return chr(_PRIVATE_BASE + byte)
