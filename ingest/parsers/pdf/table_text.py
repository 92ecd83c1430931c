"""Writes the tables of a PDF as text, by the model of tables that all formats share."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.parsed_document import ElementKind
from ingest.parsers.pdf.boxes import Table, TableCell
from ingest.parsers.tables.cells import Row, SpanGrid
from ingest.parsers.tables.headers import find_layout
from ingest.parsers.tables.records import table_parts


def table_elements(rows: Table) -> list[tuple[ElementKind, str]]:
    """Return the elements of a table."""
    return [(part.kind, part.text) for part in table_parts(_resolved(rows))]


def _resolved(rows: Table) -> list[Row]:
    grid = SpanGrid()
    for row in rows:
        grid.begin_row()
        for cell in row:
            grid.add(cell.text, columns=cell.columns, rows=cell.rows)
    return grid.finish()


def with_header_of(before: Table, rows: Table) -> tuple[Table, Table]:
    """Return a table that may continue the one before it, and the names of its columns, as a row or none.

    Args:
        before: The names of the columns of the table before it, as a row or none.
        rows: The table.
    """
    if before and rows and len(before[0]) == len(rows[0]):
        return ([] if _texts(before[0]) == _texts(rows[0]) else list(before)) + list(rows), before
    layout = find_layout(_resolved(rows), is_data=False)
    has_names = layout.headers == 1 and not layout.titles
    return rows, rows[:1] if has_names else []


def _texts(row: Sequence[TableCell]) -> list[str]:
    return [cell.text for cell in row]
