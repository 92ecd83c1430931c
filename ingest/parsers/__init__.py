"""Parsers by media type. Each is one module with `parse(SourceFile) -> ParsedDocument`, imported when first needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec
from typing import cast

from core.errors import DocumentRejected
from ingest.document import ParsedDocument
from ingest.parsers import detection
from ingest.parsers.source import SourceFile

Parser = Callable[[SourceFile], ParsedDocument]

_MODULES = {
    detection.PLAIN: "text",
    detection.CODE: "text",
    detection.MARKDOWN: "markdown",
    detection.HTML: "html",
    detection.CSV: "delimited",
    detection.TSV: "delimited",
    detection.JSON: "json_file",
    detection.NOTEBOOK: "notebook",
    detection.DOCX: "docx",
    detection.PDF: "pdf",
    detection.XLSX: "xlsx",
    detection.PPTX: "pptx",
}
#: Types whose library is not required: the package to install, by its import name and its name in the index.
_OPTIONAL = {detection.XLSX: ("openpyxl", "openpyxl"), detection.PPTX: ("pptx", "python-pptx")}
_ADVICE = {
    "application/msword": "Save it as .docx and drop it again.",
    "application/vnd.ms-excel": "Save it as .xlsx and drop it again.",
    "application/vnd.ms-powerpoint": "Save it as .pptx and drop it again.",
    "application/zip": "Drop the files in it instead.",
}


def parser_for(media_type: str) -> Parser:
    """The parser of a type.

    Raises:
        DocumentRejected: there is none, or its library is not installed.
    """
    module = _MODULES.get(media_type)
    if module is None:
        advice = _ADVICE.get(media_type, "")
        raise DocumentRejected(
            f"This type of file ({media_type}) is not supported. {advice}".rstrip(), code="unsupported_file"
        )
    if media_type in _OPTIONAL:
        name, package = _OPTIONAL[media_type]
        if find_spec(name) is None:
            raise DocumentRejected(
                f"This type of file ({media_type}) is not supported here: install {package} and drop it again."
            )
    return cast(Parser, importlib.import_module(f"ingest.parsers.{module}").parse)


def parse_file(source: SourceFile) -> ParsedDocument:
    """The text and elements of a file.

    Raises:
        DocumentRejected: it has no parser, is broken, encrypted, or has no text.
    """
    document = parser_for(source.media_type)(source)
    if not document.elements:
        raise DocumentRejected("The document is empty: there is no text in it.", code="empty_file")
    return document


def import_parsers() -> None:
    """Imports every parser that can be: children forked afterwards share them and start at once."""
    for media_type, module in _MODULES.items():
        if media_type not in _OPTIONAL or find_spec(_OPTIONAL[media_type][0]) is not None:
            importlib.import_module(f"ingest.parsers.{module}")
