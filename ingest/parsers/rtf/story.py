"""Where the text of a rich text goes: stories of paragraphs and tables, single words, and the HTML within it."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ingest.parsed_document import ElementKind
from ingest.parsers.tables import markdown_table

#: A table within a table within … Deeper ones count as this deep.
_DEEPEST_TABLE = 16
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Lists of programs that only put a sign before each paragraph.
_BULLET = re.compile(r"[•▪◦‣·]\s+")


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a heading, a list item or a table."""

    kind: ElementKind
    text: str
    level: int = 0


class Target:
    """What takes text; this one drops it."""

    def __init__(self) -> None:
        self._words: list[str] = []
        #: How often it got text that can be seen.
        self.written = 0

    def add(self, text: str) -> None:
        """Text in the current paragraph."""

    def mark(self, marker: str) -> None:
        """The number or bullet that the current paragraph has in its list."""

    def attach(self, blocks: Sequence[Block]) -> None:
        """What belongs to the current paragraph and stands outside of it: a footnote, a text box."""

    def end_paragraph(self, kind: ElementKind, level: int, nesting: int) -> None:  # noqa: ARG002
        """The end of a paragraph, which lies in this many tables."""
        self.add("\n")

    def end_cell(self, nesting: int) -> None:  # noqa: ARG002
        """The end of a cell of a table that is this deep."""
        self.add("\t")

    def end_row(self) -> None:
        """The end of a row of the outermost table."""
        self.add("\n")

    def end_nested_row(self) -> None:
        """The end of a row of the innermost table."""

    def _take(self) -> str:
        text = "".join(self._words)
        self._words.clear()
        # Characters beyond the first 65,536 are written in two halves.
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text


class Words(Target):
    """Keeps text as it is, for names and values."""

    def add(self, text: str) -> None:
        self._words.append(text)
        self.written += bool(text.strip())

    def take(self) -> str:
        """The text."""
        return self._take().strip()


class Markup(Words):
    """HTML: what is no markup is escaped."""

    def add(self, text: str) -> None:
        self.add_markup(html.escape(text, quote=False))

    def add_markup(self, text: str) -> None:
        """Tags, and text as it is written between them."""
        super().add(text)


class Tags(Target):
    """The markup of HTML, which goes among its text as it is."""

    def __init__(self, page: Markup) -> None:
        super().__init__()
        self._page = page

    def add(self, text: str) -> None:
        self._page.add_markup(text)


@dataclass(slots=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    #: Of the row that is not ended.
    cells: list[str] = field(default_factory=list)
    #: Of the cell that is not ended.
    paragraphs: list[str] = field(default_factory=list)

    def end_cell(self) -> None:
        self.cells.append("\n".join(self.paragraphs))
        self.paragraphs = []

    def end_row(self) -> None:
        if self.cells:
            self.rows.append(self.cells)
        self.cells = []

    def finish(self) -> list[list[str]]:
        if any(text.strip() for text in self.paragraphs):
            self.end_cell()
        self.end_row()
        return self.rows


class Story(Words):
    """A text of its own: the body, a footnote, a text box, a header.

    Args:
        prefix: stands before its first paragraph.
        has_headings: they open sections. Those of notes and boxes do not: the text goes on after them.
    """

    def __init__(self, prefix: str = "", *, has_headings: bool = False) -> None:
        super().__init__()
        self._prefix = prefix
        self._has_headings = has_headings
        self._blocks: list[Block] = []
        self._marker = ""
        self._tables: list[_Table] = []
        self._notes: list[Block] = []
        self._notes_of_table: list[Block] = []

    def mark(self, marker: str) -> None:
        # A single sign is a bullet, and often a letter in a font of signs.
        self._marker = f"{marker} " if len(marker) > 1 or marker.isdigit() else " "

    def attach(self, blocks: Sequence[Block]) -> None:
        self._notes += blocks

    def end_paragraph(self, kind: ElementKind, level: int, nesting: int) -> None:
        text, is_item = self._paragraph()
        if nesting:
            self._table(nesting).paragraphs.append(text)
            self._keep_notes()
            return
        self._end_table()
        bullet = _BULLET.match(text)
        if kind.is_heading and not self._has_headings:
            kind = ElementKind.PARAGRAPH
        if kind is ElementKind.PARAGRAPH and (is_item or bullet):
            kind = ElementKind.LIST_ITEM
        self._append(kind, text[bullet.end() :] if bullet else text, level)
        self._blocks += self._notes
        self._notes = []

    def end_cell(self, nesting: int) -> None:
        table = self._table(nesting)
        table.paragraphs.append(self._paragraph()[0])
        table.end_cell()
        self._keep_notes()

    def end_row(self) -> None:
        self._table(1).end_row()

    def end_nested_row(self) -> None:
        if len(self._tables) > 1:
            self._tables[-1].end_row()

    def finish(self) -> list[Block]:
        """Its blocks; the last paragraph has been ended."""
        self._end_table()
        self._blocks += self._notes
        self._notes = []
        return self._blocks

    def _paragraph(self) -> tuple[str, bool]:
        """Its text, and whether it is an item of a list."""
        text, marker = self._take().strip(), self._marker
        self._marker = ""
        return (marker + text).strip() if text else "", bool(marker)

    def _append(self, kind: ElementKind, text: str, level: int = 0) -> None:
        if not text.strip():
            return
        if kind is ElementKind.TABLE and self._prefix:
            self._blocks.append(Block(ElementKind.PARAGRAPH, self._prefix.strip()))
            self._prefix = ""
        self._blocks.append(Block(kind, self._prefix + text, level))
        self._prefix = ""

    def _keep_notes(self) -> None:
        self._notes_of_table += self._notes
        self._notes = []

    def _table(self, nesting: int) -> _Table:
        """The table that is this deep. What is deeper has ended, and is text of a cell."""
        nesting = min(max(nesting, 1), _DEEPEST_TABLE)
        while len(self._tables) > nesting:
            rows = self._tables.pop().finish()
            text = "; ".join(", ".join(filter(None, (cell.strip() for cell in row))) for row in rows)
            self._tables[-1].paragraphs.append(text)
        while len(self._tables) < nesting:
            self._tables.append(_Table())
        return self._tables[-1]

    def _end_table(self) -> None:
        if not self._tables:
            return
        rows = self._table(1).finish()
        self._tables = []
        if any(cell.strip() for row in rows for cell in row):
            self._append(ElementKind.TABLE, markdown_table(rows))
        self._blocks += self._notes_of_table
        self._notes_of_table = []
