"""The cells of a table, and the spans of merged ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Numbers with their signs, units of money, percent signs and unit symbols; dates and times written in digits.
_VALUE = re.compile(r"[-+(]?\s*[$€£¥]?\s*[-+]?[\d.,:/\s-]*\d[\d.,:/\s-]*\)?\s*[%$€£¥°]?\)?(?: \([^()]*\))?")
_MARK = "~~"
#: Larger values of `colspan` and `gridSpan` are reduced to this, because they are mistakes.
_MAX_COLUMN_SPAN = 100
#: After so many repetitions, the merged cells of a table are no longer repeated: a small file could fill the memory.
MAX_COPIES = 1_000_000


class CellType(StrEnum):
    """The type of a cell's content. Formats without types have only text."""

    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    BOOLEAN = "boolean"
    ERROR = "error"


@dataclass(slots=True)
class Cell:
    """A cell that is not empty, as it is shown. Struck-out text is between `~~` and `~~`."""

    text: str
    type: CellType = CellType.TEXT
    #: The value without its number format, if it looks different: `0.075` for `7.5%`.
    bare: str = ""
    #: Whether the file marks it as the header of a column or a row.
    is_header: bool = False
    #: Whether it repeats a merged cell at a further position that the merged cell covers.
    is_copy: bool = False

    @property
    def is_value(self) -> bool:
        """Whether it is a number, a date or the like, by its type or by its looks."""
        return self.type is not CellType.TEXT or _VALUE.fullmatch(self.text) is not None

    @property
    def is_struck(self) -> bool:
        """Whether all of it is struck out."""
        if not self.text.startswith(_MARK):
            return False
        inner = self.text[2:-2]
        return len(self.text) > 4 and self.text == f"{_MARK}{inner}{_MARK}" and _MARK not in inner

    def copy(self) -> Cell:
        """Return the cell as it is repeated at the further positions that it covers."""
        return Cell(self.text, self.type, self.bare, self.is_header, is_copy=True)


#: The filled cells of a row by column, counted from 0, in ascending order. An empty cell is missing.
Row = dict[int, Cell]


def one_line(text: str) -> str:
    """Return the text with each run of white space as one space."""
    return " ".join(text.split())


def text_row(texts: Sequence[str]) -> Row:
    """Return the row of a format that has only text."""
    return {column: Cell(words) for column, text in enumerate(texts) if (words := one_line(text))}


def own_cells(row: Row) -> list[Cell]:
    """Return the cells of a row that do not repeat a merged one."""
    return [cell for cell in row.values() if not cell.is_copy]


class SpanGrid:
    """Collects rows of cells that may span columns and rows, as HTML, Word and PowerPoint write them.

    The text of a spanning cell is repeated at each position that it covers. Time and memory are linear in the number of
    positions.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._column = 0
        #: The copies that cells above place in the current row, and in how many further rows, by column.
        self._covering: dict[int, tuple[Cell | None, int]] = {}
        self._below: dict[int, tuple[Cell | None, int]] = {}
        self._copies = 0

    def begin_row(self) -> None:
        """Begin the next row."""
        self._finish_row()
        self.rows.append({})
        self._column = 0
        self._covering = self._below
        self._below = {column: (cell, rows - 1) for column, (cell, rows) in self._covering.items() if rows > 1}

    def add(self, text: str, *, columns: int = 1, rows: int = 1, is_header: bool = False) -> None:
        """Add the next cell of the current row. `rows=0` spans all further rows, as in HTML."""
        if not self.rows:
            self.begin_row()
        self._skip_covered()
        text = one_line(text)
        cell = Cell(text, is_header=is_header) if text else None
        copy = cell.copy() if cell else None
        for column in range(self._column, self._column + max(1, min(columns, _MAX_COLUMN_SPAN))):
            placed = cell if column == self._column else copy
            if placed is not None:
                self.rows[-1][column] = placed
            if rows != 1:
                self._below[column] = (copy, rows - 1 if rows > 0 else 10**9)
        self._column += max(1, min(columns, _MAX_COLUMN_SPAN))

    def finish(self) -> list[Row]:
        """Return the rows that have a cell of their own."""
        self._finish_row()
        return [row for row in self.rows if any(not cell.is_copy for cell in row.values())]

    def _skip_covered(self) -> None:
        while self._column in self._covering:
            self._column += 1

    def _finish_row(self) -> None:
        if not self.rows or not self._covering:
            return
        row = self.rows[-1]
        self._copies += len(self._covering)
        for column, (cell, _) in self._covering.items():
            if cell is not None and self._copies <= MAX_COPIES:
                row.setdefault(column, cell)
        self.rows[-1] = dict(sorted(row.items()))
        self._covering = {}


def span_of(value: str | None) -> int:
    """Return a `colspan` or `rowspan` as HTML defines it: 1 if it is not a number."""
    return int(value) if value and value.isdecimal() and len(value) < 9 else 1
