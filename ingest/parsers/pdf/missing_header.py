"""PDF files that have lost their first line, which PDFium needs. Ours, since no library repairs that."""

from __future__ import annotations

from pathlib import Path

_HEADER = b"%PDF-1.7\n"
_WITHIN_BYTES = 1024


def pdf_input(path: Path) -> Path | bytes:
    """Return the file, or its bytes with a header if it has none. PDFium then finds the objects by itself."""
    with path.open("rb") as file:
        if b"%PDF-" in file.read(_WITHIN_BYTES):
            return path
    return _HEADER + path.read_bytes()
