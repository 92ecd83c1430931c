"""The cells of Excel workbooks, read from their XML parts.

No library reads all of it: python-calamine has no number formats, no fonts and no parts of texts, openpyxl keeps an
element for each styled row in memory and refuses styles that other programs accept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from lxml import etree

from ingest.parsed_document import check_length
from ingest.parsers.office.cell_display import (
    PLAIN_STYLE,
    CellStyle,
    HiddenCells,
    number_cell,
    repeat_merged_cells,
    text_cell,
)
from ingest.parsers.office.number_formats import BUILT_IN, number_format
from ingest.parsers.office.open_xml import R_ID, Element, Package
from ingest.parsers.raised import lowered, raised
from ingest.parsers.tables.cells import Cell, CellType, Row

_S = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_ROW, _CELL, _FORMULA, _VALUE, _INLINE, _MERGED = (f"{_S}{name}" for name in ("row", "c", "f", "v", "is", "mergeCell"))
_COLUMN, _FILTER, _FILTER_COLUMN = f"{_S}col", f"{_S}autoFilter", f"{_S}filterColumn"
_TEXT, _RUN, _ITEM = f"{_S}t", f"{_S}r", f"{_S}si"
_SHEETS_WITH_CELLS = frozenset(("worksheet", "xlMacrosheet"))
_ESCAPE = re.compile(r"_x([0-9A-Fa-f]{4})_")
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_MAX_COLUMNS = 16_384
#: Numbers with fewer digits are written as they are shown.
_EXACT_DIGITS = 12
#: A text; with runs, it is that in a cell whose font is not struck out, and that in one whose font is.
_SharedText = str | tuple[str, str]
_SHIFTS = {"superscript": raised, "subscript": lowered}
_FALSE = frozenset(("0", "false", "off", "none", "noStrike"))


class WorkbookCells:
    """The sheets of a workbook.

    Raises:
        SyntaxError, ValueError, KeyError: If the workbook or its parts are broken.
    """

    def __init__(self, package: Package) -> None:
        self._package = package
        self._workbook = package.tree(package.main)
        #: The number of cells in hidden rows and columns, which were left out so far.
        self.hidden_cells = 0
        #: The titles of the hidden sheets, which are read.
        self.hidden_sheets: list[str] = []
        properties = self._workbook.find(f"{_S}workbookPr")
        self._from_1904 = properties is not None and _is_on(properties, "date1904")
        self._styles = _read_styles(package)
        self._strings = [
            text for part in package.related(package.main, "sharedStrings") for text in _strings(package, part)
        ]

    def sheets(self) -> Iterator[tuple[str, str, bool]]:
        """Yield each sheet's title, its part, and whether it has cells; a sheet may be only a chart.

        Raises:
            KeyError: If the workbook names a missing sheet.
        """
        links = {link.id: link for link in self._package.relationships(self._package.main)}
        for sheet in self._workbook.iterfind(f"{_S}sheets/{_S}sheet"):
            link = links[sheet.get(R_ID) or ""]
            if sheet.get("state", "visible") != "visible":
                self.hidden_sheets.append(sheet.get("name") or "")
            yield sheet.get("name") or "", link.target, link.kind in _SHEETS_WITH_CELLS

    def rows(self, part: str) -> list[tuple[int, Row]]:
        """Return the number and the cells of each row that shows any, with formulas as last calculated.

        Rows that are only styled cost no memory. Hidden ones are counted in `hidden_cells`.

        Raises:
            SyntaxError, ValueError, KeyError, IndexError: If the sheet is broken.
            DocumentRejected: If the sheet has more text than a document may have.
        """
        reader = _SheetReader(self._styles, self._strings, from_1904=self._from_1904)
        with self._package.open(part) as source:
            found = etree.iterparse(
                source, events=("end",), tag=(_ROW, _MERGED, _COLUMN, _FILTER), resolve_entities=False, load_dtd=False,
                no_network=True, remove_comments=True, remove_pis=True,
            )  # fmt: skip
            for _, element in found:
                if element.tag == _ROW:
                    reader.add_row(element)
                elif element.tag == _COLUMN:
                    reader.add_column(element)
                elif element.tag == _FILTER:
                    reader.add_filter(element)
                else:
                    reader.add_merged(element.get("ref") or "")
                _forget(element)
        if reader.hidden.rows:
            for name in self._package.related(part, "table"):
                for element in self._package.tree(name).iter(_FILTER):
                    reader.add_filter(element)
        found_rows = reader.finish()
        self.hidden_cells += reader.hidden.count
        return found_rows


class _SheetReader:
    def __init__(self, styles: list[CellStyle], strings: list[_SharedText], *, from_1904: bool) -> None:
        self._styles = styles
        self._strings = strings
        self._from_1904 = from_1904
        self._rows: dict[int, Row] = {}
        self._merged: list[tuple[int, int, int, int]] = []
        self.hidden = HiddenCells()
        self._shared_cells: dict[tuple[str, str], Cell | None] = {}
        self._formulas: dict[str, tuple[str, str]] = {}
        self._columns: dict[str, int] = {}
        self._number = 0
        self._characters = 0

    def add_row(self, element: Element) -> None:
        number = element.get("r")
        self._number = int(number) if number else self._number + 1
        if _is_closed(element, "ht"):
            self.hidden.rows.add(self._number)
        row: Row = {}
        column = -1
        for cell in element.iterchildren(_CELL):
            reference = cell.get("r")
            column = self._column(reference) if reference else column + 1
            # Styled cells without content are by far the most in some sheets.
            shown = self._cell(cell, reference or f"{_letters(column)}{self._number}") if len(cell) else None
            if shown is not None:
                row[column] = shown
                self._characters += len(shown.text) + 1
        if row:
            self._rows[self._number] = row
            check_length(self._characters)

    def add_column(self, element: Element) -> None:
        if _is_closed(element, "width"):
            first, last = int(element.get("min") or 1), int(element.get("max") or 1)
            self.hidden.columns.update(range(first - 1, min(last, _MAX_COLUMNS)))

    def add_filter(self, element: Element) -> None:
        area = _area(element.get("ref") or "")
        if area is not None and element.find(_FILTER_COLUMN) is not None:
            self.hidden.show_rows(area[0], area[1])

    def add_merged(self, reference: str) -> None:
        area = _area(reference)
        if area is not None:
            self._merged.append(area)

    def finish(self) -> list[tuple[int, Row]]:
        rows = dict(sorted(self._rows.items()))
        repeat_merged_cells(rows, self._merged)
        return list(self.hidden.leave_out(rows).items())

    def _cell(self, element: Element, reference: str) -> Cell | None:
        kind, style = element.get("t") or "n", element.get("s") or "0"
        value, formula = element[0].text if element[0].tag == _VALUE else None, None
        if value is None:
            value, formula = element.findtext(_VALUE), element.find(_FORMULA)
        if formula is not None:
            self._keep_shared_formula(formula, reference)
            # A formula of type text without a value was calculated, and its result is empty.
            if not value and kind != "str":
                return text_cell(self._formula_text(formula, reference), PLAIN_STYLE)
        if kind == "s" and value:
            key = (value, style)
            if key not in self._shared_cells:
                self._shared_cells[key] = _cell_of(self._strings[int(value)], self._style(style))
            return self._shared_cells[key]
        if kind == "inlineStr":
            inline = element.find(_INLINE)
            return None if inline is None else _cell_of(_shared_text(inline), self._style(style))
        return self._typed(kind, value, self._style(style)) if value else None

    def _typed(self, kind: str, value: str, style: CellStyle) -> Cell | None:
        if kind == "b":
            return text_cell("TRUE" if value.strip() in ("1", "true") else "FALSE", style, CellType.BOOLEAN)
        if kind == "e":
            return text_cell(value, style, CellType.ERROR)
        if kind == "d":
            return text_cell(value.replace("T00:00:00", "").replace("T", " "), style, CellType.DATE)
        if kind == "str":
            return text_cell(_unescaped(value), style)
        if style is PLAIN_STYLE and value.isdecimal() and len(value) < _EXACT_DIGITS and value[0] != "0":
            return Cell(value, CellType.NUMBER)
        return number_cell(float(value), style, from_1904=self._from_1904)

    def _style(self, index: str) -> CellStyle:
        number = int(index)
        return self._styles[number] if number < len(self._styles) else PLAIN_STYLE

    def _column(self, reference: str) -> int:
        letters = reference.rstrip("0123456789")
        if letters not in self._columns:
            self._columns[letters] = _column_number(letters)
        return self._columns[letters]

    def _keep_shared_formula(self, formula: Element, reference: str) -> None:
        """Keep the text of a formula that further cells share, because only the first of them has it."""
        if formula.get("t") == "shared" and formula.text:
            self._formulas[formula.get("si") or ""] = (formula.text, reference)

    def _formula_text(self, formula: Element, reference: str) -> str:
        """Return a formula as a person types it."""
        if formula.text:
            return f"={formula.text}"
        text, origin = self._formulas.get(formula.get("si") or "", ("", ""))
        if not text:
            return ""
        # Loaded only here: it is rarely needed, and takes memory in each process that parses.
        from openpyxl.formula.translate import Translator

        return str(Translator(f"={text}", origin=origin).translate_formula(reference))


def _read_styles(package: Package) -> list[CellStyle]:
    """Return the styles that cells refer to by their index."""
    styles: list[CellStyle] = []
    for part in package.related(package.main, "styles"):
        root = package.tree(part)
        codes: dict[int, str] = dict(BUILT_IN)
        for item in root.iterfind(f"{_S}numFmts/{_S}numFmt"):
            codes[int(item.get("numFmtId") or 0)] = item.get("formatCode") or "General"
        struck = [_has_strike(font) for font in root.iterfind(f"{_S}fonts/{_S}font")]
        for item in root.iterfind(f"{_S}cellXfs/{_S}xf"):
            code, font = codes.get(int(item.get("numFmtId") or 0), "General"), int(item.get("fontId") or 0)
            is_struck = font < len(struck) and struck[font]
            is_plain = code == "General" and not is_struck
            styles.append(PLAIN_STYLE if is_plain else CellStyle(number_format(code), is_struck))
    return styles


def _strings(package: Package, part: str) -> Iterator[_SharedText]:
    """Yield the texts that cells share."""
    with package.open(part) as source:
        found = etree.iterparse(
            source, events=("end",), tag=_ITEM, resolve_entities=False, load_dtd=False, no_network=True,
            remove_comments=True, remove_pis=True,
        )  # fmt: skip
        for _, item in found:
            yield _shared_text(item)
            _forget(item)


def _shared_text(item: Element) -> _SharedText:
    """Return the text of a string, without phonetic readings. The looks of its runs are marked."""
    if item.find(_RUN) is None:
        return _unescaped("".join(each.text or "" for each in item.iterfind(_TEXT)))
    return _rich_text(item, in_struck_cell=False), _rich_text(item, in_struck_cell=True)


def _rich_text(item: Element, *, in_struck_cell: bool) -> str:
    """Return the text of runs with marks. A run without properties looks as the cell's font says."""
    texts: list[str] = []
    for child in item:
        if child.tag == _RUN:
            text = "".join(each.text or "" for each in child.iterfind(_TEXT))
            properties = child.find(f"{_S}rPr")
            if properties is not None:
                text = _marked(text, properties, texts[-1] if texts else "")
            elif in_struck_cell and text.strip():
                text = f"~~{text}~~"
            texts.append(text)
        elif child.tag == _TEXT:
            texts.append(child.text or "")
    return _unescaped("".join(texts).replace("~~~~", ""))


