"""Cuts a document into chunks along its structure. Pure: text and a tokenizer in, chunks out.

A document is first split into atoms, spans that are never divided. An element that fits into a chunk is one atom. A
longer element is split into sentences (tables and code into lines), and a sentence that is still too long into runs of
tokens. Neighbouring atoms of the same section are then packed into chunks; a section of a few words shares the chunk of
its neighbour. Chunks are slices of the document's text: together they cover all of it except white space, and none has
more tokens than the limit. What changes the chunks of a document has to raise `CHUNK_FORMAT` of `core.catalog`.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.chunk_atoms import LINE_END, SENTENCE_END, WHITE_SPACE, Atom, AtomCutter
from ingest.chunk_headers import Header, Headers, Tokenizer
from ingest.parsed_document import Chunk, Element, ElementKind, ParsedDocument, content_hash_of

#: The upper limit even if the model's window is longer: larger chunks would locate an answer less precisely, and three
#: of them would not fit into the context of a small language model.
DEFAULT_CHUNK_TOKENS = 512
#: Limits a chunk's length in characters, because some tokenizers turn a word of any length into a single token, and
#: the embedding would then ignore most of the text.
MAX_CHARACTERS_PER_TOKEN = 16
#: A full chunk may be ended early, but keeps at least this share of the token limit.
_MIN_FILL = 1 / 2
#: A section of less than this share of a chunk, besides its headings, is one of a few words.
_FEW_WORDS_SHARE = 1 / 40

#: Above every checksum.
_ABOVE_CHECKSUMS = 2**32
#: The end of a text that goes on in the next paragraph, and the beginning of that: a sentence over a page break.
_OPEN_END = re.compile(r"[\w,;\-–]\Z")
_OPEN_START = re.compile(r"[a-zà-öø-ÿ]")


@dataclass(frozen=True, slots=True)
class ChunkSettings:
    """The chunk size, for the whole server or for one collection."""

    #: The maximum per chunk, without special tokens. None means the embedding model's window, but at most
    #: `DEFAULT_CHUNK_TOKENS`.
    tokens: int | None = None
    #: The most that a chunk repeats of the previous chunk of the same section; at most half a chunk.
    overlap_tokens: int = 32

    def max_tokens(self, window_tokens: int) -> int:
        """Return the maximum tokens per chunk, never above the model's window, so that the model truncates nothing."""
        return min(self.tokens or DEFAULT_CHUNK_TOKENS, window_tokens)


