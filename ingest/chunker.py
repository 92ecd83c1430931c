"""Cuts a document into chunks along its structure. Pure: text and a tokenizer in, chunks out.

A document is first divided into atoms, stretches that stay whole: its elements, or, of an element over the limit, its
sentences (lines of tables and code; stretches of tokens where even those are too long). Neighbouring atoms of a section
and page are then packed into chunks. Chunks are slices of the document's text: together they cover everything in it
but white space, and none has more tokens than the limit.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest.parsed_document import Chunk, Element, ElementKind, ParsedDocument, content_hash_of

#: Chunks of models with longer windows: larger ones would say less about where in a document something stands, and
#: three of them would not fit the context of a small language model.
DEFAULT_CHUNK_TOKENS = 512
#: A chunk's characters per token at most. Some tokenizers make one token of a word of any length; its text would not
#: be embedded, and this bounds it.
MAX_CHARACTERS_PER_TOKEN = 16
#: Of ordinary text, about: so much is looked at first where a stretch is cut.
_USUAL_CHARACTERS_PER_TOKEN = 4
#: Where a stretch of tokens is cut, white space is looked for in its last quarter.
_CUT_SEARCH_SHARE = 0.25
#: A full chunk may end earlier than it must, but has at least this share of its tokens.
_LEAST_FILL = 1 / 2

_SENTENCE_END = re.compile(r"""(?<=[.!?…])["'”’»)\]]*\s+|(?<=[。！？])\s*|\n\s*\n\s*""")
_LINE_END = re.compile(r"\n+")
_WHITE_SPACE = re.compile(r"\s")


class Tokenizer(Protocol):
    """What the chunker needs to know of the embedding model's tokenizer."""

    def count(self, text: str) -> int:
        """Tokens of the text, without special tokens."""
        ...

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """The span of each token in characters."""
        ...


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """How large chunks are: of the whole server, or of one collection."""

    #: Of a chunk, without special tokens; None: the embedding model's window, at most `DEFAULT_CHUNK_TOKENS`.
    tokens: int | None = None
    #: What a chunk repeats, at most, of the one before it in the same section and page; at most half a chunk.
    overlap_tokens: int = 32

    def max_tokens(self, window_tokens: int) -> int:
        """Tokens of a chunk for a model that reads so many: never more, so that it cuts nothing off."""
        return min(self.tokens or DEFAULT_CHUNK_TOKENS, window_tokens)


@dataclass(frozen=True, slots=True)
class _Atom:
    """A stretch of the text that stays whole."""

    start: int
    end: int
    tokens: int
    kind: ElementKind
    page: int | None
    section: str | None