def _cell_of(text: _SharedText, style: CellStyle) -> Cell | None:
    if isinstance(text, str):
        return text_cell(text, style)
    return text_cell(text[style.is_struck], replace(style, is_struck=False))


def _marked(text: str, properties: Element, before: str) -> str:
    """Return the text of a run with marks: struck out, raised or lowered."""
    if not text.strip():
        return text
    align = properties.find(f"{_S}vertAlign")
    if align is not None and (write := _SHIFTS.get(align.get("val") or "")):
        text = write(text, before)
    return f"~~{text}~~" if _has_strike(properties) else text


def _has_strike(properties: Element) -> bool:
    mark = properties.find(f"{_S}strike")
    return mark is not None and mark.get("val", "1") not in _FALSE


def _area(reference: str) -> tuple[int, int, int, int] | None:
    """Return the first and last row and the first and last column of a reference such as `A1:C3`."""
    match = re.fullmatch(rf"{_REFERENCE.pattern}:{_REFERENCE.pattern}", reference)
    if match is None:
        return None
    return int(match[2]), int(match[4]), _column_number(match[1]), _column_number(match[3])


def _is_closed(element: Element, size: str) -> bool:
    """Return whether a row or a column is hidden, other than by a group that is shown on a click."""
    is_grouped = element.get("outlineLevel", "0") != "0"
    return not is_grouped and (_is_on(element, "hidden") or element.get(size) == "0")


def _is_on(element: Element, name: str) -> bool:
    return element.get(name, "0") not in _FALSE


def _unescaped(text: str) -> str:
    """Return a text with the characters that the format writes as `_x000D_`."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text) if "_x" in text else text


def _column_number(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _letters(column: int) -> str:
    letters = ""
    while column >= 0:
        letters = chr(65 + column % 26) + letters
        column = column // 26 - 1
    return letters


def _forget(element: Any) -> None:
    """Free an element of a file that is read piece by piece, and those before it."""
    element.clear(keep_tail=False)
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]
