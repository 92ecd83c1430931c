"""Writes tables as text: as Markdown inside documents, and with one record per line for data files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, time
from html.parser import HTMLParser
from typing import Any

from ingest.parsed_document import DocumentBuilder, ElementKind

Row = Sequence[str]

#: A larger `colspan` is reduced to this, because it is a mistake.
_MAX_COLUMNS = 100

#: Numbers, dates and times.
_NUMBER = re.compile(r"[-+]?[\d.,:/\s-]+%?")
_YEAR = re.compile(r"(?:19|20)\d\d")
#: The rows of a table that would have more cells are not padded to equal width, because a few wide rows would make it
#: megabytes long.
_MAX_PADDED_CELLS = 1_000_000


def _cell(text: str) -> str:
    return " ".join(text.split())


def markdown_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table whose header is the first row, or an empty string if there are no rows."""
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    if width * len(rows) > _MAX_PADDED_CELLS:
        rows = [[text for text in row if text.strip()] for row in rows]
        width = 0
    lines = ["| " + " | ".join(_cell(text).replace("|", "\\|") for text in _pad(row, width)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * (width or len(rows[0])), *lines[1:]])


def _pad(row: Row, width: int) -> list[str]:
    return [*row, *[""] * (width - len(row))]


def record_lines(rows: Sequence[Row]) -> str:
    """Return each row as a line `column: value; column: value`, which can be understood on its own.

    If there is no row of column names, a line has only the values, separated by ` | `.
    """
    filled = [row for row in rows if any(text.strip() for text in row)]
    if len(filled) < 2 or not has_header(filled):
        return "\n".join(" | ".join(_cell(text) for text in row if text.strip()) for row in filled)
    names = [_cell(name) for name in filled[0]]
    return "\n".join([" | ".join(names), *(_record(names, row) for row in filled[1:])])


def _record(names: Row, row: Row) -> str:
    pairs = ((names[index] if index < len(names) else "", _cell(text)) for index, text in enumerate(row))
    return "; ".join(f"{name}: {text}" if name else text for name, text in pairs if text)


def has_header(rows: Sequence[Row]) -> bool:
    """Return whether the first row has the names of the columns.

    They must be unique and not numbers, except for years in order. The first column may have no name because it is an
    index, and the last ones because a delimiter at the end of each line creates an empty column.
    """
    first = [name.strip() for name in rows[0]]
    names = first[1:] if first and not first[0] else first
    while names and not names[-1]:
        names = names[:-1]
    numbers = [name for name in names if _NUMBER.fullmatch(name or "0")]
    are_years = (
        len(numbers) > 1 and all(map(_YEAR.fullmatch, numbers)) and numbers in (sorted(numbers), sorted(numbers)[::-1])
    )
    is_named = len(names) > 1 and len(set(names)) == len(names) and not _NUMBER.fullmatch(names[0])
    return is_named and (not numbers or are_years)


def add_sheet(builder: DocumentBuilder, title: str, rows: Iterable[Iterable[Any]], notes: Sequence[str] = ()) -> None:
    """Append a sheet of a workbook as a section: its cells, then its notes. An empty sheet is skipped."""
    filled = [[_text(value) for value in row] for row in rows if any(value is not None for value in row)]
    text = record_lines(filled)
    if text or notes:
        builder.add(ElementKind.HEADING, title)
        builder.add(ElementKind.TABLE, text)
    for note in notes:
        builder.add(ElementKind.PARAGRAPH, note)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    # Excel shows 15 digits; the further ones are rounding errors of binary fractions.
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def html_table(html: str) -> str:
    """Return an HTML table as Markdown. The further columns and rows that a cell spans are empty."""
    reader = _TableReader()
    reader.feed(html)
    reader.close()
    return markdown_table(reader.rows)


class _TableReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self._columns, self._rows = 1, 1
        #: The number of further rows that a cell above spans, by column.
        self._below: dict[int, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self._skip_spanned_cells()
            self.rows[-1].append("")
            attributes = dict(attrs)
            self._columns = min(_span(attributes.get("colspan")), _MAX_COLUMNS)
            self._rows = _span(attributes.get("rowspan"))
        elif self.rows and self.rows[-1]:
            self.rows[-1][-1] += " "

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self.rows and self.rows[-1]:
            first = len(self.rows[-1]) - 1
            self.rows[-1].extend([""] * (self._columns - 1))
            if self._rows > 1:
                self._below |= dict.fromkeys(range(first, first + self._columns), self._rows - 1)
            self._columns, self._rows = 1, 1
        elif tag == "tr" and self.rows:
            self._skip_spanned_cells()

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def _skip_spanned_cells(self) -> None:
        row = self.rows[-1]
        while self._below.get(len(row), 0):
            self._below[len(row)] -= 1
            row.append("")


def _span(value: str | None) -> int:
    return max(1, int(value)) if value and value.isdecimal() else 1
