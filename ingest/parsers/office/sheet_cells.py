"""The cells of Excel workbooks, read with openpyxl's worksheet parser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from core.stub_modules import stubbed
from ingest.parsers.office.open_xml import Element

# openpyxl writes the numbers of numpy. Nothing is written here, and numpy takes 12 MB in each process that parses.
with stubbed(missing=("numpy",)):
    from openpyxl.reader.excel import ExcelReader
    from openpyxl.styles.stylesheet import apply_stylesheet
    from openpyxl.utils.escape import unescape
    from openpyxl.worksheet._reader import FORMULA_TAG, ROW_TAG, WorkSheetParser
    from openpyxl.xml.functions import iterparse

_WORKSHEET, _MACRO_SHEET = "worksheet", "xlMacrosheet"


class WorkbookCells:
    """The sheets of a workbook.

    Charts, defined names and links to other files are not loaded: openpyxl fails on some that Excel writes, and none of
    it is text.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._reader = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
        self._reader.read_manifest()
        self._reader.read_strings()
        self._reader.read_workbook()
        #: Whether the number formats could be read; without them, dates are numbers.
        self.has_formats = self._apply_formats()

    def _apply_formats(self) -> bool:
        try:
            apply_stylesheet(self._reader.archive, self._reader.wb)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            # openpyxl rejects some colours and borders that other programs accept.
            return False
        return True

    def sheets(self) -> Iterator[tuple[str, str, bool]]:
        """Yield each sheet's title, its part, and whether it has cells; a sheet may be only a chart.

        Raises:
            KeyError: If the workbook names a missing sheet.
        """
        for sheet, link in self._reader.parser.find_sheets():
            kind = link.Type.rpartition("/")[2]
            yield sheet.name, link.target, kind in (_WORKSHEET, _MACRO_SHEET)

    def rows(self, part: str) -> Iterator[list[Any]]:
        """Yield the values of each row that has cells, with formulas as last calculated.

        Raises:
            SyntaxError, ValueError, KeyError, IndexError: If the sheet is broken.
        """
        book = self._reader.wb
        with self._reader.archive.open(part) as source:
            reader = _RowReader(
                source, self._reader.shared_strings, data_only=True, epoch=book.epoch,
                date_formats=book._date_formats, timedelta_formats=book._timedelta_formats,
            )  # fmt: skip
            yield from reader.rows()


class _RowReader(WorkSheetParser):  # type: ignore[misc]  # openpyxl has no types
    """Reads only the rows. A formula that was never calculated is its own value."""

    def rows(self) -> Iterator[list[Any]]:
        for _, element in iterparse(self.source):
            if element.tag == ROW_TAG:
                _, cells = self.parse_row(element)
                element.clear()
                yield _values(cells)

    def parse_cell(self, element: Element) -> dict[str, Any]:
        cell: dict[str, Any] = super().parse_cell(element)
        formula = element.find(FORMULA_TAG)
        if formula is not None and (cell["value"] is None or (formula.get("t") == "shared" and formula.text)):
            # Only the first of the cells that share a formula has its text; parsing it lets openpyxl derive the others.
            formula_value = self.parse_formula(element)
            # A formula of type text without a value was calculated, and its result is empty.
            if cell["value"] is None and element.get("t") != "str":
                cell["value"] = _formula_text(formula_value)
        elif isinstance(cell["value"], str) and "_x" in cell["value"]:
            cell["value"] = unescape(cell["value"])
        return cell


def _formula_text(formula: Any) -> str | None:
    """Return a formula as a person types it; openpyxl represents array and table formulas as objects."""
    text = formula if isinstance(formula, str) else getattr(formula, "text", None)
    return text if text and text != "=" else None


def _values(cells: list[dict[str, Any]]) -> list[Any]:
    values: list[Any] = [None] * max((cell["column"] for cell in cells), default=0)
    for cell in cells:
        values[cell["column"] - 1] = cell["value"]
    return values
