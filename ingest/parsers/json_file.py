"""JSON: indented, so that it can be divided by lines. JSON Lines: one record per line, with its keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.detection import JSON_LINES
from ingest.parsers.source import SourceFile


def parse(source: SourceFile) -> ParsedDocument:
    """One block. JSON that is spread over lines already, with letters as letters, stays as it is written."""
    text = source.read_text()
    builder = DocumentBuilder()
    if source.media_type == JSON_LINES:
        builder.add(ElementKind.TABLE, "\n".join(_record(line) for line in text.split("\n") if line.strip()))
        return builder.build(source.media_type)
    if text.strip().count("\n") < 2 or "\\u" in text:
        text = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    builder.add(ElementKind.CODE, text)
    return builder.build(source.media_type)


def _record(line: str) -> str:
    """`key: value; key.inner: value`; a line that is no JSON stays as it is."""
    try:
        value = json.loads(line)
    except ValueError:
        return line
    return "; ".join(f"{key}: {text}" if key else text for key, text in _flat("", value) if text)


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for item in value:
            yield from _flat(key, item)
    elif isinstance(value, list):
        yield key, ", ".join(_text(item) for item in value)
    else:
        yield key, _text(value)


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value)
