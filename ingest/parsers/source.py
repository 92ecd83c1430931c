"""The input of a parser: a file and the options."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ingest.parsers.charsets import decode


@dataclass(frozen=True, slots=True)
class ParserOptions:
    """The options of the parsers."""

    #: The languages for OCR, as Tesseract names them, joined by `+`.
    ocr_languages: str = "eng"
    #: The maximum number of pages of one file that are read by OCR.
    ocr_max_pages: int = 200
    #: The wall-clock time after which no further page of a file is read by OCR.
    ocr_seconds: float = 400.0
    #: The processor time after which no further page of a PDF is read. Each page read by OCR may add to it.
    page_cpu_seconds: float = 50.0


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file whose size and type have been checked."""

    path: Path
    #: The name that its owner gave it; the file on disk may have another name.
    filename: str
    media_type: str
    options: ParserOptions = field(default_factory=ParserOptions)
    #: The number of files that it is nested in: 1 for an attachment.
    depth: int = 0

    def read_text(self) -> str:
        """Return the decoded text, with `\\n` line ends."""
        return decode(self.path.read_bytes())
