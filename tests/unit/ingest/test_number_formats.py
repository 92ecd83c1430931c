"""Numbers of workbooks are shown by their formats, with the bare value beside them where it looks different."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from ingest.parsers.office.number_formats import number_format
from tests.unit.ingest.support import Read
from tests.unit.ingest.test_sheet_files import book_bytes, lines

DAY = 46027  # 2026-01-05
ACCOUNTING = '_($* #,##0.00_);_($* (#,##0.00);_($* "-"??_);_(@_)'
PHONE = "[<=9999999]###-####;(###) ###-####"


@pytest.mark.parametrize(
    ("code", "value", "shown"),
    [
        ("00000", 501, "00501"),
        ('"AX-"0000', 42, "AX-0042"),
        ("0.0%", 0.075, "7.5%"),
        ('"$"#,##0.00', 1234.5, "$1,234.50"),
        ("[h]:mm", 1.5, "36:00"),
        ("#,##0", 1234567, "1,234,567"),
        ("#,##0", 0, "0"),
        ("#,##0", 12, "12"),
        ("0.00", -0.001, "0.00"),
        ("0.00", -1.005, "-1.01"),
        (PHONE, 5551234, "555-1234"),
        (PHONE, 2125551234, "(212) 555-1234"),
        ("000-00-0000", 123456789, "123-45-6789"),
        ("# ?/?", 2.5, "2 1/2"),
        ("# ??/??", 0.333333, "1/3"),
        ("# ?/8", 1.375, "1 3/8"),
        ("# ?/?", 3, "3"),
        ('0.0" kg"', 12.34, "12.3 kg"),
        ('0 "m²"', 40, "40 m²"),
        ("0\\ \\k\\m", 7, "7 km"),
        ('#,##0,"k"', 12345, "12k"),
        ('0.0,,"M"', 12345678, "12.3M"),
        ("0.00E+00", 12345, "1.23E+04"),
        ("##0.0E+0", 12345, "12.3E+3"),
        (ACCOUNTING, -1234.5, "$(1,234.50)"),
        ("_-* #,##0.00\\ [$€-407]_-", 1234.5, "1,234.50 €"),
        ('"Yes";"Yes";"No"', 1, "Yes"),
        ('"Yes";"Yes";"No"', 0, "No"),
        ('"Yes";;"No"', 1, "Yes"),
        ("[$-409]mmm d, yyyy", DAY, "Jan 5, 2026"),
        ("dd.mm.yyyy", DAY, "05.01.2026"),
        ("d-mmm-yy", DAY, "5-Jan-26"),
        ("dddd, d mmmm yyyy", DAY, "Monday, 5 January 2026"),
        ("h:mm AM/PM", 0.75, "6:00 PM"),
        ("yyyy-mm-dd hh:mm", DAY + 0.5, "2026-01-05 12:00"),
        ("mm:ss.0", 0.000700244, "01:00.5"),
        ("mm:ss", 0.0006944444, "01:00"),
        ("[Red]-0.0;[Blue]0.0", 3, "-3.0"),
        ("General", 1e20, "1E+20"),
        ("0", 41.5, "42"),
        ("#", 0, ""),
        (";;;", 5, ""),
        ("#,##0;-#,##0;", 0, ""),
        ("0;(0)", -5, "(5)"),
        ("+0;-0;0", 5, "+5"),
        ("0%", -0.05, "-5%"),
        ("#.##", 0.5, ".5"),
        ("0.##", 3, "3."),
        ('General" pcs"', 5, "5 pcs"),
        ("@", 5, "5"),
        ('"No. "0', 5, "No. 5"),
        ('[>=1000]0.0,"k";0', 1500, "1.5k"),
        ('[>=1000]0.0,"k";0', 500, "500"),
        ("m/d/yy", DAY, "1/5/26"),
        ("[mm]:ss", 0.0833333333, "120:00"),
        ("0000 0000 0000", 123456789012, "1234 5678 9012"),
        ("[$-F800]dddd, mmmm dd, yyyy", DAY, "Monday, January 05, 2026"),
        ('#" "?/?', 2.5, "2 1/2"),
        ('[h]"h "mm"m"', 1.25, "30h 00m"),
        ('0.0"°C"', 21.54, "21.5°C"),
        ("0.00%;[Red]-0.00%", -0.1234, "-12.34%"),
        ('#,##0.00 "EUR"', 1234.5, "1,234.50 EUR"),
        ("###0.00", 5, "5.00"),
        ("hh:mm:ss", 0.5, "12:00:00"),
        ("mmm-yy", DAY, "Jan-26"),
        (".00", 12.5, "12.50"),
    ],
)
def test_numbers_are_shown_by_their_format(code: str, value: float, shown: str) -> None:
    assert number_format(code).show(value) == shown


@pytest.mark.parametrize(
    "code", ["", "0" * 600, "[", '"', "\\", "/", "0/", "E+", "0E+", ";;;;;", "[h", ",,", "%%", "y" * 99, "?/?/?"]
)
@pytest.mark.parametrize("value", [0, -1.5, 1e300, 1e-300, 45000.99999, -1e9])
def test_odd_formats_fail_on_no_number(code: str, value: float) -> None:
    assert isinstance(number_format(code).show(value), str)


def test_dates_count_from_1904_where_the_workbook_says_so() -> None:
    assert number_format("yyyy-mm-dd").show(DAY - 1462, from_1904=True) == "2026-01-05"


def test_cells_show_their_format_and_the_bare_value(read: Read) -> None:
    shown = [
        (501, "00000", "00501 (501)"), (42, '"AX-"0000', "AX-0042 (42)"), (0.075, "0.0%", "7.5% (0.075)"),
        (1234.5, '"$"#,##0.00', "$1,234.50 (1234.5)"), (1.5, "[h]:mm", "36:00 (1.5)"), (41, "0.00", "41.00"),
        (datetime.date(2026, 1, 5), "dd.mm.yyyy", "05.01.2026 (2026-01-05)"),
        (datetime.date(2026, 1, 5), "mm-dd-yy", "2026-01-05"), (1, '"Yes";"Yes";"No"', "Yes (1)"), (7, ";;;", ""),
        (2125551234, PHONE, "(212) 555-1234 (2125551234)"), (2.5, "# ?/?", "2 1/2 (2.5)"),
        (12.5, '0.0" kg"', "12.5 kg (12.5)"), ("text", '"Ref. "@', "Ref. text"),
    ]  # fmt: skip

    def fill(sheet: Any) -> None:
        for number, (value, code, _) in enumerate(shown, start=1):
            sheet.cell(1, number, value).number_format = code

    (line,) = lines(read, book_bytes(fill))[1:]
    assert line.split(" | ") == [text for _, _, text in shown]
