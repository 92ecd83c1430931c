"""Divides a sheet into its tables and the texts around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.tables.cells import Row, own_cells
from ingest.parsers.tables.headers import Layout, find_layout
from ingest.parsers.tables.records import plain_line, record_lines

#: A longer text above a table is not its title.
_MAX_TITLE_CHARACTERS = 120
#: A table beside another one has labels in its first column: at most this share of it are values.
_MAX_LABEL_VALUES = 0.3


@dataclass(slots=True)
class _Block:
    """Rows without an empty row between them, and without an empty column that divides tables."""

    rows: list[Row]
    layout: Layout
    first_column: int
    last_column: int

    @property
    def is_text(self) -> bool:
        """Whether it is text rather than a table: rows of one cell in one or two rows."""
        return len(self.rows) < 3 and all(len(own_cells(row)) == 1 for row in self.rows)


def add_sheet(builder: DocumentBuilder, title: str, rows: Sequence[tuple[int, Row]], notes: Sequence[str] = ()) -> None:
    """Append a sheet of a workbook as a section: its tables, then its notes. An empty sheet is skipped.

    Args:
        builder: The document.
        title: The sheet's title.
        rows: The rows that have cells, each with its number, in ascending order.
        notes: The lines of comments and drawings.
    """
    if rows or notes:
        builder.add(ElementKind.HEADING, title)
    add_tables(builder, rows)
    for note in notes:
        builder.add(ElementKind.PARAGRAPH, note)


def add_tables(builder: DocumentBuilder, rows: Sequence[tuple[int, Row]]) -> None:
    """Append the tables of a sheet, each text above a table as a paragraph.

    A table that goes on after an empty row keeps its column names.
    """
    table: _Block | None = None
    for block in _blocks(rows):
        layout = block.layout
        above = block.rows if block.is_text else block.rows[: layout.titles]
        builder.add(ElementKind.PARAGRAPH, "\n".join(map(plain_line, above)))
        if block.is_text:
            continue
        if table is not None and _continues(table, block):
            layout = Layout(layout.titles, 0, table.layout.names, is_certain=True)
            lines = record_lines([{}, *block.rows[layout.titles :]], Layout(0, 1, layout.names))
            next(lines)
        else:
            table = block
            lines = record_lines(block.rows[layout.titles :], layout)
        builder.add(ElementKind.TABLE, "\n".join(lines))


def _continues(table: _Block, block: _Block) -> bool:
    """Return whether the block's rows belong to the columns of a table above it."""
    names = table.layout.names
    if not names or block.layout.is_certain or block.layout.is_labelled:
        return False
    within = table.first_column <= block.first_column and block.last_column <= table.last_column
    return within and block.last_column - block.first_column >= (table.last_column - table.first_column) // 2


def _blocks(rows: Sequence[tuple[int, Row]]) -> Iterator[_Block]:
    band: list[Row] = []
    before = 0
    for number, row in rows:
        if band and number > before + 1:
            yield from _side_by_side(band)
            band = []
        band.append(row)
        before = number
    if band:
        yield from _side_by_side(band)


def _side_by_side(band: list[Row]) -> Iterator[_Block]:
    """Yield the tables of rows that follow each other: one, or several that empty columns divide.

    A part on the right of an empty column is a table of its own if it has a header, or the same shape, and labels in
    its first column. Otherwise the column only separates values of the same rows.
    """
    used = sorted({column for row in band for column in row})
    starts = [column for before, column in zip(used, used[1:], strict=False) if column > before + 1]
    if not starts:
        yield _block(band)
        return
    edges = [used[0], *starts]
    parts = [_part(band, start, end) for start, end in zip(edges, [*starts, used[-1] + 1], strict=True)]
    if len(parts) > 50 or not all(map(_is_table_of_its_own, parts)):
        yield _block(band)
        return
    for part in parts:
        yield _block(part)


def _part(band: list[Row], start: int, end: int) -> list[Row]:
    cut = ({column: cell for column, cell in row.items() if start <= column < end} for row in band)
    return [row for row in cut if row]


def _block(rows: list[Row]) -> _Block:
    columns = {column for row in rows for column in row}
    return _Block(rows, find_layout(rows, is_data=True), min(columns), max(columns))


def _is_table_of_its_own(rows: list[Row]) -> bool:
    layout = find_layout(rows, is_data=True)
    body = rows[layout.titles + layout.headers :]
    columns = {column for row in rows for column in row}
    if len(columns) < 2 or not body or not (layout.headers or layout.is_labelled):
        return False
    labels = [row[min(columns)] for row in body if min(columns) in row]
    values = sum(cell.is_value for cell in labels)
    return len(labels) * 2 > len(body) and values <= _MAX_LABEL_VALUES * len(labels)
