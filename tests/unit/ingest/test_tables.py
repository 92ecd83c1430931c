"""Tables of all formats: merged cells, titles, headers, several tables on a sheet, empty and struck-out cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import xlwt
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.styles import Font
from pptx import Presentation
from pptx.util import Inches

from ingest.parsers.tables.cells import SpanGrid, text_row
from ingest.parsers.tables.headers import find_layout
from ingest.parsers.tables.records import text_table
from tests.unit.ingest import files
from tests.unit.ingest.support import Read, docx_bytes, kinds_and_texts
from tests.unit.ingest.test_sheet_files import book_bytes, lines, rows

REGIONS = (("Region", "Product", "Units"), ("North", "Alpha", 11), ("", "Beta", 12), ("South", "Alpha", 21))
RECORDS = ["Region | Product | Units", "Region: North; Product: Alpha; Units: 11",
           "Region: North; Product: Beta; Units: 12", "Region: South; Product: Alpha; Units: 21"]  # fmt: skip


def merged_workbook() -> bytes:
    def fill(sheet: Any) -> None:
        for row in REGIONS:
            sheet.append([value or None for value in row])
        sheet.merge_cells("A2:A3")

    return book_bytes(fill)


def merged_page() -> bytes:
    cells = ["".join(f"<td>{value}</td>" for value in row if value) for row in REGIONS]
    return f"<!doctype html><table><tr>{'<tr>'.join(cells)}</table>".replace(
        "<td>North", "<td rowspan=2>North"
    ).encode()


def merged_word_file() -> bytes:
    def fill(document: Any) -> None:
        table = document.add_table(len(REGIONS), 3)
        for row, values in enumerate(REGIONS):
            for column, value in enumerate(values):
                table.cell(row, column).text = str(value)
        table.cell(1, 0).merge(table.cell(2, 0))

    return docx_bytes(fill)


def merged_slides() -> bytes:
    deck = Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    table = slide.shapes.add_table(len(REGIONS), 3, 0, 0, Inches(4), Inches(2)).table
    for row, values in enumerate(REGIONS):
        for column, value in enumerate(values):
            table.cell(row, column).text = str(value)
    table.cell(1, 0).merge(table.cell(2, 0))
    return files._saved(deck.save)


def merged_rich_text() -> bytes:
    properties = r"\cellx1000\cellx2000\cellx3000"
    rows = [
        rf"\trowd{merge}{properties}\pard\intbl " + "".join(rf"{value}\cell " for value in row) + r"\row"
        for row, merge in zip(REGIONS, ("", r"\clvmgf", r"\clvmrg", ""), strict=True)
    ]
    return (r"{\rtf1\ansi\deff0 " + "".join(rows) + r"\pard\par}").encode()


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.rtf", merged_rich_text),
        ("a.xlsx", merged_workbook),
        ("a.html", merged_page),
        ("a.docx", merged_word_file),
        ("a.pptx", merged_slides),
    ],
)
def test_each_row_has_the_value_that_is_merged_over_it(read: Read, name: str, make: Callable[[], bytes]) -> None:
    assert kinds_and_texts(read(name, make()))[-1] == ("table", "\n".join(RECORDS))


def test_a_cell_merged_across_columns_counts_for_each_of_them() -> None:
    grid = SpanGrid()
    for row in (("day", "Monday", "Tuesday"), ("9:00", "Conference")):
        grid.begin_row()
        for text in row:
            grid.add(text, columns=2 if text == "Conference" else 1)
    (record,) = [row for row in grid.finish() if row[0].text == "9:00"]
    assert [(column, cell.text, cell.is_copy) for column, cell in record.items()] == [
        (0, "9:00", False), (1, "Conference", False), (2, "Conference", True),
    ]  # fmt: skip


def test_old_workbooks_show_formats_merged_and_struck_out_cells(read: Read) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Prices")
    for column, name in enumerate(("region", "part", "share", "call", "old")):
        sheet.write(0, column, name)
    sheet.write_merge(1, 2, 0, 0, "North")
    for row in (1, 2):
        sheet.write(row, 1, row, xlwt.easyxf(num_format_str='"AX-"0000'))
        sheet.write(row, 2, 0.075, xlwt.easyxf(num_format_str="0.0%"))
        sheet.write(row, 3, 5551234, xlwt.easyxf(num_format_str="[<=9999999]###-####;(###) ###-####"))
        sheet.write(row, 4, 95, xlwt.easyxf("font: struck_out on") if row == 1 else xlwt.Style.default_style)
    assert lines(read, files._saved(book.save), "a.xls")[2:] == [
        "region: North; part: AX-0001 (1); share: 7.5% (0.075); call: 555-1234 (5551234); old: ~~95~~",
        "region: North; part: AX-0002 (2); share: 7.5% (0.075); call: 555-1234 (5551234); old: 95",
    ]


def test_wide_cells_of_rich_text_span_the_columns_of_other_rows(read: Read) -> None:
    rows = (
        r"\trowd\cellx1000\cellx3000\cellx5000\pard\intbl \cell Q1\cell Q2\cell\row"
        r"\trowd\cellx1000\cellx2010\cellx3010\cellx4000\cellx5000"
        r"\pard\intbl city\cell plan\cell actual\cell plan\cell actual\cell\row "
        r"Vienna\cell 1\cell 2\cell 3\cell 4\cell\row"
    )
    assert lines(read, (r"{\rtf1\ansi\deff0 " + rows + r"\pard\par}").encode(), "a.rtf") == TWO_HEADERS


def test_merged_cells_are_repeated_a_limited_number_of_times() -> None:
    grid = SpanGrid()
    grid.begin_row()
    grid.add("North", columns=100, rows=0)
    for number in range(20_000):
        grid.begin_row()
        grid.add(str(number))
    assert sum(map(len, grid.finish())) < 1_100_000


TITLED = [
    ("Sales 2026", "", ""), ("", "", ""), ("city", "price", "stock"), ("Vienna", "41", "7"), ("Graz", "", "9"),
]  # fmt: skip


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx"])
def test_a_title_stays_text_and_the_header_is_found_below_it(read: Read, name: str) -> None:
    if name == "a.csv":
        data = "\n".join(",".join(row).rstrip(",") for row in TITLED).encode()
    else:
        data = book_bytes(lambda sheet: [sheet.append([value or None for value in row]) for row in TITLED])
    found = [line for line in lines(read, data, name) if line != "Prices"]
    assert found == ["Sales 2026", "city | price | stock", "city: Vienna; price: 41; stock: 7", "city: Graz; stock: 9"]


def test_a_title_within_a_table_of_a_page_stays_text(read: Read) -> None:
    title = "<tr><td colspan=3>Sales 2026</td></tr>"
    page = f"<!doctype html><table>{title}<tr><th>city<th>price<th>stock<tr><td>Graz<td>33<td>9</table>"
    assert kinds_and_texts(read("a.html", page.encode())) == [
        ("paragraph", "Sales 2026"),
        ("table", "city | price | stock\ncity: Graz; price: 33; stock: 9"),
    ]


TWO_HEADERS = ["city | Q1 plan | Q1 actual | Q2 plan | Q2 actual",
               "city: Vienna; Q1 plan: 1; Q1 actual: 2; Q2 plan: 3; Q2 actual: 4"]  # fmt: skip


def test_two_header_rows_are_joined(read: Read) -> None:
    names = ("city", "plan", "actual", "plan", "actual")

    def fill(sheet: Any) -> None:
        for row in ((None, "Q1", None, "Q2"), names, ("Vienna", 1, 2, 3, 4)):
            sheet.append(row)
        sheet.merge_cells("B1:C1")
        sheet.merge_cells("D1:E1")

    assert lines(read, book_bytes(fill)) == ["Prices", *TWO_HEADERS]
    assert lines(read, f",Q1,,Q2,\n{','.join(names)}\nVienna,1,2,3,4\n".encode(), "a.csv") == TWO_HEADERS
    head = "<tr><th rowspan=2>city<th colspan=2>Q1<th colspan=2>Q2<tr><th>plan<th>actual<th>plan<th>actual"
    for page in (head, head.replace("<th", "<td")):
        data = f"<!doctype html><table>{page}<tr><td>Vienna<td>1<td>2<td>3<td>4</table>".encode()
        assert lines(read, data, "a.html") == TWO_HEADERS


def test_several_tables_on_a_sheet_are_several_tables(read: Read) -> None:
    first, second = (("city", "price"), ("Vienna", 41)), (("part", "size", "stock"), ("A-1", 3, 9))
    assert lines(read, book_bytes(rows(*first, (), ("Parts",), *second))) == [
        "Prices", "city | price", "city: Vienna; price: 41", "Parts", "part | size | stock",
        "part: A-1; size: 3; stock: 9",
    ]  # fmt: skip
    beside = [(*left, None, *right) for left, right in zip(first, second, strict=True)]
    assert lines(read, book_bytes(rows(*beside))) == [
        "Prices", "city | price", "city: Vienna; price: 41", "part | size | stock", "part: A-1; size: 3; stock: 9",
    ]  # fmt: skip


def test_a_table_that_goes_on_after_an_empty_row_keeps_its_names(read: Read) -> None:
    data = book_bytes(rows(("city", "price"), ("Vienna", 41), (), ("Rome", 57)))
    assert lines(read, data) == ["Prices", "city | price", "city: Vienna; price: 41", "city: Rome; price: 57"]


def test_an_empty_column_within_a_table_does_not_divide_it(read: Read) -> None:
    data = book_bytes(rows(("city", None, "plan", "actual"), ("Vienna", None, 41, 40)))
    assert lines(read, data)[-1] == "city: Vienna; plan: 41; actual: 40"


def test_empty_cells_do_not_move_values_to_other_columns(read: Read) -> None:
    assert lines(read, b"city,price,stock\nLinz,,18\n", "a.csv")[-1] == "city: Linz; stock: 18"
    assert lines(read, b"1,,Vienna\n2,x,Rome\n", "a.csv") == ["1 |  | Vienna", "2 | x | Rome"]


def test_forms_are_labels_with_their_values(read: Read) -> None:
    data = book_bytes(rows(("Project", "Alpha"), ("Owner", "Ann"), ("Budget", 5000), ("Status", "open")))
    assert lines(read, data) == ["Prices", "Project: Alpha", "Owner: Ann", "Budget: 5000", "Status: open"]
    assert [part.text for part in text_table([("Name:", "Ann", "City:", "Rome"), ("Fax:", "-", "Age:", "41")])] == [
        "Name: Ann | City: Rome\nFax: - | Age: 41"
    ]


@pytest.mark.parametrize("first", [("12:30", "Meeting"), ("2024-05-03", "41"), ("41", "57", "x")])
def test_a_first_row_with_values_is_no_header(first: tuple[str, ...]) -> None:
    assert find_layout([text_row(first), text_row(first)], is_data=True).headers == 0


def test_struck_out_cells_and_rows_are_marked(read: Read) -> None:
    def fill(sheet: Any) -> None:
        for row in (("Part", "Price"), ("Pump P1", 120), ("Pump P2", 95), ("Pump P3", 80)):
            sheet.append(row)
        for cell in ("A3", "B3", "B4"):
            sheet[cell].font = Font(strike=True)

    assert lines(read, book_bytes(fill))[2:] == [
        "Part: Pump P1; Price: 120", "~~Part: Pump P2; Price: 95~~", "Part: Pump P3; Price: ~~80~~",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        ("<r><rPr><strike/></rPr><t>30 days</t></r><r><t> 90 days</t></r>", "~~30 days~~ 90 days"),
        ('<r><t>25</t></r><r><rPr><vertAlign val="superscript"/></rPr><t>3</t></r><r><t> kg</t></r>', "25³ kg"),
        ('<r><t>H</t></r><r><rPr><vertAlign val="subscript"/></rPr><t>2</t></r><r><t>O</t></r>', "H2O"),
        ('<r><t>25</t></r><r><rPr><vertAlign val="baseline"/></rPr><t>3</t></r>', "253"),
    ],
)
def test_parts_of_a_text_are_marked_by_their_looks(read: Read, runs: str, shown: str) -> None:
    from tests.unit.ingest.test_sheet_files import with_sheet

    assert lines(read, with_sheet(f'<row><c t="inlineStr"><is>{runs}</is></c></row>')) == ["Prices", shown]


def test_runs_replace_the_font_of_a_struck_out_cell(read: Read) -> None:
    def fill(sheet: Any) -> None:
        valid = InlineFont(rFont="Arial")
        sheet.append(("Load", CellRichText("40 kg", TextBlock(valid, " 50 kg")), CellRichText("all of it")))
        sheet["B1"].font = sheet["C1"].font = Font(strike=True)

    assert lines(read, book_bytes(fill))[-1] == "Load | ~~40 kg~~ 50 kg | ~~all of it~~"


def test_parts_of_a_text_in_an_old_workbook_are_marked_by_their_looks(read: Read) -> None:
    book = xlwt.Workbook()
    sheet = book.add_sheet("Loads")
    high, struck, plain = (xlwt.easyfont(look) for look in ("escapement superscript", "struck_out on", ""))
    sheet.write_rich_text(0, 0, ("25", ("3", high), (" kg", plain)))
    sheet.write_rich_text(0, 1, (("30 days", struck), (" 90 days", plain)), xlwt.easyxf("font: struck_out on"))
    assert lines(read, files._saved(book.save), "a.xls")[-1] == "25³ kg | ~~30 days~~ 90 days"


def test_rows_that_are_only_styled_are_not_read(read: Read) -> None:
    from tests.unit.ingest.test_sheet_files import with_sheet

    styled = "".join(f'<row r="{number}"><c r="A{number}" s="0"/></row>' for number in range(2, 5000))
    data = with_sheet(
        f'<row r="1"><c r="A1"><v>41</v></c></row>{styled}<row r="9000"><c r="XFD9000"><v>7</v></c></row>'
    )
    assert lines(read, data) == ["Prices", "41", "7"]


def test_a_sheet_of_16000_columns_is_read(read: Read) -> None:
    from tests.unit.ingest.test_sheet_files import with_sheet

    head = "".join(f'<c t="inlineStr"><is><t>n{number}</t></is></c>' for number in range(16_000))
    body = "".join(f"<c><v>{number}</v></c>" for number in range(16_000))
    assert lines(read, with_sheet(f"<row>{head}</row><row>{body}</row>"))[-1].endswith("; n15999: 15999")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('5,"3 inch,12', '"3 inch'),
        ('5,3" pipe,12', '3" pipe'),
        ('5,"3" pipe",12', '3" pipe'),
        ('5,"a ""b""",12', 'a "b"'),
    ],
)
@pytest.mark.parametrize("after", ["6,plain,18\n" * 200, '6,"quoted, field",18\n' * 200, '6,"two\nlines",18\n' * 200])
def test_an_unclosed_quotation_mark_costs_one_record(read: Read, line: str, field: str, after: str) -> None:
    found = read("a.csv", f"part,size,stock\n{line}\n{after}".encode()).text.split("\n")
    assert len(found) == 202
    assert found[1] == f"part: 5; size: {field}; stock: 12"
    assert found[-1].startswith("part: 6; size: ")
    assert found[-1].endswith("; stock: 18")
