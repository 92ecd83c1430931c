"""The cells of spreadsheets as they are shown: by their number formats and fonts, with the bare value beside them."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ingest.parsers.office.date_formats import iso_date
from ingest.parsers.office.number_formats import NumberFormat, general
from ingest.parsers.tables.cells import MAX_COPIES, Cell, CellType, Row, one_line, own_cells

_LEADING_ZERO = re.compile(r"(?<![\d.])0(?=\d)")
_ZERO_SECONDS = re.compile(r"(?<=:\d\d):00$")


@dataclass(frozen=True, slots=True)
class CellStyle:
    """What a cell's style says about its text."""

    format: NumberFormat
    is_struck: bool = False


PLAIN_STYLE = CellStyle(NumberFormat(()))


def text_cell(text: str, style: CellStyle, type_: CellType = CellType.TEXT) -> Cell | None:
    """Return a cell with a text, or None if it shows none."""
    text = one_line(style.format.show_text(text))
    if not text:
        return None
    return Cell(f"~~{text}~~" if style.is_struck else text, type_)


def number_cell(value: float, style: CellStyle, *, from_1904: bool) -> Cell | None:
    """Return a cell with a number, a date or a duration, or None if the format hides it."""
    if style is PLAIN_STYLE:
        return Cell(general(value), CellType.NUMBER)
    shown = one_line(style.format.show(value, from_1904=from_1904))
    if not shown:
        return None
    is_moment = style.format.is_date and not style.format.is_elapsed
    bare = (iso_date(value, from_1904=from_1904) if is_moment else "") or general(value)
    if is_moment:
        bare = _ZERO_SECONDS.sub("", bare)
    if style.is_struck:
        return Cell(f"~~{shown}~~", CellType.NUMBER)
    return Cell(
        shown, CellType.DATE if style.format.is_date else CellType.NUMBER, "" if _are_same(shown, bare) else bare
    )


def _are_same(shown: str, bare: str) -> bool:
    """Return whether the shown value differs from the bare one only by zeros that say nothing."""
    if shown == bare:
        return True
    if "." in shown and shown.rstrip("0").rstrip(".") == bare:
        return True
    return ":" in shown and _LEADING_ZERO.sub("", _ZERO_SECONDS.sub("", shown)) == _LEADING_ZERO.sub("", bare)


#: The first and the last row, the first and the last column of a merged range, all included.
MergedRange = tuple[int, int, int, int]


def repeat_merged_cells(rows: dict[int, Row], ranges: Iterable[MergedRange]) -> None:
    """Repeat the cell of each merged range in the rows that have cells of their own.

    After `MAX_COPIES` repetitions, cells are no longer repeated.

    Args:
        rows: The rows with cells by number, in ascending order; changed.
        ranges: The merged ranges.
    """
    numbers = list(rows)
    last_column = max((max(row) for row in rows.values()), default=0)
    changed: set[int] = set()
    remaining = MAX_COPIES
    for top, bottom, left, right in ranges:
        cell = rows.get(top, {}).get(left)
        if cell is None:
            continue
        copy = cell.copy()
        for number in _within(numbers, top, bottom):
            row = rows[number]
            for column in range(left, min(right, max(last_column, left + 1)) + 1):
                if column not in row and remaining:
                    row[column] = copy
                    remaining -= 1
            changed.add(number)
    for number in changed:
        rows[number] = dict(sorted(rows[number].items()))


def _within(numbers: list[int], first: int, last: int) -> list[int]:
    return numbers[bisect_left(numbers, first) : bisect_right(numbers, last)]


@dataclass(slots=True)
class HiddenCells:
    """The rows and columns of a sheet that are not shown, and how many cells were left out because of it.

    Rows that a filter or a closed group hides are shown on a click, so they do not belong to it.
    """

    rows: set[int] = field(default_factory=set)
    columns: set[int] = field(default_factory=set)
    count: int = 0

    def show_rows(self, top: int, bottom: int) -> None:
        """Count the rows of a range as shown."""
        self.rows = {row for row in self.rows if not top <= row <= bottom}

    def leave_out(self, rows: dict[int, Row]) -> dict[int, Row]:
        """Return the rows without hidden cells. Those that are shown move together, as they do on the screen."""
        if not self.rows and not self.columns:
            return rows
        hidden_rows, hidden_columns = sorted(self.rows), sorted(self.columns)
        used = {column for row in rows.values() for column in row}
        places = {column: column - bisect_left(hidden_columns, column) for column in used - self.columns}
        kept: dict[int, Row] = {}
        for number, row in rows.items():
            is_hidden = number in self.rows
            cells = {places[column]: cell for column, cell in row.items() if column in places and not is_hidden}
            self.count += len(own_cells(row)) - len(own_cells(cells))
            if cells:
                kept[number - bisect_left(hidden_rows, number)] = cells
        return kept


def hidden_properties(cells: int, sheets: Sequence[str]) -> dict[str, str]:
    """Return the properties that count the hidden cells, which are not read, and name the hidden sheets, which are."""
    found = {"hidden_cells": str(cells) if cells else "", "hidden_sheets": ", ".join(sheets)}
    return {name: value for name, value in found.items() if value}
