"""Workbooks: all text is read, from formulas, comments, shapes, charts, hidden sheets and unusual tables."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import openpyxl
import pytest
import xlwt
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment

from core.errors import DocumentRejected
from tests.unit.ingest import files
from tests.unit.ingest.office import MC, A, R, linked, names, part, strict, with_parts
from tests.unit.ingest.support import Read, kinds_and_texts, zip_bytes

SHEET = "xl/worksheets/sheet1.xml"
XDR = "http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def book_bytes(fill: Callable[[Any], object]) -> bytes:
    """Return a workbook with one sheet."""
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = "Prices"
    fill(book.active)
    return files._saved(book.save)


def rows(*values: tuple[object, ...]) -> Callable[[Any], object]:
    return lambda sheet: [sheet.append(row) for row in values]


def lines(read: Read, data: bytes, name: str = "a.xlsx") -> list[str]:
    return [line for _, text in kinds_and_texts(read(name, data)) for line in text.split("\n")]


def with_sheet(cells: str) -> bytes:
    """Return a workbook whose only sheet has these cells, given as XML."""
    data = book_bytes(lambda sheet: None)
    return with_parts(data, {SHEET: f'<worksheet xmlns="{MAIN}"><sheetData>{cells}</sheetData></worksheet>'})


def test_formulas_that_were_never_calculated_are_shown(read: Read) -> None:
    data = book_bytes(rows(("city", "price"), ("Vienna", 41), ("All", "=SUM(B2:B2)")))
    assert lines(read, data) == ["Prices", "city | price", "city: Vienna; price: 41", "city: All; price: =SUM(B2:B2)"]
    assert lines(read, book_bytes(rows(("=1+1",)))) == ["Prices", "=1+1"]


def test_formulas_show_their_values_if_they_have_any(read: Read) -> None:
    cells = (
        '<c r="A1"><f t="shared" si="0" ref="A1:A2">B1*2</f><v>8</v></c>',
        '<c r="A2"><f t="shared" si="0"/></c><c r="C2" t="str"><f>IF(TRUE,"")</f><v></v></c>',
        '<c r="A3"><f t="array" ref="A3">SUM(B1:B2)</f></c>',
    )
    data = with_sheet("".join(f"<row>{row}</row>" for row in cells))
    assert lines(read, data) == ["Prices", "8", "=B2*2", "=SUM(B1:B2)"]


def test_comments_follow_their_sheet(read: Read) -> None:
    def fill(sheet: Any) -> None:
        sheet.append(("city",))
        sheet["A1"].comment = Comment("Ann:\nWhich one?", "Ann")

    assert lines(read, book_bytes(fill)) == ["Prices", "city", "Comment on Prices!A1 by Ann: Which one?"]


def test_threads_of_comments_are_read_once(read: Read) -> None:
    def fill(sheet: Any) -> None:
        sheet["A1"].comment = Comment("[Threaded comment] Your version of Excel…", "tc={1}")
        sheet["B9"].comment = Comment("Old", "Bob")

    newer = "http://schemas.microsoft.com/office/2017/10/relationships"
    names = 'xmlns="http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments"'
    comment = '<threadedComment ref="A1" personId="%s" id="%s"><text>%s</text></threadedComment>'
    thread = comment % ("P", 1, "True?") + comment % ("Q", 2, "Yes.")
    data = with_parts(
        book_bytes(fill),
        {
            "xl/threadedComments/thread1.xml": f"<ThreadedComments {names}>{thread}</ThreadedComments>",
            "xl/persons/person.xml": f'<personList {names}><person displayName="Ann" id="P"/></personList>',
        },
    )
    data = linked(data, SHEET, ("t1", f"{newer}/threadedComment", "../threadedComments/thread1.xml"))
    data = linked(data, "xl/workbook.xml", ("p1", f"{newer}/person", "persons/person.xml"))
    assert lines(read, data) == [
        "Prices", "Comment on Prices!A1 by Ann: True?", "Comment on Prices!A1: Yes.",
        "Comment on Prices!B9 by Bob: Old",
    ]  # fmt: skip


def test_shapes_and_pictures_are_read(read: Read) -> None:
    words = "<xdr:txBody><a:p><a:r><a:t>%s</a:t></a:r></a:p></xdr:txBody>"
    shape = f'<xdr:sp><xdr:nvSpPr><xdr:cNvPr id="2" name="x" descr="%s"/></xdr:nvSpPr>{words}</xdr:sp>'
    both = (
        f'<mc:AlternateContent xmlns:mc="{MC}"><mc:Choice Requires="x">{shape % ("", "Newer")}</mc:Choice>'
        f"<mc:Fallback>{shape % ('', 'Older')}</mc:Fallback></mc:AlternateContent>"
    )
    shapes = (shape % ("A map of it", "In a box"), both)
    anchors = "".join(f"<xdr:twoCellAnchor>{item}</xdr:twoCellAnchor>" for item in shapes)
    drawing = f'<xdr:wsDr xmlns:xdr="{XDR}" xmlns:a="{A}">{anchors}</xdr:wsDr>'
    data = with_parts(book_bytes(lambda sheet: None), {"xl/drawings/drawing1.xml": drawing})
    data = linked(data, SHEET, ("d1", f"{R}/drawing", "../drawings/drawing1.xml"))
    assert lines(read, data) == ["Prices", "In a box", "Picture: A map of it", "Newer"]


def chart(sheet: Any) -> BarChart:
    for row in files.ROWS:
        sheet.append(row)
    shown = BarChart()
    shown.title = "Fares by city"
    shown.add_data(Reference(sheet, min_col=2, min_row=1, max_row=3), titles_from_data=True)
    return shown


def test_charts_in_sheets_and_chart_sheets_are_read(read: Read) -> None:
    def fill(sheet: Any) -> None:
        shown = chart(sheet)
        sheet.add_chart(shown)
        sheet.parent.create_chartsheet("Figure").add_chart(chart(sheet.parent.create_sheet("Other")))

    found = lines(read, book_bytes(fill))
    assert found.count("Chart: Fares by city") == 2
    assert found[found.index("Figure") + 1] == "Chart: Fares by city"


def test_an_empty_chart_sheet_is_skipped(read: Read) -> None:
    data = book_bytes(lambda sheet: (sheet.append(("x",)), sheet.parent.create_chartsheet("Figure")))
    rels = [name for name in names(data) if "chartsheets/_rels" in name]
    assert lines(read, with_parts(data, {}, without=tuple(rels))) == ["Prices", "x"]


def test_hidden_sheets_and_titles_above_tables_are_read(read: Read) -> None:
    def fill(sheet: Any) -> None:
        for row in (("Prices of 2026",), (), (None, "city", "price"), (None, "Vienna", 41)):
            sheet.append(row)
        sheet.merge_cells("A1:C1")
        hidden = sheet.parent.create_sheet("Secret")
        hidden.sheet_state = "veryHidden"
        hidden.append(("found",))

    assert lines(read, book_bytes(fill)) == [
        "Prices", "Prices of 2026", "city | price", "city: Vienna; price: 41", "Secret", "found",
    ]  # fmt: skip
    assert read("a.xlsx", book_bytes(fill)).metadata == {"hidden_sheets": "Secret"}


def hide_some(sheet: Any) -> None:
    for row in (("city", "cost", "price"), ("Rome", 7, 57), ("Vienna", 9, 41), ("Graz", 8, 33)):
        sheet.append(row)
    sheet.column_dimensions["B"].hidden = True
    sheet.row_dimensions[3].hidden = True


def test_hidden_rows_and_columns_are_left_out_and_counted(read: Read) -> None:
    document = read("a.xlsx", book_bytes(hide_some))
    assert document.text.split("\n")[2:] == ["city | price", "city: Rome; price: 57", "city: Graz; price: 33"]
    assert document.metadata == {"hidden_cells": "6"}


def test_rows_that_a_filter_or_a_closed_group_hides_are_read(read: Read) -> None:
    def filtered(sheet: Any) -> None:
        hide_some(sheet)
        sheet.column_dimensions["B"].outlineLevel = 1
        sheet.auto_filter.ref = "A1:C4"
        sheet.auto_filter.add_filter_column(0, ["Rome", "Graz"])

    def grouped(sheet: Any) -> None:
        hide_some(sheet)
        sheet.row_dimensions.group(3, 3, hidden=True)
        sheet.column_dimensions.group("B", "B", hidden=True)

    for fill in (filtered, grouped):
        document = read("a.xlsx", book_bytes(fill))
        assert "city: Vienna; cost: 9; price: 41" in document.text and not document.metadata


def test_hidden_rows_and_columns_of_old_workbooks_are_left_out(read: Read) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Prices")
    for number, row in enumerate((("city", "cost", "price"), ("Rome", 7, 57), ("Vienna", 9, 41), ("Graz", 8, 33))):
        for column, value in enumerate(row):
            sheet.write(number, column, value)
    sheet.col(1).hidden = True
    sheet.row(2).hidden = True
    document = read("a.xls", files._saved(book.save))
    assert document.text.split("\n")[2:] == ["city | price", "city: Rome; price: 57", "city: Graz; price: 33"]
    assert document.metadata == {"hidden_cells": "6"}


def test_values_of_every_kind_are_read(read: Read) -> None:
    def fill(sheet: Any) -> None:
        sheet.append((datetime.date(2026, 1, 5), datetime.datetime(2026, 1, 5, 9, 30), datetime.time(9, 30), 0.1 + 0.2))
        sheet.append((True, "#DIV/0!", 1e20, -7))

    assert lines(read, book_bytes(fill)) == [
        "Prices", "2026-01-05 | 2026-01-05 9:30:00 | 9:30:00 | 0.3", "TRUE | #DIV/0! | 1E+20 | -7",
    ]  # fmt: skip


def test_phonetic_readings_of_rich_text_are_skipped(read: Read) -> None:
    rich = "<r><t>東</t></r><r><t>京</t></r><rPh sb='0' eb='2'><t>トウキョウ</t></rPh>"
    cell = '<c t="inlineStr"><is>%s</is></c>'
    data = with_sheet(f"<row>{cell % rich}{cell % '<t>a_x000D_b</t>'}</row>")
    assert lines(read, data) == ["Prices", "東京 | a b"]


def test_constructs_that_other_readers_reject_are_tolerated(read: Read) -> None:
    data = book_bytes(rows(("x", "y")))
    odd = "<sheetViews><sheetView view='odd'/></sheetViews><conditionalFormatting odd='1'/>"
    data = with_parts(
        data,
        {
            SHEET: part(data, SHEET).replace("<sheetData>", f"{odd}<sheetData>"),
            "docProps/core.xml": "<odd/>",
            "xl/styles.xml": part(data, "xl/styles.xml").replace('patternType="gray125"', 'patternType="odd"'),
        },
    )
    document = read("a.xlsx", data)
    assert document.text == "Prices\n\nx | y"
    assert document.metadata == {}


def test_broken_comments_are_skipped_and_broken_sheets_are_refused(read: Read) -> None:
    def fill(sheet: Any) -> None:
        sheet.append(("city",))
        sheet["A1"].comment = Comment("Which one?", "Ann")

    data = book_bytes(fill)
    (comments,) = [name for name in names(data) if "comment" in name and name.endswith(".xml")]
    document = read("a.xlsx", with_parts(data, {comments: "<comments"}))
    assert (document.text, document.metadata) == ("Prices\n\ncity", {"parts_not_read": comments})
    with pytest.raises(DocumentRejected, match="The workbook is broken"):
        read("a.xlsx", with_parts(data, {SHEET: "<worksheet"}))
    with pytest.raises(DocumentRejected, match="The workbook is broken"):
        read("a.xlsx", with_parts(data, {}, without=(SHEET,)))


def test_strict_open_xml_is_read(read: Read) -> None:
    data = strict(book_bytes(rows(("city", "day"), ("Vienna", datetime.date(2026, 1, 5)))))
    assert "purl.oclc.org" in part(data, SHEET)
    assert lines(read, data) == ["Prices", "city | day", "city: Vienna; day: 2026-01-05"]


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.ms-excel.sheet.macroEnabled.main+xml",
        "application/vnd.ms-excel.addin.macroEnabled.main+xml",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.template.main+xml",
    ],
)
def test_templates_and_files_with_macros_are_read(read: Read, kind: str) -> None:
    types = part(files.workbook(), "[Content_Types].xml")
    plain = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    assert plain in types
    data = with_parts(files.workbook(), {"[Content_Types].xml": types.replace(plain, kind)})
    assert lines(read, data) == lines(read, files.workbook())


def test_the_workbook_part_may_have_a_number_in_its_name(read: Read) -> None:
    data = files.workbook()
    moving = ("_rels/.rels", "[Content_Types].xml")
    parts = {name: part(data, name).replace("xl/workbook.xml", "xl/workbook2.xml") for name in moving}
    parts["xl/workbook2.xml"] = part(data, "xl/workbook.xml")
    parts["xl/_rels/workbook2.xml.rels"] = part(data, "xl/_rels/workbook.xml.rels")
    moved = with_parts(data, parts, without=("xl/workbook.xml", "xl/_rels/workbook.xml.rels"))
    assert lines(read, moved) == lines(read, data)


def test_binary_workbooks_are_refused(read: Read) -> None:
    with pytest.raises(DocumentRejected, match=r"excel\.sheet\.binary.* is not supported\. Save it as \.xlsx\."):
        read("a.xlsb", zip_bytes({"xl/workbook.bin": b"x"}))
