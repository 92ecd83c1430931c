"""Tables as text: Markdown for those inside a document, one record per line for data files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, time
from html.parser import HTMLParser
from typing import Any

from ingest.parsed_document import DocumentBuilder, ElementKind

Row = Sequence[str]

#: A cell that says that it spans more columns than these is wrong.
_MOST_COLUMNS = 100

#: Numbers, dates and times.
_NUMBER = re.compile(r"[-+]?[\d.,:/\s-]+%?")
_YEAR = re.compile(r"(?:19|20)\d\d")
#: A table with more is not filled up to its widest row: a few wide cells would make megabytes of it.
_MOST_CELLS = 1_000_000


def _cell(text: str) -> str:
    return " ".join(text.split())


def markdown_table(rows: Sequence[Row]) -> str:
    """A Markdown table; the first row is its head. Empty for no rows."""
    width = max((len(row) for row in rows), default=0)
    if not width:
        return ""
    if width * len(rows) > _MOST_CELLS:
        rows = [[text for text in row if text.strip()] for row in rows]
        width = 0
    lines = ["| " + " | ".join(_cell(text).replace("|", "\\|") for text in _padded(row, width)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * (width or len(rows[0])), *lines[1:]])


def _padded(row: Row, width: int) -> list[str]:
    return [*row, *[""] * (width - len(row))]


def records(rows: Sequence[Row]) -> str:
    """Each row on a line of its own as `column: value; column: value`, so that a line is understood by itself.

    Without a row of column names, a line is its values, divided by ` | `.
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
    """Whether the first row names the columns: all different, and none a number but for years in their order.

    The first and the last columns may have no name: that of an index, and what a delimiter at the end of lines makes.
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
    """Appends a sheet of a workbook as a section of its own, with what it says outside its cells after them.

    An empty one is left out.
    """
    filled = [[_text(value) for value in row] for row in rows if any(value is not None for value in row)]
    text = records(filled)
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
    # The digits that Excel shows: beyond them, sums of decimal fractions have ends that nobody wrote.
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def html_table(html: str) -> str:
    """An HTML table as Markdown; a cell that spans columns or rows leaves empty ones there."""
    reader = _TableReader()
    reader.feed(html)
    reader.close()
    return markdown_table(reader.rows)


class _TableReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[str]] = []
        self._columns, self._rows = 1, 1
        #: How many more rows a cell above reaches into, by column.
        self._below: dict[int, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self._pass_cells_from_above()
            self.rows[-1].append("")
            given = dict(attrs)
            self._columns = min(_span(given.get("colspan")), _MOST_COLUMNS)
            self._rows = _span(given.get("rowspan"))
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
            self._pass_cells_from_above()

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data

    def _pass_cells_from_above(self) -> None:
        row = self.rows[-1]
        while self._below.get(len(row), 0):
            self._below[len(row)] -= 1
            row.append("")


def _span(given: str | None) -> int:
    return max(1, int(given)) if given and given.isdecimal() else 1
