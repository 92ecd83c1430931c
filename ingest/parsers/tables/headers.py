"""Finds what the rows of a table are: a title above it, the names of its columns, labels beside values, or records.

Only the first rows are looked at, so that the time does not grow with the table.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ingest.parsers.tables.cells import Cell, CellType, Row, own_cells

_SAMPLE_ROWS = 60
#: Banks and instruments write at most so many lines above a table.
_MAX_TITLE_ROWS = 30
_MAX_HEADER_ROWS = 4
#: In a narrower table, a row with one filled cell is not unusual, so it does not show a preamble.
_MIN_COLUMNS_WITH_PREAMBLE = 3
#: A longer text is a sentence, not the name of a column.
_MAX_NAME_CHARACTERS = 120
#: The beginning of a number with a unit.
_QUANTITY = re.compile(r"[-+~<>≈$€£¥(]*\s*\d")
_YEAR = re.compile(r"(?:19|20)\d\d")
#: The shares of texts and of values in a column of mixed content, as in a form.
_MIXED_TEXTS, _MIXED_VALUES = 0.3, 0.2
#: The share of values in a column that a text above names.
_VALUE_COLUMN = 0.6
#: The share of the columns that must have a name if the rows below show that it is one.
_NAMED_COLUMNS = 0.5


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rows of a table are: `titles` rows of text, then `headers` rows of column names, then records."""

    titles: int = 0
    headers: int = 0
    #: The name of each column, joined from all header rows.
    names: dict[int, str] = field(default_factory=dict)
    #: Whether the first column has labels, each for the value beside it.
    is_labelled: bool = False
    #: Whether something besides the position shows that the header is one: a mark in the file, or values below texts.
    is_certain: bool = False


def find_layout(rows: Sequence[Row], *, is_data: bool) -> Layout:
    """Return the layout of a table.

    Args:
        rows: The rows that have cells.
        is_data: Whether the format is one for data, in which the first row names the columns unless it cannot. In
            documents, tables of two columns of text are rather labels with values.
    """
    sample = rows[:_SAMPLE_ROWS]
    columns = {column for row in sample for column in row}
    titles = _count_titles(sample, len(columns))
    body = sample[titles:]
    if len(columns) < 2 or not body:
        return Layout(titles)
    marked = _count_marked_headers(body)
    if marked:
        return Layout(titles, marked, _joined_names(body[:marked]), is_certain=True)
    if _is_labelled(body, columns, is_data=is_data):
        return Layout(titles, is_labelled=True)
    for count in range(_count_group_rows(body) + 1, 0, -1):
        names = _joined_names(body[:count])
        evidence = count > 1 or _has_value_columns(body[:count], body[count:])
        if len(body) > count and _are_names(body[:count], names, columns, has_evidence=evidence):
            return Layout(titles, count, names, is_certain=evidence)
    return Layout(titles)


def says_one_thing(row: Row) -> bool:
    """Return whether the row is one text: a single cell, or a merged one across all columns of the row."""
    return len(own_cells(row)) == 1 and len({cell.text for cell in row.values()}) == 1


