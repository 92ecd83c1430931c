"""Cuts a document into chunks along its structure. Pure: text and a tokenizer in, chunks out.

A document is first split into atoms, spans that are never divided. An element that fits into a chunk is one atom. A
longer element is split into sentences (tables and code into lines), and a sentence that is still too long into runs of
tokens. Neighbouring atoms of the same section and page are then packed into chunks. Chunks are slices of the document's
text: together they cover all of it except white space, and none has more tokens than the limit.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest.parsed_document import Chunk, Element, ElementKind, ParsedDocument, content_hash_of

#: The upper limit even if the model's window is longer: larger chunks would locate an answer less precisely, and three
#: of them would not fit into the context of a small language model.
DEFAULT_CHUNK_TOKENS = 512
#: Limits a chunk's length in characters, because some tokenizers turn a word of any length into a single token, and
#: the embedding would then ignore most of the text.
MAX_CHARACTERS_PER_TOKEN = 16
#: A rough average for ordinary text. It sizes the first piece that is tokenized when a span is cut.
_TYPICAL_CHARACTERS_PER_TOKEN = 4
#: A cut is moved to white space only within this last share of the span, so that the chunk stays nearly full.
_CUT_SEARCH_SHARE = 0.25
#: A full chunk may be ended early, but keeps at least this share of the token limit.
_MIN_FILL = 1 / 2

_SENTENCE_END = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+|(?<=[。！？])\s*|\n\s*\n\s*""")
_LINE_END = re.compile(r"\n+")
_WHITE_SPACE = re.compile(r"\s")


class Tokenizer(Protocol):
    """The part of the embedding model's tokenizer that the chunker uses."""

    def count(self, text: str) -> int:
        """Return the number of tokens of the text, without special tokens."""
        ...

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Return the start and end of each token, in characters."""
        ...


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """The chunk size, for the whole server or for one collection."""

    #: The maximum per chunk, without special tokens. None means the embedding model's window, but at most
    #: `DEFAULT_CHUNK_TOKENS`.
    tokens: int | None = None
    #: The most that a chunk repeats of the previous chunk of the same section and page; at most half a chunk.
    overlap_tokens: int = 32

    def max_tokens(self, window_tokens: int) -> int:
        """Return the maximum tokens per chunk, never above the model's window, so that the model truncates nothing."""
        return min(self.tokens or DEFAULT_CHUNK_TOKENS, window_tokens)


@dataclass(frozen=True, slots=True)
class _Atom:
    """A span of the text that is never divided."""

    start: int
    end: int
    tokens: int
    kind: ElementKind
    page: int | None
    section: str | None


