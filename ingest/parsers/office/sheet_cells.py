"""The cells of Excel workbooks, by openpyxl's reader of worksheets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.stylesheet import apply_stylesheet
from openpyxl.utils.escape import unescape
from openpyxl.worksheet._reader import FORMULA_TAG, ROW_TAG, WorkSheetParser
from openpyxl.xml.functions import iterparse

from ingest.parsers.office.open_xml import Element

_WORKSHEET, _MACRO_SHEET = "worksheet", "xlMacrosheet"


class Cells:
    """The sheets of a workbook.

    What openpyxl would read beside them is left alone, charts, defined names and links to other files: it fails on some
    of what Excel writes, and none of it is text.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._reader = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
        self._reader.read_manifest()
        self._reader.read_strings()
        self._reader.read_workbook()
        #: Whether it is known which numbers are dates.
        self.has_formats = self._apply_formats()

    def _apply_formats(self) -> bool:
        try:
            apply_stylesheet(self._reader.archive, self._reader.wb)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError):
            # openpyxl checks colours and borders that other programs do not.
            return False
        return True

    def sheets(self) -> Iterator[tuple[str, str, bool]]:
        """Each sheet's title and part, and whether it has cells: a sheet may be a chart alone.

        Raises:
            KeyError: the workbook names a sheet that is not there.
        """
        for sheet, link in self._reader.parser.find_sheets():
            kind = link.Type.rpartition("/")[2]
            yield sheet.name, link.target, kind in (_WORKSHEET, _MACRO_SHEET)

    def rows(self, part: str) -> Iterator[list[Any]]:
        """The values in each row of a sheet that has any cell, formulas as last calculated.

        Raises:
            SyntaxError, ValueError, KeyError, IndexError: the sheet is broken.
        """
        book = self._reader.wb
        with self._reader.archive.open(part) as source:
            reader = _RowReader(
                source, self._reader.shared_strings, data_only=True, epoch=book.epoch,
                date_formats=book._date_formats, timedelta_formats=book._timedelta_formats,
            )  # fmt: skip
            yield from reader.rows()


class _RowReader(WorkSheetParser):  # type: ignore[misc]  # openpyxl has no types
    """Rows alone; for a formula that was never calculated, the formula."""

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
            # The first of the cells that share a formula has its text: those that follow need it.
            written = self.parse_formula(element)
            # The result of a formula whose type is text was empty.
            if cell["value"] is None and element.get("t") != "str":
                cell["value"] = _formula(written)
        elif isinstance(cell["value"], str) and "_x" in cell["value"]:
            cell["value"] = unescape(cell["value"])
        return cell


def _formula(written: Any) -> str | None:
    """A formula as a person types it; openpyxl has objects for those of arrays and tables."""
    text = written if isinstance(written, str) else getattr(written, "text", None)
    return text if text and text != "=" else None


def _values(cells: list[dict[str, Any]]) -> list[Any]:
    values: list[Any] = [None] * max((cell["column"] for cell in cells), default=0)
    for cell in cells:
        values[cell["column"] - 1] = cell["value"]
    return values
