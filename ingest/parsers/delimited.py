"""CSV and TSV: one record per line, each value with its column name."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.detection import TSV
from ingest.parsers.source import SourceFile
from ingest.parsers.tables import record_lines

_SAMPLE_CHARACTERS = 64 * 1024
_MAX_CELL_CHARACTERS = 10 * 2**20
#: In order of preference if several fit equally well; commas also occur in numbers and sentences.
_DELIMITERS = "\t;|,"
#: The line in which Excel declares the delimiter.
_SEPARATOR_LINE = re.compile(r"sep=(.)\n", re.I)
#: In a table of two columns, a row with one filled cell is not unusual, so it does not show a preamble.
_MIN_COLUMNS_WITH_PREAMBLE = 3
_MAX_PREAMBLE_LINES = 30

Rows = list[list[str]]


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the file as one table. Lines above the column names are kept as text.

    Raises:
        DocumentRejected: If it cannot be read as a table.
    """
    text = source.read_text()
    csv.field_size_limit(_MAX_CELL_CHARACTERS)
    named = _SEPARATOR_LINE.match(text)
    if named:
        text = text[named.end() :]
    try:
        rows = _read(text, named[1] if named else _delimiter(text, source.media_type))
    except csv.Error as error:
        raise DocumentRejected(f"The table is broken: {error}.") from error
    builder = DocumentBuilder()
    start = _table_start(rows)
    builder.add(ElementKind.PARAGRAPH, "\n".join(" ".join(filter(None, row)) for row in rows[:start]))
    builder.add(ElementKind.TABLE, record_lines(rows[start:]))
    return builder.build(source.media_type)


def _read(text: str, delimiter: str) -> Rows:
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


def _delimiter(text: str, media_type: str) -> str:
    """Return the character that divides the most lines into the same number of cells, or a comma if none does."""
    if media_type == TSV:
        return "\t"
    sample = text[:_SAMPLE_CHARACTERS]
    if len(text) > _SAMPLE_CHARACTERS:
        sample = sample[: sample.rfind("\n") + 1] or sample  # the cut last line may lack its delimiters
    counts = {mark: _count_most_common_width(_read(sample, mark)) for mark in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda mark: counts[mark])
    return best if counts[best] else ","


def _count_most_common_width(rows: Rows) -> int:
    """Return how many rows have the most common number of cells, among rows with more than one cell."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    return max(widths.values(), default=0)


def _table_start(rows: Rows) -> int:
    """Return the index of the row at which the table begins.

    Banks and instruments write a few lines above the table, with fewer filled cells than its rows have.
    """
    filled = [sum(map(bool, map(str.strip, row))) for row in rows]
    widths = Counter(len(row) for row in rows if len(row) > 1)
    usual = max(widths, key=lambda width: widths[width], default=0)
    if usual < _MIN_COLUMNS_WITH_PREAMBLE:
        return 0
    first = next((number for number, count in enumerate(filled) if count > usual // 2), 0)
    return first if first <= _MAX_PREAMBLE_LINES else 0