def chunk_document(
    document: ParsedDocument, tokenizer: Tokenizer, *, max_tokens: int, overlap_tokens: int = 0
) -> list[Chunk]:
    """Return the chunks of a document, in order.

    Args:
        document: The document, with its elements in order.
        tokenizer: The embedding model's tokenizer.
        max_tokens: The maximum per chunk, without special tokens.
        overlap_tokens: The most that a chunk repeats of the previous chunk of the same section and page. Reduced to
            half of `max_tokens` if it is larger.

    Raises:
        ValueError: If `max_tokens` is below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens}: at least 1")
    return _Chunker(document.text, tokenizer, max_tokens, min(overlap_tokens, max_tokens // 2)).run(document.elements)


class _Chunker:
    def __init__(self, text: str, tokenizer: Tokenizer, max_tokens: int, overlap_tokens: int) -> None:
        self._text = text
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._max_characters = max_tokens * MAX_CHARACTERS_PER_TOKEN
        self._overlap_tokens = overlap_tokens
        self._chunks: list[Chunk] = []

    def run(self, elements: Sequence[Element]) -> list[Chunk]:
        packed: list[_Atom] = []
        for atom in self._atoms(elements):
            if packed and not _can_share_chunk(packed, atom):
                self._close(packed)
                packed = []
            elif packed and not self._has_room(packed, atom):
                packed = self._continue_after(packed, self._best_cut(packed, atom), atom)
            packed.append(atom)
        if packed:
            self._close(packed)
        return self._chunks

    # Atoms

    def _atoms(self, elements: Sequence[Element]) -> Iterator[_Atom]:
        for element in elements:
            for start, end, tokens in self._spans(element):
                yield _Atom(start, end, tokens, element.kind, element.page, element.section)

    def _spans(self, element: Element) -> Iterator[tuple[int, int, int]]:
        """Yield the start, the end and the token count of each atom of an element."""
        tokens = self._tokens_if_fits(element.start, element.end)
        if tokens is not None:
            yield element.start, element.end, tokens
            return
        divider = _LINE_END if element.kind.is_line_based else _SENTENCE_END
        for start, end in self._split(element.start, element.end, divider):
            yield from self._cut(start, end)

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

    def _cut(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Cut a span that is too long into pieces that fit, between words where possible."""
        while (tokens := self._tokens_if_fits(start, end)) is None:
            cut = self._cut_after(start, min(end, start + self._max_characters))
            for left, right in self._trim(start, cut):
                yield left, right, self._count(left, right)
            start = cut
        for left, right in self._trim(start, end):
            yield left, right, tokens

    def _cut_after(self, start: int, end: int) -> int:
        tokens = self._first_tokens(start, end)
        # The start of the first token that no longer fits.
        last = start + tokens[self._max_tokens][0] if len(tokens) > self._max_tokens else end
        cut = self._word_start(start, last)
        # A part of a word may have more tokens on its own than inside the whole word.
        while cut - start > 1 and not self._fits(start, cut):
            cut = start + max(1, (cut - start) * 7 // 8)
        return max(cut, start + 1)

    def _first_tokens(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return the offsets of at least one token more than fits into a chunk, or of all tokens.

        Only as much of the text is tokenized as that needs.
        """
        size = self._max_tokens * _TYPICAL_CHARACTERS_PER_TOKEN
        while True:
            tokens = self._tokenizer.offsets(self._text[start : min(end, start + size)])
            if len(tokens) > self._max_tokens or start + size >= end:
                return tokens
            size *= 2

    def _word_start(self, start: int, end: int) -> int:
        """Return the position after the last white space if it is near the end of the span, else the end."""
        floor = end - max(1, int((end - start) * _CUT_SEARCH_SHARE))
        for position in range(end, floor, -1):
            if _WHITE_SPACE.match(self._text, position - 1):
                return position
        return end

    def _fits(self, start: int, end: int) -> bool:
        return self._tokens_if_fits(start, end) is not None

    def _tokens_if_fits(self, start: int, end: int) -> int | None:
        """Return the token count of a span that fits into a chunk, or None if it does not fit."""
        if end - start > self._max_characters:
            return None
        tokens = self._count(start, end)
        return tokens if tokens <= self._max_tokens else None

    def _count(self, start: int, end: int) -> int:
        return self._tokenizer.count(self._text[start:end])

    # Packing

    def _has_room(self, packed: Sequence[_Atom], atom: _Atom) -> bool:
        tokens = sum(each.tokens for each in packed) + atom.tokens
        return tokens <= self._max_tokens and atom.end - packed[0].start <= self._max_characters

    def _best_cut(self, packed: Sequence[_Atom], atom: _Atom) -> int:
        """Return how many atoms of a full chunk stay in it; the rest begins the next chunk.

        Of the possible cuts in the second half of the chunk, this picks the one whose next atom has the smallest
        checksum. The cut thus depends on the text around it, not on what came before: an insertion or a deletion
        changes only the chunks near it, and all later chunks keep their vectors.
        """
        best, least = len(packed), self._checksum(atom)
        rest = atom.tokens
        filled = sum(each.tokens for each in packed)
        for position in range(len(packed) - 1, 0, -1):
            each = packed[position]
            rest, filled = rest + each.tokens, filled - each.tokens
            if filled < self._max_tokens * _MIN_FILL or rest + self._overlap_tokens > self._max_tokens:
                break
            checksum = self._checksum(each)
            if checksum < least and not packed[position - 1].kind.is_heading:
                best, least = position, checksum
        return best

    def _checksum(self, atom: _Atom) -> int:
        return zlib.crc32(self._text[atom.start : atom.end].encode())

    def _continue_after(self, packed: Sequence[_Atom], count: int, atom: _Atom) -> list[_Atom]:
        """Close the chunk of the first `count` atoms and return the atoms that precede `atom` in the next chunk.

        The next chunk begins with an overlap, the end of the closed chunk, if there is room for it.
        """
        closed, rest = packed[:count], list(packed[count:])
        self._close(closed)
        if not self._overlap_tokens or closed[-1].kind.is_heading:
            return rest
        start = self._overlap_start(closed)
        if start is None or not self._fits(start, atom.end):
            return rest
        end = closed[-1].end
        overlap = _Atom(start, end, self._count(start, end), closed[-1].kind, atom.page, atom.section)
        return [overlap, *rest]

    def _overlap_start(self, packed: Sequence[_Atom]) -> int | None:
        """Return the start of the overlap, or None if there is none.

        It begins at the first sentence or line that keeps it within the limit. In prose without one, it begins at a
        word.
        """
        begin, end = packed[0].start, packed[-1].end
        begin = max(begin, end - self._overlap_tokens * MAX_CHARACTERS_PER_TOKEN)
        tokens = self._tokenizer.offsets(self._text[begin:end])
        if len(tokens) <= self._overlap_tokens:
            return None
        earliest = begin + tokens[-self._overlap_tokens][0]
        divider = _LINE_END if packed[-1].kind.is_line_based else _SENTENCE_END
        starts = [atom.start for atom in packed if atom.start >= earliest]
        starts += [gap.end() for gap in divider.finditer(self._text, earliest, end) if gap.end() < end]
        if starts:
            return min(starts)
        return None if packed[-1].kind.is_line_based else self._next_word(earliest, end)

    def _next_word(self, position: int, end: int) -> int | None:
        if position == 0 or self._text[position - 1].isspace():
            return position
        gap = _WHITE_SPACE.search(self._text, position, end)
        return gap.end() if gap and gap.end() < end else None

    def _close(self, packed: Sequence[_Atom]) -> None:
        """Turn the atoms into a chunk, or into several: joined, atoms can have more tokens than they have alone."""
        while packed:
            count = len(packed)
            while count > 1 and not self._fits(packed[0].start, packed[count - 1].end):
                count -= 1
            self._emit(packed[:count])
            packed = packed[count:]

    def _emit(self, atoms: Sequence[_Atom]) -> None:
        start, end = atoms[0].start, atoms[-1].end
        text = self._text[start:end]
        # A heading above a file with pages, such as an attachment's, has no page itself.
        page = next((atom.page for atom in atoms if atom.page is not None), None)
        index, section = len(self._chunks), atoms[-1].section
        self._chunks.append(Chunk(index, text, start, end, content_hash_of(text), page, section))


def _can_share_chunk(packed: Sequence[_Atom], atom: _Atom) -> bool:
    """Return whether the atom is on the chunk's page and in its section, or the chunk so far holds only headings."""
    last = packed[-1]
    if last.page != atom.page and not (last.page is None and all(each.kind.is_heading for each in packed)):
        return False
    # A chunk that is only a heading would match a search and answer nothing.
    return last.section == atom.section or all(each.kind.is_heading for each in packed)
