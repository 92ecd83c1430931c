"""JSON: indented, so that it can be divided by lines."""

from __future__ import annotations

import json

from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.source import SourceFile


def parse(source: SourceFile) -> ParsedDocument:
    """One block. JSON that is already spread over lines stays as it is written."""
    text = source.read_text()
    if text.strip().count("\n") < 2:
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    builder = DocumentBuilder()
    builder.add(ElementKind.CODE, text)
    return builder.build(source.media_type)
