"""Divides the elements of a document into atoms: spans that the chunker never divides."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.chunk_headers import Headers, Tokenizer, column_names
from ingest.parsed_document import Element, ElementKind

#: A rough average for ordinary text. It sizes the first piece that is tokenized when a span is cut.
_TYPICAL_CHARACTERS_PER_TOKEN = 4
#: A cut is moved to white space only within this last share of the span, so that the chunk stays nearly full.
_CUT_SEARCH_SHARE = 0.25

SENTENCE_END = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+|(?<=[。！？])\s*|\n\s*\n\s*""")
LINE_END = re.compile(r"\n+")
WHITE_SPACE = re.compile(r"\s")


@dataclass(frozen=True, slots=True)
class Atom:
    """A span of the text that is never divided."""

    start: int
    end: int
    tokens: int
    kind: ElementKind
    page: int | None
    last_page: int | None
    section: str | None
    #: The column names of its table, unless it begins the table.
    columns: str | None = None


class AtomCutter:
    """Cuts elements into atoms, and counts tokens of spans of the text."""

    def __init__(self, text: str, tokenizer: Tokenizer, headers: Headers, max_characters: int) -> None:
        self._text = text
        self._tokenizer = tokenizer
        self._headers = headers
        self._max_characters = max_characters

    def atoms(self, elements: Sequence[Element]) -> Iterator[Atom]:
        """Yield the atoms of all elements, each short enough to be below its header."""
        for element in elements:
            columns = column_names(element)
            limit = self._headers.of(element.section, columns=columns).max_tokens
            last_page = element.page if element.last_page is None else element.last_page
            for start, end, tokens in self._spans(element, limit):
                above = columns if start > element.start else None
                yield Atom(start, end, tokens, element.kind, element.page, last_page, element.section, above)

    def _spans(self, element: Element, limit: int) -> Iterator[tuple[int, int, int]]:
        """Yield the start, the end and the token count of each atom of an element."""
        tokens = self.tokens_if_fits(element.start, element.end, limit)
        if tokens is not None:
            yield element.start, element.end, tokens
            return
        divider = LINE_END if element.kind.is_line_based else SENTENCE_END
        for start, end in self._split(element.start, element.end, divider):
            yield from self._cut(start, end, limit)

    def _split(self, start: int, end: int, divider: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """Yield the spans between the matches of `divider`, without white space at their ends."""
        for gap in divider.finditer(self._text, start, end):
            yield from self._trim(start, gap.end())
            start = gap.end()
        yield from self._trim(start, end)

    def _trim(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        body = self._text[start:end]
        if body.strip():
            yield start + len(body) - len(body.lstrip()), end - (len(body) - len(body.rstrip()))

    def _cut(self, start: int, end: int, limit: int) -> Iterator[tuple[int, int, int]]:
        """Cut a span that is too long into pieces that fit, between words where possible."""
        while (tokens := self.tokens_if_fits(start, end, limit)) is None:
            cut = self._cut_after(start, min(end, start + self._max_characters), limit)
            for left, right in self._trim(start, cut):
                yield left, right, self.count(left, right)
            start = cut
        for left, right in self._trim(start, end):
            yield left, right, tokens

    def _cut_after(self, start: int, end: int, limit: int) -> int:
        tokens = self._first_tokens(start, end, limit)
        # The start of the first token that no longer fits.
        last = start + tokens[limit][0] if len(tokens) > limit else end
        cut = self._word_start(start, last)
        # A part of a word may have more tokens on its own than inside the whole word.
        while cut - start > 1 and self.tokens_if_fits(start, cut, limit) is None:
            cut = start + max(1, (cut - start) * 7 // 8)
        return max(cut, start + 1)

    def _first_tokens(self, start: int, end: int, limit: int) -> list[tuple[int, int]]:
        """Return the offsets of at least one token more than fits into a chunk, or of all tokens.

        Only as much of the text is tokenized as that needs.
        """
        size = limit * _TYPICAL_CHARACTERS_PER_TOKEN
        while True:
            tokens = self._tokenizer.offsets(self._text[start : min(end, start + size)])
            if len(tokens) > limit or start + size >= end:
                return tokens
            size *= 2

    def _word_start(self, start: int, end: int) -> int:
        """Return the position after the last white space if it is near the end of the span, else the end."""
        floor = end - max(1, int((end - start) * _CUT_SEARCH_SHARE))
        for position in range(end, floor, -1):
            if WHITE_SPACE.match(self._text, position - 1):
                return position
        return end

    def tokens_if_fits(self, start: int, end: int, limit: int) -> int | None:
        """Return the token count of a span of at most `limit` tokens, or None if it is longer."""
        if end - start > self._max_characters:
            return None
        tokens = self.count(start, end)
        return tokens if tokens <= limit else None

    def count(self, start: int, end: int) -> int:
        """Return the token count of a span."""
        return self._tokenizer.count(self._text[start:end])
