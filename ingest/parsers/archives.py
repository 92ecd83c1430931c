"""Looks into zip archives (Office files are some) before a parser opens them, and refuses bombs."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from core.errors import DocumentRejected

MAX_ENTRIES = 10_000
MAX_EXPANDED_BYTES = 512 * 2**20
MAX_RATIO = 100
#: Below this the ratio says nothing: a few kilobytes of equal XML compress a thousandfold.
RATIO_FLOOR_BYTES = 16 * 2**20
_ENCRYPTED_FLAG = 0x1
_ARCHIVES = frozenset({".zip", ".docx", ".xlsx", ".pptx", ".jar", ".gz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".zst"})
ENCRYPTED = "The file is encrypted. Remove the password and drop it again."

#: What `zipfile` raises on an archive that is damaged. A name in a charset that it is not in is a ValueError.
BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
)

#: What libraries that read files raise on one that is broken in a way unknown to them; not what ends the work: time,
#: memory. lxml's XMLSyntaxError is a SyntaxError, and PDFium's error a RuntimeError.
BROKEN_FILE: tuple[type[Exception], ...] = (
    *BROKEN_ARCHIVE,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    StopIteration,
    SyntaxError,
    TypeError,
    struct.error,
)


def broken_archive(error: BaseException) -> DocumentRejected:
    """The refusal of a file whose archive is damaged."""
    return DocumentRejected(f"The file is broken: its archive cannot be read ({error}).")


def check_archive(path: Path) -> list[str]:
    """The names of the archive's entries, once it is known that unpacking it is harmless.

    Raises:
        DocumentRejected: it is broken, encrypted, or would grow beyond the limits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except BROKEN_ARCHIVE as error:
        raise broken_archive(error) from error
    if len(entries) > MAX_ENTRIES:
        raise DocumentRejected(f"The archive has {len(entries)} entries; {MAX_ENTRIES} are allowed.")
    if any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries):
        raise DocumentRejected(ENCRYPTED)
    _check_growth(entries, path.stat().st_size)
    return [entry.filename for entry in entries]


def _check_growth(entries: list[zipfile.ZipInfo], size_bytes: int) -> None:
    # The sizes are those that the directory states. A lie is caught while unpacking: zipfile stops at the stated size.
    expanded = sum(entry.file_size for entry in entries)
    if expanded > MAX_EXPANDED_BYTES:
        raise DocumentRejected(
            f"The archive would unpack to {expanded // 2**20} MiB; {MAX_EXPANDED_BYTES // 2**20} MiB are allowed."
        )
    # Against the whole file, too: overlapping entries count the same compressed bytes many times.
    compressed = max(1, min(size_bytes, sum(entry.compress_size for entry in entries)))
    if expanded > RATIO_FLOOR_BYTES and expanded > MAX_RATIO * compressed:
        raise DocumentRejected(
            f"The archive would grow {expanded // compressed} times when unpacked; {MAX_RATIO} times are allowed."
        )


def refuse_nested(names: list[str]) -> None:
    """Refuses an archive with further archives in it, outside the folders where Office embeds objects.

    Raises:
        DocumentRejected: there is one.
    """
    for name in names:
        entry = PurePosixPath(name)
        # Embedded workbooks lie there, of charts for example. No parser opens them.
        if entry.suffix.lower() in _ARCHIVES and "embeddings" not in entry.parts:
            raise DocumentRejected(f"The archive has another archive in it ({entry.name}); that is not allowed.")
