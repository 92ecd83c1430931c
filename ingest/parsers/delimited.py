"""CSV and TSV: one record per line, with its columns' names."""

from __future__ import annotations

import csv
import io

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.detection import TSV
from ingest.parsers.source import SourceFile
from ingest.parsers.tables import records

_SAMPLE_CHARACTERS = 8192
_LONGEST_CELL_CHARACTERS = 10 * 2**20


def parse(source: SourceFile) -> ParsedDocument:
    """One table.

    Raises:
        DocumentRejected: it is not a table at all.
    """
    text = source.read_text()
    csv.field_size_limit(_LONGEST_CELL_CHARACTERS)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=_delimiter(text, source.media_type)))
    except csv.Error as error:
        raise DocumentRejected(f"The table is broken: {error}.") from error
    builder = DocumentBuilder()
    builder.add(ElementKind.TABLE, records(rows))
    return builder.build(source.media_type)


def _delimiter(text: str, media_type: str) -> str:
    """The character that divides the most lines alike; the type's own if none does."""
    if media_type == TSV:
        return "\t"
    sample = text[:_SAMPLE_CHARACTERS].split("\n")
    if len(text) > _SAMPLE_CHARACTERS and len(sample) > 1:
        sample.pop()  # cut within the line, where it may have no delimiter
    lines = [line for line in sample if line.strip()][:20]
    counts = {mark: min((line.count(mark) for line in lines), default=0) for mark in ",;\t|"}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ","