def chunk_document(
    document: ParsedDocument,
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    overlap_tokens: int = 0,
    window_tokens: int | None = None,
) -> list[Chunk]:
    """Return the chunks of a document, in order.

    Args:
        document: The document, with its elements in order.
        tokenizer: The embedding model's tokenizer.
        max_tokens: The maximum per chunk, without special tokens.
        overlap_tokens: The most that a chunk repeats of the previous chunk of the same section. Reduced to half of
            `max_tokens` if it is larger.
        window_tokens: The most that the model reads: a chunk and its header together have no more tokens. None if there
            is no such limit.

    Raises:
        ValueError: If `max_tokens` is below 1.
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens={max_tokens}: at least 1")
    headers = Headers(document.title, tokenizer, max_tokens, window_tokens)
    overlap_tokens = min(overlap_tokens, max_tokens // 2)
    return _Chunker(document.text, tokenizer, headers, max_tokens, overlap_tokens).run(document.elements)


class _Chunker:
    def __init__(self, text: str, tokenizer: Tokenizer, headers: Headers, max_tokens: int, overlap_tokens: int) -> None:
        self._text = text
        self._tokenizer = tokenizer
        self._headers = headers
        self._max_characters = max_tokens * MAX_CHARACTERS_PER_TOKEN
        self._few_tokens = int(max_tokens * _FEW_WORDS_SHARE)
        self._overlap_tokens = overlap_tokens
        self._cutter = AtomCutter(text, tokenizer, headers, self._max_characters)
        self._chunks: list[Chunk] = []
        #: The atoms of the last chunk.
        self._last: Sequence[Atom] = ()

    def run(self, elements: Sequence[Element]) -> list[Chunk]:
        packed: list[Atom] = []
        for atom in self._cutter.atoms(elements):
            if packed and not self._can_share_chunk(packed, atom):
                self._close(packed)
                packed = []
            elif packed and not self._has_room(packed, atom):
                packed = self._continue_after(packed, self._best_cut(packed, atom), atom)
            packed.append(atom)
        if packed:
            self._close(packed)
        return self._chunks

    def _can_share_chunk(self, packed: Sequence[Atom], atom: Atom) -> bool:
        """Return whether the atom is in the chunk's section, or the chunk has only headings or a few words so far."""
        # A chunk that is only a heading would match a search and answer nothing.
        return packed[-1].section == atom.section or self._is_few_words(packed)

    def _is_few_words(self, atoms: Sequence[Atom]) -> bool:
        body = [atom for atom in atoms if not atom.kind.is_heading]
        return not body or _tokens(body) < self._few_tokens

    def _header(self, first: Atom) -> Header:
        """Return the header of a chunk that begins with this atom."""
        return self._headers.of(first.section, is_heading=first.kind.is_heading, columns=first.columns)

    def _fits(self, first: Atom, end: int) -> bool:
        """Return whether the text from the beginning of an atom to `end` fits into a chunk."""
        return self._cutter.tokens_if_fits(first.start, end, self._header(first).max_tokens) is not None

    def _has_room(self, packed: Sequence[Atom], atom: Atom) -> bool:
        tokens = _tokens(packed) + atom.tokens
        return tokens <= self._header(packed[0]).max_tokens and atom.end - packed[0].start <= self._max_characters

    def _best_cut(self, packed: Sequence[Atom], atom: Atom) -> int:
        """Return how many atoms of a full chunk stay in it; the rest begins the next chunk.

        Of the possible cuts in the second half of the chunk, this picks the one whose next atom has the smallest
        checksum. The cut thus depends on the text around it, not on what came before: an insertion or a deletion
        changes only the chunks near it, and all later chunks keep their vectors.
        """
        best, least = len(packed), self._checksum(atom)
        if self._runs_on(packed[-1], atom):
            least = _ABOVE_CHECKSUMS
        rest, filled = atom.tokens, _tokens(packed)
        limit = self._header(packed[0]).max_tokens
        for position in range(len(packed) - 1, 0, -1):
            each = packed[position]
            rest, filled = rest + each.tokens, filled - each.tokens
            if filled < limit * _MIN_FILL or rest + self._overlap_tokens > limit:
                break
            before, checksum = packed[position - 1], self._checksum(each)
            if checksum < least and not before.kind.is_heading and not self._runs_on(before, each):
                best, least = position, checksum
        return best

    def _runs_on(self, before: Atom, after: Atom) -> bool:
        """Return whether a sentence goes on after a page break, as far as letters and punctuation show it."""
        return (
            before.last_page != after.page
            and before.kind is after.kind is ElementKind.PARAGRAPH
            and _OPEN_END.match(self._text, before.end - 1) is not None
            and _OPEN_START.match(self._text, after.start) is not None
        )

    def _checksum(self, atom: Atom) -> int:
        return zlib.crc32(self._text[atom.start : atom.end].encode())

    def _continue_after(self, packed: Sequence[Atom], count: int, atom: Atom) -> list[Atom]:
        """Close the chunk of the first `count` atoms and return the atoms that precede `atom` in the next chunk.

        The next chunk begins with an overlap, the end of the closed chunk, if there is room for it.
        """
        closed, rest = packed[:count], list(packed[count:])
        self._close(closed)
        last, following = closed[-1], rest[0] if rest else atom
        if not self._overlap_tokens or last.kind.is_heading or last.section != following.section:
            return rest
        start = self._overlap_start(closed)
        if start is None:
            return rest
        page = next(each.page for each in closed if each.end > start)
        tokens = self._cutter.count(start, last.end)
        overlap = Atom(start, last.end, tokens, last.kind, page, last.last_page, last.section, last.columns)
        return [overlap, *rest] if self._fits(overlap, atom.end) else rest

    def _overlap_start(self, packed: Sequence[Atom]) -> int | None:
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
        divider = LINE_END if packed[-1].kind.is_line_based else SENTENCE_END
        starts = [atom.start for atom in packed if atom.start >= earliest]
        starts += [gap.end() for gap in divider.finditer(self._text, earliest, end) if gap.end() < end]
        if starts:
            return min(starts)
        return None if packed[-1].kind.is_line_based else self._next_word(earliest, end)

    def _next_word(self, position: int, end: int) -> int | None:
        if position == 0 or self._text[position - 1].isspace():
            return position
        gap = WHITE_SPACE.search(self._text, position, end)
        return gap.end() if gap and gap.end() < end else None

    def _close(self, packed: Sequence[Atom]) -> None:
        """Turn the atoms into a chunk, or into several: joined, atoms can have more tokens than they have alone."""
        if self._last and self._is_few_words(packed) and self._fits(self._last[0], packed[-1].end):
            self._chunks.pop()
            packed = [*self._last, *packed]
        while packed:
            count = len(packed)
            while count > 1 and not self._fits(packed[0], packed[count - 1].end):
                count -= 1
            self._emit(packed[:count])
            packed = packed[count:]

    def _emit(self, atoms: Sequence[Atom]) -> None:
        start, end = atoms[0].start, atoms[-1].end
        text = self._text[start:end]
        # A heading above a file with pages, such as an attachment's, has no page itself.
        page = next((atom.page for atom in atoms if atom.page is not None), None)
        last_page = next((atom.last_page for atom in reversed(atoms) if atom.last_page is not None), None)
        header = self._header(atoms[0]).text
        content_hash = content_hash_of(text, header)
        index, section = len(self._chunks), _main_section(atoms)
        self._chunks.append(Chunk(index, text, start, end, content_hash, page, section, header, last_page))
        self._last = atoms


def _tokens(atoms: Sequence[Atom]) -> int:
    return sum(atom.tokens for atom in atoms)


def _main_section(atoms: Sequence[Atom]) -> str | None:
    """Return the section of most of a chunk's text. Headings alone do not count, if there is more."""
    if atoms[0].section == atoms[-1].section:
        return atoms[0].section
    tokens: Counter[str | None] = Counter()
    for atom in [atom for atom in atoms if not atom.kind.is_heading] or atoms[-1:]:
        tokens[atom.section] += atom.tokens
    return max(tokens, key=lambda section: tokens[section])
