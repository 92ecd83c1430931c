"""CSV and TSV: one record per line, with its columns' names."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.detection import TSV
from ingest.parsers.source import SourceFile
from ingest.parsers.tables import records

_SAMPLE_CHARACTERS = 64 * 1024
_LONGEST_CELL_CHARACTERS = 10 * 2**20
#: In the order of their chances, if they divide the text alike: commas stand in numbers and sentences, too.
_DELIMITERS = "\t;|,"
#: The line in which Excel's files say what divides them.
_SEPARATOR_LINE = re.compile(r"sep=(.)\n", re.I)
#: In a table of two columns, a row with one cell filled is nothing unusual.
_NARROWEST_WITH_PREAMBLE = 3
_LONGEST_PREAMBLE_LINES = 30

Rows = list[list[str]]


def parse(source: SourceFile) -> ParsedDocument:
    """One table; what stands above the names of its columns is kept as text.

    Raises:
        DocumentRejected: it is not a table at all.
    """
    text = source.read_text()
    csv.field_size_limit(_LONGEST_CELL_CHARACTERS)
    named = _SEPARATOR_LINE.match(text)
    if named:
        text = text[named.end() :]
    try:
        rows = _read(text, named[1] if named else _delimiter(text, source.media_type))
    except csv.Error as error:
        raise DocumentRejected(f"The table is broken: {error}.") from error
    builder = DocumentBuilder()
    start = _first_row(rows)
    builder.add(ElementKind.PARAGRAPH, "\n".join(" ".join(filter(None, row)) for row in rows[:start]))
    builder.add(ElementKind.TABLE, records(rows[start:]))
    return builder.build(source.media_type)


def _read(text: str, delimiter: str) -> Rows:
    return list(csv.reader(io.StringIO(text), delimiter=delimiter))


def _delimiter(text: str, media_type: str) -> str:
    """The character that divides the most lines into as many cells; the type's own if none does."""
    if media_type == TSV:
        return "\t"
    sample = text[:_SAMPLE_CHARACTERS]
    if len(text) > _SAMPLE_CHARACTERS:
        sample = sample[: sample.rfind("\n") + 1] or sample  # cut within the line, where it may have no delimiter
    alike = {mark: _count_alike(_read(sample, mark)) for mark in _DELIMITERS}
    best = max(_DELIMITERS, key=lambda mark: alike[mark])
    return best if alike[best] else ","


def _count_alike(rows: Rows) -> int:
    """How many rows have the most usual number of cells, of those with more than one."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    return max(widths.values(), default=0)


def _first_row(rows: Rows) -> int:
    """Where the table begins: banks and machines write some lines above it, with fewer cells filled than it has."""
    filled = [sum(map(bool, map(str.strip, row))) for row in rows]
    widths = Counter(len(row) for row in rows if len(row) > 1)
    usual = max(widths, key=lambda width: widths[width], default=0)
    if usual < _NARROWEST_WITH_PREAMBLE:
        return 0
    first = next((number for number, count in enumerate(filled) if count > usual // 2), 0)
    return first if first <= _LONGEST_PREAMBLE_LINES else 0
