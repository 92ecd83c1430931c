"""Reads the records of delimited text. A quotation mark that is never closed costs one record, not all that follow."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator

Records = list[list[str]]

#: A quoted field that goes on over lines is taken for an unclosed one if so many of the lines in it look like records.
_RECORD_LINES = 0.8
_MIN_COLUMNS = 2


def read_records(text: str, delimiter: str) -> Records:
    """Return the fields of each record; those of an empty line are an empty list.

    Raises:
        csv.Error: If a field exceeds the limit of the csv module.
    """
    if '"' not in text:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter, quoting=csv.QUOTE_NONE))
    try:
        records = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        if "limit" in str(error):
            raise
        return list(_TolerantReader(text, delimiter).records())
    long_fields = [field for record in records for field in record if "\n" in field]
    if not long_fields:
        return records
    reader = _TolerantReader(text, delimiter)
    return list(reader.records()) if any(map(reader.is_unclosed, long_fields)) else records


class _TolerantReader:
    """Reads record by record, and decides for each quotation mark whether it opens a field that another one closes.

    The time is linear: the search for a closing mark ends at the next mark that cannot close a field.
    """

    def __init__(self, text: str, delimiter: str) -> None:
        self._text = text
        self._delimiter = delimiter
        self._width = self._usual_width()
        self._last_mark = text.rfind('"')
        # A doubled mark is a mark within the field; any other ends the field, or cannot be within one.
        self._mark = re.compile(r'"+')

    def records(self) -> Iterator[list[str]]:
        position = 0
        while position < len(self._text):
            record, position = self._record(position)
            yield record

    def _usual_width(self) -> int:
        """Return the most common number of fields of the lines without quotation marks."""
        lines = (line for line in self._text.split("\n") if '"' not in line and line.strip())
        widths = Counter(line.count(self._delimiter) + 1 for line in lines)
        return widths.most_common(1)[0][0] if widths else 0

    def _record(self, position: int) -> tuple[list[str], int]:
        """Return the fields of the record at a position, and the start of the next one."""
        fields: list[str] = []
        end = self._line_end(position)
        if position == end:
            return [], end + 1
        while True:
            quoted = self._quoted_field(position) if self._text.startswith('"', position) else None
            if quoted is not None:
                field, position = quoted
            else:
                stop = self._text.find(self._delimiter, position, self._line_end(position))
                stop = stop if stop >= 0 else self._line_end(position)
                field, position = self._text[position:stop], stop
            fields.append(field)
            if not self._text.startswith(self._delimiter, position):
                return fields, position + 1
            position += 1

    def _quoted_field(self, start: int) -> tuple[str, int] | None:
        """Return the field in quotation marks and the position after it, or None if the mark opens none."""
        first_line_end = self._line_end(start)
        for mark in self._mark.finditer(self._text, start + 1) if start < self._last_mark else ():
            is_closing = len(mark[0]) % 2 == 1 and self._ends_field(mark.end())
            if mark.start() == start + 1 and len(mark[0]) == 1 and is_closing:
                return "", mark.end()
            if is_closing:
                inner = self._text[start + 1 : mark.end() - 1]
                return None if self.is_unclosed(inner) else (inner.replace('""', '"'), mark.end())
            if len(mark[0]) % 2 == 1 and mark.start() > first_line_end:
                return None
        return None

    def _ends_field(self, position: int) -> bool:
        return position >= len(self._text) or self._text[position] in (self._delimiter, "\n")

    def is_unclosed(self, inner: str) -> bool:
        """Return whether the lines within a field look like records, so that its opening mark was never closed."""
        lines = inner.split("\n")[1:-1]
        if not lines or self._width < _MIN_COLUMNS:
            return False
        alike = sum(line.count(self._delimiter) + 1 == self._width for line in lines)
        return alike >= _RECORD_LINES * len(lines) and (self._width > _MIN_COLUMNS or len(lines) > 2)

    def _line_end(self, position: int) -> int:
        end = self._text.find("\n", position)
        return len(self._text) if end < 0 else end
