"""Plain text, split at blank lines, and source code, split also at definitions. There is no markup for a library."""

from __future__ import annotations

import re
from pathlib import PurePath

from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument, SpanBuilder
from ingest.parsers import asciidoc
from ingest.parsers.detection import CODE
from ingest.parsers.line_ends import unwrap
from ingest.parsers.source import SourceFile

#: The separator of paragraphs.
BLANK_LINES = re.compile(r"\n[ \t]*\n\s*")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*•+]|\d{1,3}[.)])[ \t]+\S")
#: Blank lines, and definitions at the left margin, begin a new block of code.
_CODE_BREAK = re.compile(r"\n(?=[ \t]*\n)|\n(?=(?:async def|def|class|func|fn|pub|impl|public|private|export|@)\b)")


def parse(source: SourceFile) -> ParsedDocument:
    """Mark paragraphs, or blocks of code. The document's text is the file's text, with words whole at line ends."""
    code = source.media_type == CODE
    text = source.read_text()
    if PurePath(source.filename).suffix.lower() in asciidoc.SUFFIXES:
        text = asciidoc.without_comments(text)
    text = text if code else unwrap(text)
    builder = SpanBuilder(text)
    start = 0
    for gap in (_CODE_BREAK if code else BLANK_LINES).finditer(text):
        builder.add(_kind(text, start, code), start, gap.start())
        start = gap.end()
    builder.add(_kind(text, start, code), start, len(text))
    return builder.build(source.media_type)


def add_paragraphs(builder: DocumentBuilder, text: str) -> None:
    """Append the paragraphs of a text to a document."""
    for paragraph in BLANK_LINES.split(unwrap(text)):
        builder.add(_kind(paragraph, 0, False), paragraph)


def _kind(text: str, start: int, code: bool) -> ElementKind:
    if code:
        return ElementKind.CODE
    return ElementKind.LIST_ITEM if _LIST_ITEM.match(text, start) else ElementKind.PARAGRAPH
