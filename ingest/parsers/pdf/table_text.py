"""Writes the tables of a PDF as text, by the model of tables that all formats share."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.parsers.pdf.boxes import Table, TableCell
from ingest.parsers.tables.cells import SpanGrid
from ingest.parsers.tables.records import Part, table_parts


def parts_of(rows: Table) -> list[Part]:
    """Return the elements of a table."""
    grid = SpanGrid()
    for row in rows:
        grid.begin_row()
        for cell in row:
            grid.add(cell.text, columns=cell.columns, rows=cell.rows)
    return table_parts(grid.finish())


def with_header_of(before: Sequence[Sequence[TableCell]], rows: Table) -> tuple[Table, Table]:
    """Return a table that may continue the one before it, with the header of that one, and its own first row."""
    if before and rows and len(before[0]) == len(rows[0]):
        header = list(before[0])
        return ([*([] if _texts(header) == _texts(rows[0]) else [header]), *rows], [header])
    return rows, rows[:1]


def _texts(row: Sequence[TableCell]) -> list[str]:
    return [cell.text for cell in row]
