"""Jupyter notebooks: the text and the code of their cells, and what the cells printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.source import SourceFile

_HEADING = re.compile(r"(#{1,6})\s+(.+)")


def parse(source: SourceFile) -> ParsedDocument:
    """The cells in order.

    Raises:
        DocumentRejected: it is JSON, but no notebook.
    """
    content = json.loads(source.read_text())
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise DocumentRejected("The notebook is broken: it has no list of cells.")
    builder = DocumentBuilder()
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        if cell.get("cell_type") == "code":
            builder.add(ElementKind.CODE, _joined(cell.get("source")))
            for printed in _printed(cell.get("outputs")):
                builder.add(ElementKind.CODE, printed)
        else:
            _add_prose(builder, _joined(cell.get("source")))
    return builder.build(source.media_type)


def _add_prose(builder: DocumentBuilder, text: str) -> None:
    for block in re.split(r"\n\s*\n|\n(?=#)|(?<=\n)(?=#)", text):
        first, _, rest = block.strip().partition("\n")
        heading = _HEADING.fullmatch(first.strip())
        if heading:
            builder.add(ElementKind.HEADING, heading[2], level=len(heading[1]) - 1)
            builder.add(ElementKind.PARAGRAPH, rest)
        else:
            builder.add(ElementKind.PARAGRAPH, block)


def _printed(outputs: Any) -> Iterator[str]:
    for output in outputs if isinstance(outputs, list) else []:
        if isinstance(output, dict):
            data = output.get("data")
            yield _joined(output.get("text") or (data.get("text/plain") if isinstance(data, dict) else None))


def _joined(lines: Any) -> str:
    """nbformat allows a string or a list of lines."""
    return "".join(str(line) for line in lines) if isinstance(lines, list) else str(lines or "")
