"""Checks zip archives, which include Office files, before a parser opens them, and refuses archive bombs."""

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
#: Below this size the ratio is ignored, because a small file of repetitive XML may compress a thousandfold.
RATIO_FLOOR_BYTES = 16 * 2**20
_ENCRYPTED_FLAG = 0x1
_ARCHIVES = frozenset({".zip", ".docx", ".xlsx", ".pptx", ".jar", ".gz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".zst"})
ENCRYPTED = "The file is encrypted. Remove the password and drop it again."

#: The exceptions that `zipfile` raises on a damaged archive; ValueError if a name is not in its declared charset.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
)

#: The exceptions that libraries raise on a file that is broken in a way they do not expect. Exceeded limits of time and
#: memory are not among them. lxml's XMLSyntaxError is a SyntaxError, and PDFium's error a RuntimeError.
FILE_ERRORS: tuple[type[Exception], ...] = (
    *ARCHIVE_ERRORS,
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


def broken_archive_error(error: BaseException) -> DocumentRejected:
    """Return the error for a file whose archive is damaged."""
    return DocumentRejected(f"The file is broken: its archive cannot be read ({error}).")


def check_archive(path: Path) -> list[str]:
    """Check that an archive is safe to unpack, and return the names of its entries.

    Raises:
        DocumentRejected: If it is broken, encrypted, or would unpack to more than the limits allow.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except ARCHIVE_ERRORS as error:
        raise broken_archive_error(error) from error
    if len(entries) > MAX_ENTRIES:
        raise DocumentRejected(f"The archive has {len(entries)} entries; {MAX_ENTRIES} are allowed.")
    if any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries):
        raise DocumentRejected(ENCRYPTED)
    _check_growth(entries, path.stat().st_size)
    return [entry.filename for entry in entries]


def _check_growth(entries: list[zipfile.ZipInfo], size_bytes: int) -> None:
    # These are the sizes that the directory declares. A false size does no harm: zipfile stops unpacking at it.
    expanded = sum(entry.file_size for entry in entries)
    if expanded > MAX_EXPANDED_BYTES:
        raise DocumentRejected(
            f"The archive would unpack to {expanded // 2**20} MiB; {MAX_EXPANDED_BYTES // 2**20} MiB are allowed."
        )
    # The file's own size is an upper bound, because overlapping entries count the same compressed bytes many times.
    compressed = max(1, min(size_bytes, sum(entry.compress_size for entry in entries)))
    if expanded > RATIO_FLOOR_BYTES and expanded > MAX_RATIO * compressed:
        raise DocumentRejected(
            f"The archive would grow {expanded // compressed} times when unpacked; {MAX_RATIO} times are allowed."
        )


def refuse_nested(names: list[str]) -> None:
    """Refuse an archive that contains other archives outside the folders in which Office embeds objects.

    Raises:
        DocumentRejected: If there is one.
    """
    for name in names:
        entry = PurePosixPath(name)
        # That is where Office keeps embedded workbooks, for example those of charts. No parser opens them.
        if entry.suffix.lower() in _ARCHIVES and "embeddings" not in entry.parts:
            raise DocumentRejected(f"The archive contains another archive ({entry.name}); that is not allowed.")
