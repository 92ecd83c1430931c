"""Excel workbooks: each sheet a section, one record per line. Needs openpyxl."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from datetime import datetime, time
from typing import Any

import openpyxl

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.source import SourceFile
from ingest.parsers.tables import records


def parse(source: SourceFile) -> ParsedDocument:
    """The values of the cells, formulas as last calculated.

    Raises:
        DocumentRejected: a part of the file is broken.
    """
    builder = DocumentBuilder()
    try:
        # Given a path, openpyxl would judge the file by its suffix.
        with source.path.open("rb") as file:
            workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
            for sheet in workbook.worksheets:
                # The stated size of a sheet may be 17 billion cells, for one stray cell: rows are read as they are.
                sheet.reset_dimensions()
                _add_sheet(builder, sheet.title, sheet.iter_rows(values_only=True))
    # ElementTree's ParseError is a SyntaxError.
    except (KeyError, ValueError, TypeError, SyntaxError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DocumentRejected(f"The workbook is broken: {error}".rstrip(".") + ".") from error
    return builder.build(source.media_type)


def _add_sheet(builder: DocumentBuilder, title: str, rows: Iterable[Iterable[Any]]) -> None:
    filled = [[_text(value) for value in row] for row in rows if any(value is not None for value in row)]
    text = records(filled)
    if text:
        builder.add(ElementKind.HEADING, title)
        builder.add(ElementKind.TABLE, text)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    return str(value)
