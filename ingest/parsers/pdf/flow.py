"""Writes the pages of a PDF as elements: paragraphs that run over page breaks, headings, tables and footnotes."""

from __future__ import annotations

import re
import statistics
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.line_ends import join_words, keeps_hyphen
from ingest.parsers.lines import LIST_ITEM, SENTENCE_ENDS, add_page, normalise_spaces
from ingest.parsers.pdf.boxes import Block, BlockKind, Box, Line, Table, around
from ingest.parsers.pdf.headings import heading_levels, may_be_heading, size_of
from ingest.parsers.pdf.running_lines import find_running_lines
from ingest.parsers.pdf.table_text import table_elements, with_header_of

#: A line that ends a sentence and is shorter than this share of its column ends its paragraph.
_SHORT_LINE_SHARE = 0.8
#: A gap between lines that is this much larger than usual, in heights of the text, divides paragraphs.
_GAP_SHARE = 0.35
#: The usual gap is at most this share of the height, that of double spacing.
_MAX_GAP_SHARE = 1.2
#: Lines whose heights differ by more than this share are not of one paragraph.
_SIZE_SHARE = 0.2
_INDENT_SHARE = 0.8
_MAX_HEADING_LINES = 3
_HYPHENS = "-\ufffe\x02\u00ad\u2010"
_LEFT = re.compile(rf"([^\W_]+(?:[-\u2010'’][^\W_]+)*)[{_HYPHENS}]$")
_RIGHT = re.compile(r"[^\W_]+(?:[-\u2010][^\W_]+)*")
_WORDS = re.compile(r"[^\W_]+(?:[-\u2010][^\W_]+)*")
_NUMBERING = re.compile(r"(?:Appendix |Chapter )?(?:[A-Z]|\d{1,3})(?:\.\d{1,3})*[.:]? ")
#: Signs after the end of a sentence.
_CLOSING = "\"'”’»)]~⁰¹²³⁴⁵⁶⁷⁸⁹"


