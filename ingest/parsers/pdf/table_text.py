"""Writes the tables of a PDF as text, by the model of tables that all formats share."""

from __future__ import annotations

from collections.abc import Sequence

from ingest.parsed_document import ElementKind
from ingest.parsers.pdf.boxes import Table, TableCell
from ingest.parsers.tables import markdown_table


def table_parts(rows: Table) -> list[tuple[ElementKind, str]]:
    """Return the elements of a table."""
    return [(ElementKind.TABLE, markdown_table(_resolved(rows)))]


def _resolved(rows: Table) -> list[list[str]]:
    """Return the texts of all cells; that of a cell which covers several is repeated in each."""
    below: dict[tuple[int, int], str] = {}
    resolved: list[list[str]] = []
    for y, row in enumerate(rows):
        line: list[str] = []
        for cell in row:
            while (y, len(line)) in below:
                line.append(below.pop((y, len(line))))
            for column in range(len(line), len(line) + cell.columns):
                below.update({(y + further, column): cell.text for further in range(1, cell.rows)})
            line += [cell.text] * cell.columns
        while (y, len(line)) in below:
            line.append(below.pop((y, len(line))))
        resolved.append(line)
    return resolved


def with_header_of(before: Sequence[Sequence[TableCell]], rows: Table) -> tuple[Table, Table]:
    """Return a table that may continue the one before it, with the header of that one, and its own first row."""
    if before and rows and len(before[0]) == len(rows[0]):
        header = list(before[0])
        return ([*([] if _texts(header) == _texts(rows[0]) else [header]), *rows], [header])
    return rows, rows[:1]


def _texts(row: Sequence[TableCell]) -> list[str]:
    return [cell.text for cell in row]
