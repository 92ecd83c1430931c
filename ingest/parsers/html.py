"""HTML, through unstructured: what a reader of the page sees, without scripts and styles."""

from __future__ import annotations

from ingest.document import DocumentBuilder, ParsedDocument
from ingest.parsers.source import SourceFile
from ingest.parsers.unstructured_elements import add_elements, partitioner

partition_html = partitioner("html")


def parse(source: SourceFile) -> ParsedDocument:
    """Headings with their levels, paragraphs, lists, tables and code."""
    text = source.read_text()
    builder = DocumentBuilder()
    if text.strip():
        add_elements(builder, partition_html(text=_without_declaration(text), languages=[""]))
    return builder.build(source.media_type)


def _without_declaration(text: str) -> str:
    """The text without `<?xml …?>`: lxml refuses a str that declares an encoding of its own."""
    start = text.lstrip()
    return start.partition("?>")[2] if start.startswith("<?xml") else text
