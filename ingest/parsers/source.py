"""A file on its way to a parser."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ingest.parsers.charsets import decode


@dataclass(frozen=True, slots=True)
class ParserOptions:
    """What parsers are told beside the file."""

    #: Tesseract's names of the languages to look for, joined by `+`.
    ocr_languages: str = "eng"
    #: Pages of one file that are read by OCR.
    ocr_max_pages: int = 200


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file whose size and type have been checked."""

    path: Path
    #: As its owner named it; the file on disk may be called otherwise.
    filename: str
    media_type: str
    options: ParserOptions = field(default_factory=ParserOptions)
    #: In how many files it lies: 1 for an attachment.
    depth: int = 0

    def read_text(self) -> str:
        """Its text, with `\\n` line ends."""
        return decode(self.path.read_bytes())