def _count_titles(rows: Sequence[Row], width: int) -> int:
    """Return the number of rows above the table: titles, and a preamble of rows with fewer cells than the table has."""
    if width < 2:
        return 0
    usual = Counter(len(row) for row in rows if len(row) > 1).most_common(1)
    usual_width = usual[0][0] if usual else 0
    count = 0
    if usual_width >= _MIN_COLUMNS_WITH_PREAMBLE:
        count = next((number for number, row in enumerate(rows) if len(row) > usual_width // 2), 0)
        count = count if count <= _MAX_TITLE_ROWS else 0
        while count and _is_group_row(rows[count - 1], rows[count]):
            count -= 1
    while count < min(len(rows) - 1, _MAX_TITLE_ROWS) and _is_title(rows[count], rows[count + 1]):
        count += 1
    return count


def _is_title(row: Row, below: Row) -> bool:
    return says_one_thing(row) and len(below) > 1 and not _is_group_row(row, below)


def _is_group_row(row: Row, below: Row) -> bool:
    """Return whether the row names groups of the columns that the row below names: `Q1` above `plan` and `actual`.

    A group is a merged cell, or a text with empty cells on its right, where the row below has names. A cell of the row
    that is no group must have nothing below it, or be continued there.
    """
    if not row or any(cell.is_value and not _YEAR.fullmatch(cell.text) for cell in row.values()):
        return False
    if any(cell.is_value for cell in own_cells(below)) or len(below) < 2 or _covers_all(row, below):
        return False
    groups = list(_groups(row, below))
    has_group = any(len(columns) > 1 for columns in groups)
    is_merged = any(cell.is_copy and column - 1 in row for column, cell in row.items())
    single = [columns[0] for columns in groups if len(columns) == 1]
    are_continued = all(column not in below or below[column].is_copy for column in single)
    names = [below[column].text for columns in groups if len(columns) > 1 for column in columns if column in below]
    # Without merged cells, a sparse row of text looks the same, unless the names below repeat or begin further left.
    is_plain_group = len(set(names)) < len(names) or min(below) < min(row)
    return has_group and are_continued and (is_merged or is_plain_group)


def _covers_all(row: Row, below: Row) -> bool:
    return says_one_thing(row) and min(row) <= min(below) and (len(row) == 1 or max(row) >= max(below))


def _groups(row: Row, below: Row) -> Iterator[list[int]]:
    """Yield the columns of each cell of the row with its copies, and with the empty cells on its right."""
    columns: list[int] = []
    last = max(max(row), max(below))
    for column in range(min(row), last + 1) if last - min(row) < 20_000 else ():
        cell = row.get(column)
        continues = cell is None or (cell.is_copy and columns and row.get(columns[0], cell).text == cell.text)
        if columns and not continues:
            yield columns
            columns = []
        if cell is not None or (column in below and columns):
            columns.append(column)
    if columns:
        yield columns


def _count_group_rows(rows: Sequence[Row]) -> int:
    count = 0
    while count < min(len(rows), _MAX_HEADER_ROWS) - 1 and _is_group_row(rows[count], rows[count + 1]):
        count += 1
    return count


def _count_marked_headers(rows: Sequence[Row]) -> int:
    """Return the number of leading rows whose cells the file marks as headers, or 0 if it marks all rows or none."""
    marked = next((number for number, row in enumerate(rows) if not all(cell.is_header for cell in row.values())), 0)
    return min(marked, _MAX_HEADER_ROWS)


def _joined_names(rows: Sequence[Row]) -> dict[int, str]:
    """Return the name of each column: the texts of the header rows, from top to bottom."""
    filled = [_with_gaps_filled(row, rows[number + 1]) for number, row in enumerate(rows[:-1])] + list(rows[-1:])
    names: dict[int, list[str]] = {}
    for row in filled:
        for column, cell in row.items():
            parts = names.setdefault(column, [])
            if not parts or parts[-1] != cell.text:
                parts.append(cell.text)
    return {column: " ".join(parts)[:_MAX_NAME_CHARACTERS] for column, parts in sorted(names.items())}


def _with_gaps_filled(row: Row, below: Row) -> Row:
    """Return a row of groups with each group's name at all of its columns."""
    if not row or any(cell.is_copy for cell in row.values()):
        return row
    return {column: row[columns[0]] for columns in _groups(row, below) for column in columns}


def _are_names(headers: Sequence[Row], names: dict[int, str], columns: set[int], *, has_evidence: bool) -> bool:
    """Return whether these can be the names of the columns.

    They are texts that differ, apart from years or dates in order. The first column may have no name because it is an
    index, and the last ones because a delimiter at the end of each line creates an empty column.
    """
    last = headers[-1]
    texts = list(names.values())
    first_column, last_named = min(columns), max(names, default=0)
    unnamed = {column for column in columns if first_column < column <= last_named} - names.keys()
    if len(names) < 2 and not (names and len(columns) == 2 and has_evidence and min(names) > first_column):
        return False
    if any(len(text) >= _MAX_NAME_CHARACTERS or text.endswith(":") for text in texts):
        return False
    if unnamed and not (has_evidence and len(names) >= _NAMED_COLUMNS * len(columns)):
        return False
    if len(set(texts)) < len(texts) and not has_evidence:
        return False
    values = [cell for cell in last.values() if cell.is_value] if len(headers) == 1 else []
    first = next(iter(last.values()), None)
    if not values:
        return True
    if first is None or (first.is_value and min(last) == first_column):
        return False
    years = [cell.text for cell in values if _YEAR.fullmatch(cell.text)]
    in_order = len(years) > 1 and years in (sorted(years), sorted(years, reverse=True))
    are_dates = len(values) > 1 and all(cell.type is CellType.DATE for cell in values)
    return (len(years) == len(values) and in_order) or are_dates


def _has_value_columns(headers: Sequence[Row], body: Sequence[Row]) -> bool:
    """Return whether a column has a text in the header and mostly values below."""
    for column, name in headers[-1].items():
        below = [row[column] for row in body if column in row] if not name.is_value else []
        if below and sum(cell.is_value for cell in below) >= _VALUE_COLUMN * len(below):
            return True
    return False


def _is_labelled(rows: Sequence[Row], columns: set[int], *, is_data: bool) -> bool:
    """Return whether the table has two columns, labels and their values, as a form has."""
    if len(columns) != 2 or len(rows) < 2:
        return False
    left, right = sorted(columns)
    labels = [row[left] for row in rows if left in row]
    beside = [row[right] for row in rows if right in row]
    if not labels or any(cell.is_value for cell in labels) or not beside:
        return False
    if any(cell.is_header for cell in labels) and not any(cell.is_header for cell in beside):
        return True
    if sum(cell.text.endswith(":") for cell in labels) * 2 > len(labels):
        return True
    if not is_data:
        # Below the name of a column, the values begin alike: `41 EUR` and `9 EUR` below `price`.
        quantities = sum(_QUANTITY.match(cell.text) is not None for cell in beside[1:])
        return (
            _QUANTITY.match(beside[0].text) is not None
            or quantities < _VALUE_COLUMN * (len(beside) - 1)
            or len(beside) < 2
        )
    values = sum(cell.is_value for cell in beside)
    # The same text in many rows says that a value is missing, as `n/a` does.
    texts = {cell.text for cell in beside[1:] if not cell.is_value}
    is_mixed = values >= _MIXED_VALUES * len(beside) and len(texts) >= max(2, _MIXED_TEXTS * len(beside))
    return len(rows) > 2 and right in rows[0] and (is_mixed or {CellType.NUMBER, CellType.DATE} <= _types(beside))


def _types(cells: Sequence[Cell]) -> set[CellType]:
    return {cell.type for cell in cells}