def chunk_document(
    document: ParsedDocument, tokenizer: Tokenizer, *, max_tokens: int, overlap_tokens: int = 0
) -> list[Chunk]:
    """The chunks of a document, in order.

    Args:
        document: its elements in order.
        tokenizer: that of the embedding model.
        max_tokens: of a chunk, without special tokens.
        overlap_tokens: what a chunk repeats, at most, of the one before it in the same section and page.
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
            if packed and not _belong_together(packed, atom):
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
        """Start, end and tokens of each atom of an element."""
        tokens = self._tokens_if_small(element.start, element.end)
        if tokens is not None:
            yield element.start, element.end, tokens
            return
        divider = _LINE_END if element.kind.is_lines else _SENTENCE_END
        for start, end in self._divided(element.start, element.end, divider):
            yield from self._cut(start, end)

    def _divided(self, start: int, end: int, divider: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        """The stretches between what divides them, without white space at their ends."""
        for gap in divider.finditer(self._text, start, end):
            yield from self._trimmed(start, gap.end())
            start = gap.end()
        yield from self._trimmed(start, end)

    def _trimmed(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        body = self._text[start:end]
        if body.strip():
            yield start + len(body) - len(body.lstrip()), end - (len(body) - len(body.rstrip()))

    def _cut(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Cuts what is still too long after as many tokens as fit, between words where it can."""
        while (tokens := self._tokens_if_small(start, end)) is None:
            cut = self._cut_after(start, min(end, start + self._max_characters))
            for left, right in self._trimmed(start, cut):
                yield left, right, self._count(left, right)
            start = cut
        for left, right in self._trimmed(start, end):
            yield left, right, tokens

    def _cut_after(self, start: int, end: int) -> int:
        tokens = self._first_tokens(start, end)
        # The token that no longer fits begins where this stretch ends.
        last = start + tokens[self._max_tokens][0] if len(tokens) > self._max_tokens else end
        cut = self._word_start(start, last)
        # Half a word may have more tokens than it had within the whole.
        while cut - start > 1 and not self._is_small(start, cut):
            cut = start + max(1, (cut - start) * 7 // 8)
        return max(cut, start + 1)

    def _first_tokens(self, start: int, end: int) -> list[tuple[int, int]]:
        """The spans of more tokens than fit a chunk, or of all; no more of the text is looked at than has to be."""
        size = self._max_tokens * _USUAL_CHARACTERS_PER_TOKEN
        while True:
            tokens = self._tokenizer.offsets(self._text[start : min(end, start + size)])
            if len(tokens) > self._max_tokens or start + size >= end:
                return tokens
            size *= 2

    def _word_start(self, start: int, end: int) -> int:
        """The end of the last white space of the stretch, if it lies near its end."""
        floor = end - max(1, int((end - start) * _CUT_SEARCH_SHARE))
        for position in range(end, floor, -1):
            if _WHITE_SPACE.match(self._text, position - 1):
                return position
        return end

    def _is_small(self, start: int, end: int) -> bool:
        return self._tokens_if_small(start, end) is not None

    def _tokens_if_small(self, start: int, end: int) -> int | None:
        """The tokens of a stretch that fits a chunk; None for a longer one."""
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
        """How many atoms of a full chunk stay in it: where it ends is chosen by what follows, not by what came before.

        Of the places in its second half, the one is taken whose next atom has the least checksum. So text that is put
        in or taken out moves the ends of the chunks near it only, and all later ones keep their vectors.
        """
        best, least = len(packed), self._checksum(atom)
        rest = atom.tokens
        filled = sum(each.tokens for each in packed)
        for position in range(len(packed) - 1, 0, -1):
            each = packed[position]
            rest, filled = rest + each.tokens, filled - each.tokens
            if filled < self._max_tokens * _LEAST_FILL or rest + self._overlap_tokens > self._max_tokens:
                break
            checksum = self._checksum(each)
            if checksum < least and not packed[position - 1].kind.is_heading:
                best, least = position, checksum
        return best

    def _checksum(self, atom: _Atom) -> int:
        return zlib.crc32(self._text[atom.start : atom.end].encode())

    def _continue_after(self, packed: Sequence[_Atom], count: int, atom: _Atom) -> list[_Atom]:
        """Closes the chunk of the first atoms; the next one of the section begins with the end of it, if there is room.

        Returns what comes before `atom` in the next chunk.
        """
        closed, rest = packed[:count], list(packed[count:])
        self._close(closed)
        if not self._overlap_tokens or closed[-1].kind.is_heading:
            return rest
        start = self._overlap_start(closed)
        if start is None or not self._is_small(start, atom.end):
            return rest
        end = closed[-1].end
        overlap = _Atom(start, end, self._count(start, end), closed[-1].kind, atom.page, atom.section)
        return [overlap, *rest]

    def _overlap_start(self, packed: Sequence[_Atom]) -> int | None:
        """Where the last sentences or lines of the chunk begin that the overlap has room for, else its last words."""
        begin, end = packed[0].start, packed[-1].end
        begin = max(begin, end - self._overlap_tokens * MAX_CHARACTERS_PER_TOKEN)
        tokens = self._tokenizer.offsets(self._text[begin:end])
        if len(tokens) <= self._overlap_tokens:
            return None
        earliest = begin + tokens[-self._overlap_tokens][0]
        divider = _LINE_END if packed[-1].kind.is_lines else _SENTENCE_END
        starts = [atom.start for atom in packed if atom.start >= earliest]
        starts += [gap.end() for gap in divider.finditer(self._text, earliest, end) if gap.end() < end]
        if starts:
            return min(starts)
        return None if packed[-1].kind.is_lines else self._next_word(earliest, end)

    def _next_word(self, position: int, end: int) -> int | None:
        if position == 0 or self._text[position - 1].isspace():
            return position
        gap = _WHITE_SPACE.search(self._text, position, end)
        return gap.end() if gap and gap.end() < end else None

    def _close(self, packed: Sequence[_Atom]) -> None:
        """Makes a chunk of the atoms. A whole can have more tokens than its parts: then it becomes several."""
        while packed:
            count = len(packed)
            while count > 1 and not self._is_small(packed[0].start, packed[count - 1].end):
                count -= 1
            self._emit(packed[:count])
            packed = packed[count:]

    def _emit(self, atoms: Sequence[_Atom]) -> None:
        start, end = atoms[0].start, atoms[-1].end
        text = self._text[start:end]
        # A heading above a file with pages, as that of an attachment, has none itself.
        page = next((atom.page for atom in atoms if atom.page is not None), None)
        index, section = len(self._chunks), atoms[-1].section
        self._chunks.append(Chunk(index, text, start, end, content_hash_of(text), page, section))


def _belong_together(packed: Sequence[_Atom], atom: _Atom) -> bool:
    """Whether an atom goes on where the chunk is: on its page, in its section, or the first below bare headings."""
    last = packed[-1]
    if last.page != atom.page and not (last.page is None and all(each.kind.is_heading for each in packed)):
        return False
    # A heading alone would be found by its words and answer nothing.
    return last.section == atom.section or all(each.kind.is_heading for each in packed)
