"""The blocks of a page. Data tables stay tables; tables that only lay out the page are replaced by their blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.parsed_document import ElementKind
from ingest.parsers.tables.cells import Row, SpanGrid, span_of
from ingest.parsers.tables.records import table_parts


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
    is_header: bool = False
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
        self._rows[-1].append(_Cell(max(1, span_of(columns)), span_of(rows), is_header))
        self._has_header |= is_header

    def end_cell(self) -> None:
        """End a cell. Content up to the next cell is placed before the table, as browsers do."""
        if self._rows and self._rows[-1]:
            self._rows[-1].append(_Cell(0, 1, blocks=self._outside))

    def add(self, block: Block) -> None:
        """Add a block to the current cell, or outside the cells if none is open, as for a caption."""
        (self._rows[-1][-1].blocks if self._rows and self._rows[-1] else self._outside).append(block)

    def blocks(self) -> list[Block]:
        """Return the blocks that the table adds to the page."""
        cells = [cell for row in self._rows for cell in row if cell.columns]
        inner = [block for cell in cells for block in cell.blocks]
        if self._only_lays_out(inner):
            return [*self._outside, *inner]
        return [*self._outside, *(Block(part.kind, part.text) for part in table_parts(self._grid()))]

    def _only_lays_out(self, inner: list[Block]) -> bool:
        """Return whether the table only lays out the page.

        That is so if it has a single row or column, or a cell with a heading, a table or code, which the
        line of a record cannot hold. A table with header cells is data, unless a cell holds another table.
        """
        if self._has_header and not self._is_layout and all(block.kind is not ElementKind.TABLE for block in inner):
            return False
        rows = [[cell for cell in row if cell.blocks and cell.columns] for row in self._rows]
        is_small = sum(map(bool, rows)) < 2 or max(map(len, rows), default=0) < 2
        structure = (ElementKind.HEADING, ElementKind.TABLE, ElementKind.CODE)
        return self._is_layout or is_small or any(block.kind in structure for block in inner)

    def _grid(self) -> list[Row]:
        grid = SpanGrid()
        for row in self._rows:
            grid.begin_row()
            for cell in row:
                if cell.columns:
                    grid.add(cell.text, columns=cell.columns, rows=cell.rows, is_header=cell.is_header)
        return grid.finish()
