"""Excel workbooks from before 2007. Each sheet is a section, with one record per line."""

from __future__ import annotations

import io
from typing import Any

import xlrd
from xlrd.compdoc import CompDocError

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.archives import ENCRYPTED, FILE_ERRORS
from ingest.parsers.office.sheet_notes import comment_line
from ingest.parsers.source import SourceFile
from ingest.parsers.tables import add_sheet


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the values of the cells, with formulas as last calculated, and the comments.

    Raises:
        DocumentRejected: If the workbook is encrypted or broken.
    """
    builder = DocumentBuilder()
    try:
        # xlrd prints warnings, which nobody would read here.
        with xlrd.open_workbook(str(source.path), on_demand=True, logfile=io.StringIO()) as workbook:
            for name in workbook.sheet_names():
                sheet = workbook.sheet_by_name(name)
                rows = ([_value(cell, workbook.datemode) for cell in row] for row in sheet.get_rows())
                add_sheet(builder, name, rows, _notes(name, sheet))
                workbook.unload_sheet(name)
    except (xlrd.XLRDError, CompDocError, *FILE_ERRORS) as error:
        if "encrypted" in str(error).lower():
            raise DocumentRejected(ENCRYPTED) from error
        raise DocumentRejected(f"The workbook is broken: {error}".rstrip(".") + ".") from error
    return builder.build(source.media_type)


def _notes(name: str, sheet: Any) -> list[str]:
    found = sorted(sheet.cell_note_map.items())
    return [comment_line(name, xlrd.cellname(*cell), note.author, note.text) for cell, note in found if note.text]


def _value(cell: Any, datemode: int) -> Any:
    """Return a cell's value as openpyxl would return it."""
    if cell.ctype in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK):
        return None
    if cell.ctype == xlrd.XL_CELL_DATE:
        return _date(cell.value, datemode)
    if cell.ctype == xlrd.XL_CELL_BOOLEAN:
        return bool(cell.value)
    if cell.ctype == xlrd.XL_CELL_ERROR:
        return xlrd.error_text_from_code.get(cell.value, "#ERROR")
    if cell.ctype == xlrd.XL_CELL_NUMBER and cell.value == int(cell.value):
        return int(cell.value)
    return cell.value


def _date(value: float, datemode: int) -> Any:
    try:
        return xlrd.xldate_as_datetime(value, datemode)
    except (ValueError, OverflowError):
        return value