@dataclass(slots=True)
class Page:
    """What was read of a page."""

    number: int
    blocks: Sequence[Block]
    box: Box
    #: The text that an OCR found, instead of blocks.
    scanned: str = ""
    #: Form fields and comments.
    extras: list[tuple[ElementKind, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Paragraph:
    lines: list[Line]
    column: Box
    page: int
    last_page: int
    level: int | None = None


class Flow:
    """Writes pages to a document."""

    def __init__(self, builder: DocumentBuilder, titles: Mapping[int, Mapping[str, int]]) -> None:
        """Take the outline's titles with their levels, by page number from 0."""
        self._builder = builder
        self._titles = titles
        self._pages: Sequence[Page] = ()
        self._levels: Mapping[int, int] = {}
        #: The paragraph that the next page may continue, and what stands after it.
        self._open: _Paragraph | None = None
        self._after: list[tuple[ElementKind, str, int]] = []
        self._table: Table = []

    def write(self, pages: Sequence[Page]) -> None:
        """Append the pages, in order."""
        self._pages = pages
        if not self._titles:
            self._levels = heading_levels(line for page in pages for block in page.blocks for line in block.lines)
        running = find_running_lines([(page.blocks, page.box) for page in pages])
        for page in pages:
            self._write_page(page, running.left_out, running.kept)
        self._close()

    def _write_page(self, page: Page, left_out: Container[int], kept: Container[int]) -> None:
        if page.scanned:
            self._close()
            add_page(self._builder, page.scanned, page.number + 1, self._titles.get(page.number, {}))
        is_first = True
        for block in page.blocks:
            if block.kind is BlockKind.TABLE:
                self._close()
                self._write_table(block, page.number, is_first=is_first)
                is_first = False
                continue
            self._after += [(ElementKind.PARAGRAPH, line.text, page.number) for line in block.lines if id(line) in kept]
            lines = [line for line in block.lines if id(line) not in left_out]
            if self._open is None and self._after and lines:
                self._close()
            if block.kind is BlockKind.NOTE:
                self._after.append((ElementKind.PARAGRAPH, self._join(lines), page.number))
                continue
            for paragraph in self._paragraphs(lines, page.number):
                self._add(paragraph)
                is_first = False
        self._after += [(kind, text, page.number) for kind, text in page.extras]
        if self._open is None or not _is_unfinished(self._open):
            self._close()

    def _add(self, paragraph: _Paragraph) -> None:
        """Add a paragraph, or let it continue the one before it."""
        before = self._open
        is_next = before is not None and (paragraph.page > before.last_page or before.column is not paragraph.column)
        if before is not None and is_next and _continues(before, paragraph):
            before.lines += paragraph.lines
            before.last_page = paragraph.page
            before.column = paragraph.column
            return
        self._close()
        self._open = paragraph
        self._table = []

    def _close(self) -> None:
        """Write the open paragraph and what stands after it."""
        paragraph, self._open = self._open, None
        if paragraph is not None:
            text = self._join(paragraph.lines)
            last_page = paragraph.last_page + 1 if paragraph.last_page > paragraph.page else None
            if paragraph.level is not None:
                self._builder.add(ElementKind.HEADING, text, page=paragraph.page + 1, level=paragraph.level)
            else:
                kind = ElementKind.LIST_ITEM if LIST_ITEM.match(text) else ElementKind.PARAGRAPH
                self._builder.add(kind, text, page=paragraph.page + 1, last_page=last_page)
        for kind, text, page in self._after:
            self._builder.add(kind, text, page=page + 1)
        self._after = []

    def _write_table(self, block: Block, page: int, *, is_first: bool) -> None:
        rows, self._table = with_header_of(self._table if is_first else [], block.rows)
        for kind, text in table_elements(rows):
            self._builder.add(kind, text, page=page + 1)

    def _paragraphs(self, lines: Sequence[Line], page: int) -> Iterator[_Paragraph]:
        if not lines:
            return
        titles = self._titles.get(page, {})
        column = around(lines)
        gaps = [line.top - before.bottom for before, line in zip(lines, lines[1:], strict=False)]
        usual = min(statistics.median_low(gaps), _MAX_GAP_SHARE * lines[0].height) if gaps else 0.0
        paragraph: _Paragraph | None = None
        for line in lines:
            level = _level_of(line.text, titles) if titles else None
            if paragraph is None or level is not None or self._is_break(paragraph, line, usual):
                if paragraph is not None:
                    yield self._with_level(paragraph)
                paragraph = _Paragraph([line], column, page, page, level)
            else:
                paragraph.lines.append(line)
        if paragraph is not None:
            yield self._with_level(paragraph)

    def _is_break(self, paragraph: _Paragraph, line: Line, usual: float) -> bool:
        """Return whether a line begins a new paragraph."""
        before, column = paragraph.lines[-1], paragraph.column
        if paragraph.level is not None or (LIST_ITEM.match(line.text) and before.text[-1:] not in _HYPHENS):
            return True
        own, above = line.height, before.height
        height = min(own, above)
        if line.top - before.bottom > usual + _GAP_SHARE * height or abs(own - above) > _SIZE_SHARE * height:
            return True
        if self._levels and (size_of(line) in self._levels) != (size_of(before) in self._levels):
            return True
        if not _ends_sentence(before.text):
            return False
        is_short = before.right < column.left + _SHORT_LINE_SHARE * column.width
        is_indented = line.left - before.left > _INDENT_SHARE * height
        return is_short or is_indented

    def _with_level(self, paragraph: _Paragraph) -> _Paragraph:
        """Make a heading of a paragraph of large text."""
        level = self._levels.get(size_of(paragraph.lines[0]))
        text = " ".join(line.text for line in paragraph.lines[: _MAX_HEADING_LINES + 1])
        is_short = len(paragraph.lines) <= _MAX_HEADING_LINES
        if paragraph.level is None and level is not None and is_short and may_be_heading(text):
            paragraph.level = level
        return paragraph

    def _join(self, lines: Sequence[Line]) -> str:
        """Return lines as one, without the hyphens of hyphenation, and without spaces between Chinese or Japanese."""
        parts: list[str] = []
        for line in lines:
            text = line.text.strip()
            if parts and parts[-1][-1:] in _HYPHENS:
                parts[-1] = self._with_hyphen(parts[-1], text)
            elif text:
                parts.append(text)
        joined = join_words("\n".join(parts))
        return joined.replace("\ufffe", "-").replace("\x02", "-").replace("\u00ad", "")

    def _with_hyphen(self, before: str, line: str) -> str:
        left, right = _LEFT.search(before), _RIGHT.match(line)
        if left is None or right is None:
            return f"{before} {line}"
        is_soft = before[-1] == "\u00ad"
        mark = "-" if not is_soft and keeps_hyphen(left[1], right[0], self._words) else ""
        return before[:-1] + mark + line

    @cached_property
    def _words(self) -> frozenset[str]:
        """The words of the document in small letters, as far as they stand within lines."""
        lines = (line.text for page in self._pages for block in page.blocks for line in block.lines)
        return frozenset(word for line in lines for word in _WORDS.findall(line.lower()[:-1]))


def _level_of(text: str, titles: Mapping[str, int]) -> int | None:
    """Return the level of a line that is a title of the outline, with or without its number."""
    title = normalise_spaces(text)
    return titles.get(title, titles.get(_NUMBERING.sub("", title)))


def _ends_sentence(text: str) -> bool:
    return text.rstrip(_CLOSING).endswith(SENTENCE_ENDS)


def _is_unfinished(paragraph: _Paragraph) -> bool:
    return paragraph.level is None and not _ends_sentence(paragraph.lines[-1].text)


def _continues(before: _Paragraph, after: _Paragraph) -> bool:
    """Return whether a paragraph at the top of a page or a column continues the one before it."""
    if not _is_unfinished(before) or after.level is not None or LIST_ITEM.match(after.lines[0].text):
        return False
    last, first = before.lines[-1], after.lines[0]
    if abs(last.height - first.height) > _SIZE_SHARE * min(last.height, first.height):
        return False
    if first.text[:1].islower() or last.text[-1:] in _HYPHENS:
        return True
    is_full = last.right >= before.column.left + _SHORT_LINE_SHARE * before.column.width
    is_alike = abs(before.column.width - after.column.width) < _SIZE_SHARE * before.column.width
    return is_full and is_alike and min(len(before.lines), len(after.lines)) > 1
