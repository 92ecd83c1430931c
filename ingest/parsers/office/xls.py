"""Excel workbooks from before 2007, read with xlrd. Each sheet is a section, with one record per line.

python-calamine reads them too, but without number formats and fonts.
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import xlrd
from xlrd.compdoc import CompDocError

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.archives import ENCRYPTED, FILE_ERRORS
from ingest.parsers.office.cell_display import (
    PLAIN_STYLE,
    CellStyle,
    HiddenCells,
    hidden_properties,
    number_cell,
    repeat_merged_cells,
    text_cell,
)
from ingest.parsers.office.number_formats import BUILT_IN, number_format
from ingest.parsers.office.sheet_notes import comment_line
from ingest.parsers.raised import lowered, raised
from ingest.parsers.source import SourceFile
from ingest.parsers.tables.cells import Cell, CellType, Row
from ingest.parsers.tables.sheets import add_sheet

#: The name of the range that a filter is for.
_FILTERED = "_FilterDatabase"
#: How a font of this escapement writes its text.
_SHIFTS = {1: raised, 2: lowered}


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the cells as they are shown, with formulas as last calculated, and the comments.

    Raises:
        DocumentRejected: If the workbook is encrypted or broken.
    """
    try:
        return _parse(source, has_styles=True)
    except (xlrd.XLRDError, CompDocError, *FILE_ERRORS) as error:
        if "encrypted" in str(error).lower():
            raise DocumentRejected(ENCRYPTED) from error
    try:
        # The styles may be what is broken; without them, numbers are shown without their formats.
        return _parse(source, has_styles=False)
    except (xlrd.XLRDError, CompDocError, *FILE_ERRORS) as error:
        raise DocumentRejected(f"The workbook is broken: {error}".rstrip(".") + ".") from error


def _parse(source: SourceFile, *, has_styles: bool) -> ParsedDocument:
    builder = DocumentBuilder()
    # xlrd prints warnings, which nobody would read here.
    with xlrd.open_workbook(
        str(source.path), on_demand=True, logfile=io.StringIO(), formatting_info=has_styles, ragged_rows=True
    ) as workbook:
        cells = _Cells(workbook, has_styles=has_styles)
        for name in workbook.sheet_names():
            sheet = workbook.sheet_by_name(name)
            add_sheet(builder, name, cells.rows(sheet), _notes(name, sheet))
            workbook.unload_sheet(name)
    hidden = hidden_properties(cells.hidden_cells, cells.hidden_sheets)
    return builder.build(source.media_type, **hidden, **({} if has_styles else {"parts_not_read": "styles"}))


class _Cells:
    def __init__(self, workbook: Any, *, has_styles: bool) -> None:
        self._workbook = workbook
        self._from_1904 = workbook.datemode == 1
        self._has_styles = has_styles
        self._styles: dict[int, CellStyle] = {}
        #: The number of cells in hidden rows and columns, which were left out so far.
        self.hidden_cells = 0
        #: The names of the hidden sheets, which are read.
        self.hidden_sheets: list[str] = []

    def rows(self, sheet: Any) -> list[tuple[int, Row]]:
        """Return the number and the cells of each row that shows any."""
        if sheet.visibility:
            self.hidden_sheets.append(sheet.name)
        rows: dict[int, Row] = {}
        for number in range(sheet.nrows):
            filled = (
                (column, self._cell(cell, sheet.rich_text_runlist_map.get((number, column))))
                for column, cell in enumerate(sheet.row(number))
                if cell.ctype not in (xlrd.XL_CELL_EMPTY, xlrd.XL_CELL_BLANK)
            )
            row = {column: cell for column, cell in filled if cell is not None}
            if row:
                rows[number] = row
        if self._has_styles:
            # xlrd counts up to the first row and column that a range no longer includes.
            merged = ((top, bottom - 1, left, right - 1) for top, bottom, left, right in sheet.merged_cells)
            repeat_merged_cells(rows, merged)
            hidden = _hidden_cells(self._workbook, sheet)
            rows = hidden.leave_out(rows)
            self.hidden_cells += hidden.count
        return list(rows.items())

    def _cell(self, cell: Any, runs: list[tuple[int, int]] | None) -> Cell | None:
        style = self._style(cell.xf_index)
        if cell.ctype == xlrd.XL_CELL_BOOLEAN:
            return text_cell("TRUE" if cell.value else "FALSE", style, CellType.BOOLEAN)
        if cell.ctype == xlrd.XL_CELL_ERROR:
            return text_cell(xlrd.error_text_from_code.get(cell.value, "#ERROR"), style, CellType.ERROR)
        if cell.ctype == xlrd.XL_CELL_TEXT:
            if runs:
                # The fonts of the runs replace that of the cell.
                return text_cell(self._rich_text(cell, runs), replace(style, is_struck=False))
            return text_cell(cell.value, style)
        if not self._has_styles and cell.ctype == xlrd.XL_CELL_DATE:
            style = CellStyle(number_format("yyyy-mm-dd" if cell.value == int(cell.value) else BUILT_IN[22]))
        return number_cell(cell.value, style, from_1904=self._from_1904)

    def _rich_text(self, cell: Any, runs: list[tuple[int, int]]) -> str:
        """Return a text with its runs marked by their looks. A run is where it begins and the number of its font."""
        if runs[0][0]:
            runs = [(0, self._workbook.xf_list[cell.xf_index].font_index), *runs]
        texts: list[str] = []
        ends = [start for start, _ in runs[1:]] + [len(cell.value)]
        for (start, number), end in zip(runs, ends, strict=True):
            text, font = cell.value[start:end], self._workbook.font_list[number]
            if text.strip() and font.escapement in _SHIFTS:
                text = _SHIFTS[font.escapement](text, texts[-1] if texts else "")
            texts.append(f"~~{text}~~" if text.strip() and font.struck_out else text)
        return "".join(texts).replace("~~~~", "")

    def _style(self, index: int | None) -> CellStyle:
        if index is None or not self._has_styles:
            return PLAIN_STYLE
        if index not in self._styles:
            record = self._workbook.xf_list[index]
            # A format that depends on the locale is stored with the text that it had where the file was written.
            found = self._workbook.format_map.get(record.format_key)
            code = BUILT_IN.get(record.format_key) or (found.format_str if found else "") or "General"
            is_struck = bool(self._workbook.font_list[record.font_index].struck_out)
            is_plain = code == "General" and not is_struck
            self._styles[index] = PLAIN_STYLE if is_plain else CellStyle(number_format(code), is_struck)
        return self._styles[index]


def _hidden_cells(workbook: Any, sheet: Any) -> HiddenCells:
    """Return the rows and columns that are not shown. The file does not say which rows a filter hides."""
    closed = {number for number, row in sheet.rowinfo_map.items() if row.hidden and not row.outline_level}
    columns = {number for number, column in sheet.colinfo_map.items() if column.hidden and not column.outline_level}
    hidden = HiddenCells(closed, columns)
    for name in workbook.name_obj_list if closed else ():
        if name.name == _FILTERED and name.result is not None and name.result.kind in (xlrd.oREF, xlrd.oREL):
            for area in name.result.value:
                if area.coords[0] <= sheet.number < area.coords[1]:
                    hidden.show_rows(area.coords[2], area.coords[3] - 1)
    return hidden


def _notes(name: str, sheet: Any) -> list[str]:
    found = sorted(sheet.cell_note_map.items())
    return [comment_line(name, xlrd.cellname(*cell), note.author, note.text) for cell, note in found if note.text]
