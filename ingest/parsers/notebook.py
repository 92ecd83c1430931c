"""Jupyter notebooks: the text, the code and the output of their cells.

They are read here because a notebook is plain JSON, of which only the payloads must be left out.
"""

from __future__ import annotations

import json
import re
from typing import Any

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.html.page import add_html
from ingest.parsers.source import SourceFile
from ingest.terminal_text import shown_text

#: Plain output that is empty or only an object's default `repr`, such as `<Figure size …>`.
_OBJECT_NAME_ONLY = re.compile(r"\s*(?:<[^<>]*>)?\s*")
_HEADING = re.compile(r"(#{1,6})\s+(.+)")


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the cells in order.

    Raises:
        DocumentRejected: If the file has no list of cells.
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
            builder.add(ElementKind.CODE, _join_lines(cell.get("source")))
            outputs = cell.get("outputs")
            for output in outputs if isinstance(outputs, list) else []:
                if isinstance(output, dict):
                    _add_output(builder, output)
        else:
            _add_prose(builder, _join_lines(cell.get("source")))
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


def _add_output(builder: DocumentBuilder, output: dict[str, Any]) -> None:
    """Append an output of a cell or its error, in the most readable of the stored formats."""
    if output.get("output_type") == "error":
        # Jupyter's traceback ends with the name and message of the error; other programs store only these two.
        error = f"{output.get('ename', '')}: {output.get('evalue', '')}"
        lines = output.get("traceback")
        traceback = shown_text("\n".join(map(str, lines)) if isinstance(lines, list) else str(lines or ""))
        builder.add(ElementKind.CODE, traceback if error in traceback else f"{traceback}\n{error}")
        return
    data = output.get("data")
    by_type = data if isinstance(data, dict) else {}
    plain = shown_text(_join_lines(output.get("text") or by_type.get("text/plain")), is_output=True)
    if "text/markdown" in by_type:
        _add_prose(builder, _join_lines(by_type["text/markdown"]))
    elif "text/html" in by_type and _OBJECT_NAME_ONLY.fullmatch(plain):
        add_html(builder, _join_lines(by_type["text/html"]))
    elif plain or "text/latex" in by_type:
        builder.add(ElementKind.CODE, plain or _join_lines(by_type["text/latex"]))
    elif "application/json" in by_type:
        builder.add(ElementKind.CODE, json.dumps(by_type["application/json"], ensure_ascii=False, indent=2))


def _join_lines(lines: Any) -> str:
    """Join the lines of a text; nbformat allows a string or a list of lines."""
    return "".join(str(line) for line in lines) if isinstance(lines, list) else str(lines or "")
