"""Writes tables as text: each row as a record `column: value; column: value`, which can be understood on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ingest.parsed_document import ElementKind
from ingest.parsers.tables.cells import Cell, Row, own_cells, text_row
from ingest.parsers.tables.headers import Layout, find_layout, says_one_thing


@dataclass(frozen=True, slots=True)
class Part:
    """An element that a table adds to its document: a text above the table, or the table itself."""

    kind: ElementKind
    text: str


def table_parts(rows: Sequence[Row], *, is_data: bool = False) -> list[Part]:
    """Return the elements of a table: the texts above it, if any, and its records.

    Args:
        rows: The rows. Rows without cells are skipped.
        is_data: As in `find_layout`.
    """
    rows = [row for row in rows if row]
    layout = find_layout(rows, is_data=is_data)
    above = "\n".join(map(plain_line, rows[: layout.titles]))
    lines = list(record_lines(rows[layout.titles :], layout))
    parts = (Part(ElementKind.PARAGRAPH, above), Part(ElementKind.TABLE, "\n".join(lines)))
    return [part for part in parts if part.text]


def text_table(rows: Sequence[Sequence[str]]) -> list[Part]:
    """Return the elements of a table in a document whose cells are texts without spans."""
    return table_parts([text_row(row) for row in rows])


def record_lines(rows: Sequence[Row], layout: Layout) -> Iterator[str]:
    """Yield the lines of the rows below the titles: the names of the columns, then the records.

    Without names, a line has the cells in their order, separated by ` | `; empty cells between them stay empty.
    """
    if layout.headers:
        yield " | ".join(dict.fromkeys(layout.names.values()))
        for row in rows[layout.headers :]:
            yield named_record(row, layout.names)
    elif layout.is_labelled:
        yield from map(_labelled_line, rows)
    else:
        first = min((min(row) for row in rows), default=0)
        for row in rows:
            yield plain_line(row, first)


def named_record(row: Row, names: Mapping[int, str]) -> str:
    """Return a row as `column: value; column: value`. A cell merged across the whole row is written once."""
    if any([cell.is_copy for cell in row.values()]):  # noqa: C419 (a list is faster, and rows are many)
        if len(row) > 1 and says_one_thing(row):
            return _shown(own_cells(row)[0])
        # A header cell that also spans rows below it is not their value.
        row = {column: cell for column, cell in row.items() if not (cell.is_copy and cell.text == names.get(column))}
    is_struck = bool(row) and all(cell.is_struck for cell in row.values())
    shown = _unmarked if is_struck else _shown
    line = "; ".join(
        [f"{name}: {shown(cell)}" if (name := names.get(column)) else shown(cell) for column, cell in row.items()]
    )
    return f"~~{line}~~" if is_struck else line


def plain_line(row: Row, first: int | None = None) -> str:
    """Return the cells of a row, each merged one once. A label that ends with a colon is followed by its value."""
    line = ""
    before = min(row) if first is None else first
    for column, cell in row.items():
        if cell.is_copy and line:
            before = column
            continue
        if line or column > before:
            gap = " | " * max(1, min(column - before, _MAX_GAP)) if not line.endswith(":") else " "
            line += gap if line else gap.lstrip(" ")
        line += _shown(cell)
        before = column
    return line


#: More empty cells in a row without column names say nothing.
_MAX_GAP = 100


def _labelled_line(row: Row) -> str:
    cells = list(row.values())
    if len(cells) == 1 or says_one_thing(row):
        return _shown(cells[0])
    return named_record({1: cells[1]}, {1: cells[0].text.rstrip(" :")}) if len(cells) == 2 else plain_line(row)


def _shown(cell: Cell) -> str:
    return f"{cell.text} ({cell.bare})" if cell.bare else cell.text


def _unmarked(cell: Cell) -> str:
    text = cell.text[2:-2]
    return f"{text} ({cell.bare})" if cell.bare else text
