"""JSON, indented so that it can be split at line ends, and JSON Lines, one record per line with its keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.detection import JSON_LINES
from ingest.parsers.source import SourceFile

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
_INDENT = "  "


class _Object(list[tuple[str, Any]]):
    """The keys and values of an object; a key may occur more than once."""


#: Numbers stay strings, exactly as they are written.
_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_int=str, parse_float=str, parse_constant=str)


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the file as one block. JSON that already has line breaks and no `\\u` escapes is kept unchanged."""
    text = source.read_text()
    builder = DocumentBuilder()
    if source.media_type == JSON_LINES:
        builder.add(ElementKind.TABLE, "\n".join(_record(line) for line in text.split("\n") if line.strip()))
        return builder.build(source.media_type)
    if text.strip().count("\n") < 2 or "\\u" in text:
        text = _indented(text)
    builder.add(ElementKind.CODE, text)
    return builder.build(source.media_type)


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
            parts.append(json.dumps(json.loads(sign), ensure_ascii=False) if "\\u" in sign else sign)
    return "".join(parts)


def _record(line: str) -> str:
    """Return a line as `key: value; key.inner: value`, or unchanged if it is not JSON."""
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return line
    return "; ".join(f"{key}: {text}" if key else text for key, text in _flat("", value) if text)


def _flat(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, _Object):
        for name, inner in value:
            yield from _flat(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and any(isinstance(item, list) for item in value):
        for item in value:
            yield from _flat(key, item)
    elif isinstance(value, list):
        yield key, ", ".join(_text(item) for item in value)
    else:
        yield key, _text(value)


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value)
