"""CSV and TSV: one record per line, each value with its column name."""

from __future__ import annotations

import csv
import re
from collections import Counter

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.detection import TSV
from ingest.parsers.source import SourceFile
from ingest.parsers.tables.cells import text_row
from ingest.parsers.tables.delimited_records import read_records
from ingest.parsers.tables.sheets import add_tables

_SAMPLE_CHARACTERS = 64 * 1024
_MAX_CELL_CHARACTERS = 10 * 2**20
#: In order of preference if several fit equally well; commas also occur in numbers and sentences.
_DELIMITERS = "\t;|,"
#: The line in which Excel declares the delimiter.
_SEPARATOR_LINE = re.compile(r"sep=(.)\n", re.I)
Rows = list[list[str]]


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the file as a sheet: tables that empty lines divide, and the lines of text above them.

    Raises:
        DocumentRejected: If it cannot be read as a table.
    """
    text = source.read_text()
    csv.field_size_limit(_MAX_CELL_CHARACTERS)
    named = _SEPARATOR_LINE.match(text)
    if named:
        text = text[named.end() :]
    try:
        rows = read_records(text, named[1]) if named else _read(text, source.media_type)
    except csv.Error as error:
        raise DocumentRejected(f"The table is broken: {error}.") from error
    builder = DocumentBuilder()
    numbered = ((number, text_row(row)) for number, row in enumerate(rows))
    add_tables(builder, [(number, row) for number, row in numbered if row])
    return builder.build(source.media_type)


def _read(text: str, media_type: str) -> Rows:
    """Return the records, divided at the character that divides the most lines into the same number of cells.

    If none does, it is a comma.
    """
    if media_type == TSV:
        return read_records(text, "\t")
    sample = text[:_SAMPLE_CHARACTERS]
    if len(text) > _SAMPLE_CHARACTERS:
        sample = sample[: sample.rfind("\n") + 1] or sample  # the cut last line may lack its delimiters
    tried = {mark: read_records(sample, mark) for mark in _DELIMITERS if mark in sample or mark == ","}
    counts = {mark: _count_most_common_width(rows) for mark, rows in tried.items()}
    best = max(tried, key=lambda mark: counts[mark])
    best = best if counts[best] else ","
    return tried[best] if sample is text else read_records(text, best)


def _count_most_common_width(rows: Rows) -> int:
    """Return how many rows have the most common number of cells, among rows with more than one cell."""
    widths = Counter(len(row) for row in rows if len(row) > 1)
    return max(widths.values(), default=0)
