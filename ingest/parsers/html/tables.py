"""The blocks of a page. Data tables stay tables; tables that only lay out the page are replaced by their blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.parsed_document import ElementKind
from ingest.parsers.tables import markdown_table

#: Larger values of `colspan` and `rowspan` are reduced to this, because they are mistakes.
_MAX_SPAN = 100


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page: a paragraph, a heading, a list item, a table or code."""

    kind: ElementKind
    text: str
    level: int = 0


@dataclass(slots=True)
class _Cell:
    columns: int
    rows: int
    blocks: list[Block] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(block.text for block in self.blocks)


class Table:
    """A table while it is read. Content outside its cells is accepted."""

    def __init__(self, *, is_layout: bool) -> None:
        self._is_layout = is_layout
        self._rows: list[list[_Cell]] = []
        self._has_header = False
        self._outside: list[Block] = []

    def begin_row(self) -> None:
        """Begin a row (`tr`)."""
        self._rows.append([])

    def begin_cell(self, columns: str, rows: str, *, is_header: bool) -> None:
        """Begin a cell (`td` or `th`) with its `colspan` and `rowspan`."""
        if not self._rows:
            self.begin_row()
        self._rows[-1].append(_Cell(_span(columns), _span(rows)))
        self._has_header |= is_header

    def end_cell(self) -> None:
        """End a cell. Content up to the next cell is placed before the table, as browsers do."""
        if self._rows and self._rows[-1]:
            self._rows[-1].append(_Cell(0, 1, self._outside))

    def add(self, block: Block) -> None:
        """Add a block to the current cell, or outside the cells if none is open, as for a caption."""
        (self._rows[-1][-1].blocks if self._rows and self._rows[-1] else self._outside).append(block)

    def blocks(self) -> list[Block]:
        """Return the blocks that the table adds to the page."""
        cells = [cell for row in self._rows for cell in row if cell.columns]
        inner = [block for cell in cells for block in cell.blocks]
        if self._only_lays_out(inner):
            return [*self._outside, *inner]
        text = markdown_table(self._grid())
        return [*self._outside, Block(ElementKind.TABLE, text)] if inner else self._outside

    def _only_lays_out(self, inner: list[Block]) -> bool:
        """Return whether the table only lays out the page.

        That is so if it has a single row or column, or a cell with a heading, a table or code, which a line of a
        Markdown table cannot hold. A table with header cells is data, unless a cell holds another table.
        """
        if self._has_header and not self._is_layout and all(block.kind is not ElementKind.TABLE for block in inner):
            return False
        rows = [[cell for cell in row if cell.blocks and cell.columns] for row in self._rows]
        is_small = sum(map(bool, rows)) < 2 or max(map(len, rows), default=0) < 2
        structure = (ElementKind.HEADING, ElementKind.TABLE, ElementKind.CODE)
        return self._is_layout or is_small or any(block.kind in structure for block in inner)

    def _grid(self) -> list[list[str]]:
        """Return the texts by row and column; the further columns and rows that a cell spans are empty."""
        grid: list[list[str]] = []
        below: dict[int, int] = {}
        for row in self._rows:
            texts: list[str] = []
            reserved = {column for column, rows in below.items() if rows}
            below = {column: rows - 1 for column, rows in below.items() if rows}
            for cell in row:
                if not cell.columns:
                    continue
                while len(texts) in reserved:
                    texts.append("")
                if cell.rows > 1:
                    below |= dict.fromkeys(range(len(texts), len(texts) + cell.columns), cell.rows - 1)
                texts += [cell.text, *[""] * (cell.columns - 1)]
            if any(texts):
                grid.append(texts)
        return grid


def _span(value: str) -> int:
    return max(1, min(int(value), _MAX_SPAN)) if value.isdecimal() else 1
