"""The sinks for the text of an RTF file: stories of paragraphs and tables, short texts, and encapsulated HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from ingest.parsed_document import ElementKind
from ingest.parsers.raised import lowered, raised, struck_out
from ingest.parsers.rtf.table_rows import RowDefinition, resolved_rows
from ingest.parsers.tables.records import table_parts

#: The maximum nesting of tables; deeper ones are treated as tables of this depth.
_MAX_TABLE_DEPTH = 16
_SURROGATE = re.compile("[\ud800-\udfff]")
#: The bullet of a list item written as plain text.
_BULLET = re.compile(r"[•▪◦‣·]\s+")


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph, a heading, a list item or a table."""

    kind: ElementKind
    text: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """How a run of text looks."""

    is_struck: bool = False
    #: 1 is raised, -1 is lowered.
    shift: int = 0


PLAIN_LOOK = Look()


class TextSink:
    """Receives text. The base class drops it."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._looks: list[Look] = []
        #: How the text looks that is added next.
        self.look = PLAIN_LOOK
        #: How many times visible text was added.
        self.written = 0

    def add(self, text: str) -> None:
        """Add text to the current paragraph."""

    def mark(self, marker: str) -> None:
        """Set the list number or bullet of the current paragraph."""

    def attach(self, blocks: Sequence[Block]) -> None:
        """Add blocks that belong to the current paragraph but follow it, such as a footnote or a text box."""

    def end_paragraph(self, kind: ElementKind, level: int, table_depth: int) -> None:  # noqa: ARG002
        """End a paragraph, which is inside this many tables."""
        self.add("\n")

    def end_cell(self, table_depth: int) -> None:  # noqa: ARG002
        """End a cell of the table at this depth."""
        self.add("\t")

    def end_row(self) -> None:
        """End a row of the outermost table."""
        self.add("\n")

    def end_nested_row(self) -> None:
        """End a row of the innermost table."""

    def define_row(self) -> None:
        """Begin the definition of the next rows of the outermost table."""

    def define_cell(self, edge: int) -> None:
        """Define the next cell of a row by its right edge, in twips."""

    def define_merged(self) -> None:
        """Let the next cell that is defined continue the one above it."""

    def _take(self) -> str:
        is_plain = all(look == PLAIN_LOOK for look in self._looks)
        text = "".join(self._words if is_plain else _marked(zip(self._words, self._looks, strict=True)))
        self._words.clear()
        self._looks.clear()
        # RTF writes characters above U+FFFF as two surrogates.
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text


class TextCapture(TextSink):
    """Collects text unchanged, for names and values."""

    def add(self, text: str) -> None:
        self._words.append(text)
        self._looks.append(self.look)
        self.written += bool(text.strip())

    def take(self) -> str:
        """Return the collected text and clear it."""
        return self._take().strip()


class HtmlCapture(TextCapture):
    """Collects encapsulated HTML. Text is escaped; markup is not."""

    def add(self, text: str) -> None:
        self.add_markup(html.escape(text, quote=False))

    def add_markup(self, text: str) -> None:
        """Add markup without escaping it."""
        super().add(text)


class HtmlTags(TextSink):
    """Receives the markup of encapsulated HTML and adds it to the page."""

    def __init__(self, page: HtmlCapture) -> None:
        super().__init__()
        self._page = page

    def add(self, text: str) -> None:
        self._page.add_markup(text)


def _marked(words: Iterable[tuple[str, Look]]) -> list[str]:
    """Return texts with the marks of struck-out, raised and lowered ones."""
    found: list[str] = []
    for is_struck, struck in groupby(words, lambda pair: pair[1].is_struck):
        start = len(found)
        for shift, shifted in groupby(struck, lambda pair: pair[1].shift):
            text, before = "".join(word for word, _ in shifted), found[-1] if found else ""
            found.append(text if not shift else (raised if shift > 0 else lowered)(text, before))
        if is_struck:
            found[start:] = [struck_out("".join(found[start:]))]
    return found


@dataclass(slots=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    #: The cells of the current row.
    cells: list[str] = field(default_factory=list)
    #: The paragraphs of the current cell.
    paragraphs: list[str] = field(default_factory=list)
    #: The definition of each row.
    definitions: list[RowDefinition] = field(default_factory=list)

    def end_cell(self) -> None:
        self.cells.append("\n".join(self.paragraphs))
        self.paragraphs = []

    def end_row(self, definition: RowDefinition | None = None) -> None:
        if self.cells:
            self.rows.append(self.cells)
            self.definitions.append(definition or RowDefinition())
        self.cells = []

    def finish(self) -> list[list[str]]:
        if any(text.strip() for text in self.paragraphs):
            self.end_cell()
        self.end_row()
        return self.rows


class Story(TextCapture):
    """A separate flow of text: the body, a footnote, a text box or a header.

    Args:
        prefix: The text put before the first paragraph.
        has_headings: Whether headings open sections. In notes and boxes they do not, because the section of the body
            continues after them.
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
        self._row = RowDefinition()

    def mark(self, marker: str) -> None:
        # A single character that is not a digit is a bullet, often written as a letter of a symbol font.
        self._marker = f"{marker} " if len(marker) > 1 or marker.isdigit() else " "

    def attach(self, blocks: Sequence[Block]) -> None:
        self._notes += blocks

    def end_paragraph(self, kind: ElementKind, level: int, table_depth: int) -> None:
        text, is_item = self._paragraph()
        if table_depth:
            self._table(table_depth).paragraphs.append(text)
            self._defer_notes()
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

    def end_cell(self, table_depth: int) -> None:
        table = self._table(table_depth)
        table.paragraphs.append(self._paragraph()[0])
        table.end_cell()
        self._defer_notes()

    def end_row(self) -> None:
        self._table(1).end_row(self._row)

    def define_row(self) -> None:
        self._row = RowDefinition()

    def define_cell(self, edge: int) -> None:
        self._row.end_cell(edge)

    def define_merged(self) -> None:
        self._row.continue_above()

    def end_nested_row(self) -> None:
        if len(self._tables) > 1:
            self._tables[-1].end_row()

    def finish(self) -> list[Block]:
        """Return the blocks. The caller must have ended the last paragraph."""
        self._end_table()
        self._blocks += self._notes
        self._notes = []
        return self._blocks

    def _paragraph(self) -> tuple[str, bool]:
        """Return the text of the current paragraph, and whether it is a list item."""
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

    def _defer_notes(self) -> None:
        self._notes_of_table += self._notes
        self._notes = []

    def _table(self, table_depth: int) -> _Table:
        """Return the table at this depth. Deeper tables are ended, and become text of the cell that contains them."""
        table_depth = min(max(table_depth, 1), _MAX_TABLE_DEPTH)
        while len(self._tables) > table_depth:
            rows = self._tables.pop().finish()
            text = "; ".join(", ".join(filter(None, (cell.strip() for cell in row))) for row in rows)
            self._tables[-1].paragraphs.append(text)
        while len(self._tables) < table_depth:
            self._tables.append(_Table())
        return self._tables[-1]

    def _end_table(self) -> None:
        if not self._tables:
            return
        table = self._table(1)
        rows = table.finish()
        self._tables = []
        if any(cell.strip() for row in rows for cell in row):
            for part in table_parts(resolved_rows(rows, table.definitions)):
                self._append(part.kind, part.text)
        self._blocks += self._notes_of_table
        self._notes_of_table = []
