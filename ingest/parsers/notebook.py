"""Jupyter notebooks: the text and the code of their cells, and what the cells printed."""

from __future__ import annotations

import json
import re
from typing import Any

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.html.page import add_html
from ingest.parsers.source import SourceFile

#: Colours and cursor movements.
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: How Python prints an object that has a form for readers beside it.
_IS_NAME_ONLY = re.compile(r"\s*(?:<[^<>]*>)?\s*")
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
            outputs = cell.get("outputs")
            for output in outputs if isinstance(outputs, list) else []:
                if isinstance(output, dict):
                    _add_output(builder, output)
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


def _add_output(builder: DocumentBuilder, output: dict[str, Any]) -> None:
    """What a cell printed, showed or failed with, in the form that reads best of those that it was kept in."""
    if output.get("output_type") == "error":
        # The traceback of Jupyter ends with the name of the error and what it says; others keep these two alone.
        said = f"{output.get('ename', '')}: {output.get('evalue', '')}"
        lines = output.get("traceback")
        traceback = _ANSI.sub("", "\n".join(map(str, lines)) if isinstance(lines, list) else str(lines or ""))
        builder.add(ElementKind.CODE, traceback if said in traceback else f"{traceback}\n{said}")
        return
    data = output.get("data")
    forms = data if isinstance(data, dict) else {}
    plain = _joined(output.get("text") or forms.get("text/plain"))
    if "text/markdown" in forms:
        _add_prose(builder, _joined(forms["text/markdown"]))
    elif "text/html" in forms and _IS_NAME_ONLY.fullmatch(plain):
        add_html(builder, _joined(forms["text/html"]))
    elif plain or "text/latex" in forms:
        builder.add(ElementKind.CODE, _ANSI.sub("", plain or _joined(forms["text/latex"])))
    elif "application/json" in forms:
        builder.add(ElementKind.CODE, json.dumps(forms["application/json"], ensure_ascii=False, indent=2))


def _joined(lines: Any) -> str:
    """nbformat allows a string or a list of lines."""
    return "".join(str(line) for line in lines) if isinstance(lines, list) else str(lines or "")
