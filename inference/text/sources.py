"""What the model was shown, as far as its words are compared with questions and answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from core.messages import Hit


@dataclass(frozen=True)
class Source:
    """A text that the model was shown, and what it is from: the names and headings above it."""

    heading: str
    text: str

    @classmethod
    def of(cls, hit: Hit) -> Self:
        """Return the text of a hit, with its path, section and header."""
        return cls(f"{hit.path or hit.filename} {hit.section or ''} {hit.header or ''}", hit.text)
