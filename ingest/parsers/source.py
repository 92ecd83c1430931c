"""A file on its way to a parser."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingest.parsers.charsets import decode


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file whose size and type have been checked."""

    path: Path
    #: As its owner named it; the file on disk may be called otherwise.
    filename: str
    media_type: str

    def read_text(self) -> str:
        """Its text, with `\\n` line ends."""
        return decode(self.path.read_bytes())
