"""The headers of chunks: what a chunk is about, as far as its text does not say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ingest.parsed_document import SECTION_SEPARATOR, Element, ElementKind

#: The most of a chunk that its header takes.
MAX_HEADER_SHARE = 1 / 4
#: A longer row of column names is not tokenized.
_MAX_COLUMNS_CHARACTERS = 2000


class Tokenizer(Protocol):
    """The part of the embedding model's tokenizer that the chunker uses."""

    def count(self, text: str) -> int:
        """Return the number of tokens of the text, without special tokens."""
        ...

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the start and end of each token, in characters."""
        ...


@dataclass(frozen=True, slots=True)
class Header:
    """A header, and the most tokens that the text below it may have."""

    text: str
    max_tokens: int


def column_names(element: Element) -> str | None:
    """Return the row of column names with which a Markdown table begins, or None if the element is no such table."""
    if element.kind is not ElementKind.TABLE:
        return None
    first, _, rest = element.text.partition("\n")
    dashes = rest.partition("\n")[0]
    is_markdown = "|" in first and "-" in dashes and not dashes.strip("|:- \t")
    return first.strip()[:_MAX_COLUMNS_CHARACTERS] if is_markdown else None


class Headers:
    """Makes the headers of a document's chunks."""

    def __init__(self, title: str, tokenizer: Tokenizer, max_tokens: int, window_tokens: int | None) -> None:
        """
        Args:
            title: the document's title, or an empty string.
            max_tokens: the most tokens of a chunk's text.
            window_tokens: the most tokens of header and text together; None if there is no such limit.
        """
        self._title = title
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._window_tokens = window_tokens
        self._known: dict[tuple[str | None, bool, str | None], Header] = {}

    def of(self, section: str | None, *, is_heading: bool = False, columns: str | None = None) -> Header:
        """Return the header of a chunk.

        Args:
            section: the path of the element with which the chunk begins.
            is_heading: that element is a heading, so that the header need not repeat it.
            columns: the column names of the table in whose midst the chunk begins.
        """
        key = (section, is_heading, columns)
        if (known := self._known.get(key)) is None:
            known = self._known[key] = self._make(section, is_heading, columns)
        return known

    def _make(self, section: str | None, is_heading: bool, columns: str | None) -> Header:
        path = section.split(SECTION_SEPARATOR) if section else []
        if self._title and self._title.casefold() not in (name.casefold() for name in path):
            path.insert(0, self._title)
        text = self._shortened(path[:-1] if is_heading else path)
        if columns:
            text = f"{text}\n{columns}" if text else columns
        if not text:
            return Header("", self._max_tokens)
        text, tokens = self._cut(text, max(1, int(self._max_tokens * MAX_HEADER_SHARE)))
        window = self._max_tokens + tokens if self._window_tokens is None else self._window_tokens
        return Header(text, max(1, min(self._max_tokens, window - tokens)))

    def _shortened(self, path: list[str]) -> str:
        """Join the path. If it is too long, leave out what is between the outermost and the innermost heading."""
        most = int(self._max_tokens * MAX_HEADER_SHARE)
        joined = SECTION_SEPARATOR.join(path)
        if len(path) > 2 and self._tokenizer.count(joined) > most:  # noqa: PLR2004 (those two are kept)
            return SECTION_SEPARATOR.join((path[0], path[-1]))
        return joined

    def _cut(self, text: str, most: int) -> tuple[str, int]:
        """Return at most so many tokens of the beginning, and their number."""
        offsets = self._tokenizer.offsets(text)
        if len(offsets) <= most:
            return text, len(offsets)
        beginning = text[: offsets[most - 1][1]].rstrip()
        return beginning, most
