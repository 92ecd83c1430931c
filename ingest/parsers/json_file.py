"""JSON: lists of objects and JSON Lines as records, one per line with its keys; other JSON as it is, indented.

The standard library reads it; ours is the form in which records and chats are written as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.detection import JSON_LINES
from ingest.parsers.records.json_lists import add_record_lists, is_chat
from ingest.parsers.records.json_values import decode_json, record_line
from ingest.parsers.source import SourceFile
from ingest.terminal_text import shown_text

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_INDENT = "  "


def parse(source: SourceFile) -> ParsedDocument:
    """Parse lists of objects as records, and other JSON as one block.

    JSON that already has line breaks and no `\\u` escapes is kept unchanged.
    """
    text = source.read_text()
    if source.media_type == JSON_LINES:
        return _read_lines([line for line in text.split("\n") if line.strip()]).build(source.media_type)
    builder = _read_records(text)
    if builder is not None:
        return builder.build(source.media_type)
    builder = DocumentBuilder()
    if text.strip().count("\n") < 2 or "\\u" in text:
        text = _indented(text)
    builder.add(ElementKind.CODE, text)
    return builder.build(source.media_type)


def _read_records(text: str) -> DocumentBuilder | None:
    """Return the records of a JSON file, or None if it has none."""
    builder = DocumentBuilder()
    try:
        return builder if add_record_lists(builder, decode_json(text)) else None
    except (ValueError, RecursionError):
        return None


def _read_lines(lines: Sequence[str]) -> DocumentBuilder:
    """Return the messages of a chat, or one record for each line."""
    # All lines are decoded together only if they are a chat, since that takes more memory than the lines have.
    found = _read_records(f"[{','.join(lines)}]") if lines and is_chat(_decoded(lines[0])) else None
    if found is None:
        found = DocumentBuilder()
        found.add(ElementKind.TABLE, "\n".join(map(_record, lines)))
    return found


def _decoded(line: str) -> Any:
    try:
        return decode_json(line)
    except (ValueError, RecursionError):
        return None


def _indented(text: str) -> str:
    """Indent valid JSON. Unlike `json`, this keeps numbers as they are written, and repeated keys."""
    parts: list[str] = []
    depth = 0
    for found in _TOKEN.finditer(text):
        sign = found[0]
        if sign in "{[":
            depth += 1
            parts += [sign, "\n", _INDENT * depth]
        elif sign in "}]":
            depth -= 1
            is_empty = parts[-3:-2] in (["{"], ["["])
            parts[-2 if is_empty else len(parts) :] = [sign] if is_empty else ["\n", _INDENT * depth, sign]
        elif sign == ",":
            parts += [sign, "\n", _INDENT * depth]
        elif sign == ":":
            parts.append(": ")
        else:
            parts.append(_without_escapes(sign) if "\\u" in sign else sign)
    return "".join(parts)


def _without_escapes(string: str) -> str:
    """Return a string of JSON with its characters instead of `\\u` escapes, as a terminal shows it."""
    return json.dumps(shown_text(json.loads(string), is_output=True), ensure_ascii=False)


def _record(line: str) -> str:
    """Return a line as a record, or unchanged if it is not JSON."""
    try:
        return record_line(decode_json(line))
    except (ValueError, RecursionError):
        return line
