"""The reading order of PDF pages: columns, tables, footnotes, page breaks, and directions of text."""

from __future__ import annotations

import itertools

import pytest
from reportlab.pdfgen.canvas import Canvas

from ingest.parsed_document import ElementKind
from tests.unit.ingest.pdf_pages import PROSE, WIDTH, Draw, drawn, mapped_font, raw_pdf, rows, texts, wrapped
from tests.unit.ingest.support import Read

TORQUES = [
    ["Part", "Torque", "Note"], ["Bolt M8", "25 Nm", "dry"], ["Bolt M10", "49 Nm", "oiled"], ["Nut M12", "85 Nm", ""],
]  # fmt: skip
LINES = 14


def _columns(count: int, *, is_across: bool, shift: float = 0.0) -> Draw:
    """Return a function that draws columns of text, column by column or line by line across all of them."""

    def draw(canvas: Canvas) -> None:
        width = (WIDTH - 100 - 20 * (count - 1)) / count
        lines = wrapped(canvas, PROSE * 4, width)
        places = itertools.product(range(count), range(LINES))
        for column, line in sorted(places, key=lambda place: place[::-1]) if is_across else places:
            left, top = 50 + column * (width + 20), 740 - 12 * line - shift * column
            canvas.drawString(left, top, lines[column * LINES + line])

    return draw


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("is_across", [False, True])
@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_columns_are_read_one_after_the_other(read: Read, count: int, is_across: bool, shift: float) -> None:
    text = " ".join(read("a.pdf", drawn(_columns(count, is_across=is_across, shift=shift))).text.split())
    assert (PROSE * 4).startswith(text)
    assert len(text) > len(PROSE)


def test_a_title_over_columns_and_a_line_below_them_are_read_before_and_after(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(50, 790, "Rules of the harbour, as of this year, for all boats of the lower basin")
        _columns(2, is_across=True)(canvas)
        canvas.drawString(50, 540, "These rules are posted at both gates, at the office, and in every hired boat.")

    found = texts(read("a.pdf", drawn(draw)))
    assert found[0].startswith("Rules of the harbour") and found[-1].startswith("These rules are posted")


def test_the_sentence_over_two_columns_is_in_one_paragraph(read: Read) -> None:
    document = read("a.pdf", drawn(_columns(2, is_across=False)))
    assert len(document.elements) == 1


def test_a_table_without_lines_is_a_table(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(72, 790, "The torques are in the table below.")
        rows(canvas, [72, 200, 300], 760, TORQUES)
        canvas.drawString(72, 680, "All values are for class 8.8.")

    document = read("a.pdf", drawn(draw))
    before, table, after = document.elements
    assert (before.text, after.text) == ("The torques are in the table below.", "All values are for class 8.8.")
    assert table.kind is ElementKind.TABLE
    assert "Bolt M10" in table.text and table.text.index("49 Nm") < table.text.index("oiled") < table.text.index("Nut")


def test_the_lines_of_a_cell_belong_together(read: Read) -> None:
    table = [
        ["Fault", "Remedy"], ["E1", "Check the pump and replace the seal if it"], ["", "leaks at the flange."],
        ["E2", "Clean the filter in warm water and let it"], ["", "dry for a day."],
    ]  # fmt: skip
    document = read("a.pdf", drawn(lambda canvas: rows(canvas, [72, 160], 760, table, 12)))
    assert "replace the seal if it leaks at the flange." in document.text
    assert document.elements[0].kind is ElementKind.TABLE


def _grid(canvas: Canvas, columns: list[float], levels: list[float]) -> None:
    for x in columns:
        canvas.line(x, levels[0], x, levels[-1])
    for y in levels:
        canvas.line(columns[0], y, columns[-1], y)


def test_a_table_drawn_by_lines_is_a_table_even_if_its_cells_are_close(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        _grid(canvas, [72, 112, 152], [760, 745, 730])
        rows(canvas, [74, 114], 749, [["Width h", "Depth t"], ["7", "9"]], 15)
        canvas.drawString(72, 700, "After the table.")

    table, after = read("a.pdf", drawn(draw)).elements
    assert table.kind is ElementKind.TABLE and after.text == "After the table."
    assert "Width h" in table.text and "Width h Depth" not in table.text


def test_a_cell_over_two_rows_is_in_both(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        for x in (72, 150, 250):
            canvas.line(x, 760, x, 715)
        for left, y in ((72, 760), (72, 745), (150, 730), (72, 715)):
            canvas.line(left, y, 250, y)
        cells = ((75, 749, "Region"), (153, 749, "City"), (75, 727, "North"), (153, 734, "Alpha"), (153, 719, "Beta"))
        for x, y, text in cells:
            canvas.drawString(x, y, text)

    text = read("a.pdf", drawn(draw)).text
    assert text.count("North") == 2


def test_a_footnote_does_not_interrupt_the_text_that_continues_on_the_next_page(read: Read) -> None:
    def first(canvas: Canvas) -> None:
        for number, line in enumerate(wrapped(canvas, PROSE, 400)):
            canvas.drawString(72, 780 - 12 * number, line)
        canvas.drawString(72, 200, "The operator of the crane waits until the")
        canvas.setFont("Helvetica", 7)
        canvas.drawString(72, 60, "1 See the tide table of the port.")

    def second(canvas: Canvas) -> None:
        canvas.drawString(72, 780, "green lamp is lit before he lifts the load.")

    found = texts(read("a.pdf", drawn(first, second)))
    assert found[-2:] == [
        "The operator of the crane waits until the green lamp is lit before he lifts the load.",
        "1 See the tide table of the port.",
    ]


def test_running_headers_are_kept_once_and_page_numbers_left_out(read: Read) -> None:
    def page(number: int) -> Draw:
        def draw(canvas: Canvas) -> None:
            canvas.drawString(72, 815, "Harbour Works - Internal use only")
            canvas.drawString(72, 760, f"flood gate {number} is shut at low tide." if number else "The works are old.")
            canvas.drawString(72, 700, f"The keeper of gate {number + 1} waits until the")
            canvas.drawString(280, 30, f"Page {number + 1} of 4")

        return draw

    document = read("a.pdf", drawn(*map(page, range(4))))
    assert document.text.count("Harbour Works") == 1
    assert "Page" not in document.text
    assert "The keeper of gate 1 waits until the flood gate 1 is shut at low tide." in document.text
    crossing = document.elements[2]
    assert (crossing.page, crossing.last_page) == (1, 2)


def test_lines_that_are_the_whole_page_are_not_running_lines(read: Read) -> None:
    pages = [lambda canvas: canvas.drawString(72, 815, "The same words on each page.")] * 3
    assert read("a.pdf", drawn(*pages)).text.count("The same words") == 3


def test_numbers_of_records_are_not_page_numbers(read: Read) -> None:
    def page(number: int) -> Draw:
        def draw(canvas: Canvas) -> None:
            canvas.drawString(72, 815, f"Invoice {71001 + number}")
            canvas.drawString(72, 700, f"The sum is {number * 7} euros and due in May.")

        return draw

    text = read("a.pdf", drawn(*map(page, range(3)))).text
    assert all(f"Invoice {number}" in text for number in (71001, 71002, 71003))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_rotated_page_is_read_as_it_is_seen(read: Read, degrees: int) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setPageRotation(degrees)
        canvas.translate(WIDTH / 2, 400)
        canvas.rotate(degrees)
        canvas.drawString(0, 14, "The first line of the page is above")
        canvas.drawString(0, 0, "the second line of it.")

    assert read("a.pdf", drawn(draw)).text == "The first line of the page is above the second line of it."


def test_text_at_the_margin_in_another_direction_is_apart(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(72, 700, "The body of the page.")
        canvas.translate(20, 300)
        canvas.rotate(90)
        canvas.drawString(0, 0, "Copy for the archive")

    assert texts(read("a.pdf", drawn(draw))) == ["The body of the page.", "Copy for the archive"]


def test_bullets_and_numbers_belong_to_their_items(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        for number, label in enumerate(("\u2022", "\u2022", "3.", "4.")):
            canvas.drawString(72, 700 - 14 * number, label)
            canvas.drawString(92, 700 - 14 * number, f"The item of number {number}")

    document = read("a.pdf", drawn(draw))
    labels = ("\u2022", "\u2022", "3.", "4.")
    assert texts(document) == [f"{label} The item of number {number}" for number, label in enumerate(labels)]


def test_roman_and_arabic_page_numbers_are_left_out(read: Read) -> None:
    def page(number: str) -> Draw:
        def draw(canvas: Canvas) -> None:
            canvas.drawString(72, 700, f"The text of the page with the word {number * 3}.")
            canvas.drawString(300, 30, number)

        return draw

    text = read("a.pdf", drawn(*map(page, ("iii", "iv", "1", "2")))).text
    assert text.count("The text of the page") == 4
    assert not {"iii", "iv", "1", "2"} & set(text.split())


def test_the_names_of_columns_are_repeated_where_a_table_continues(read: Read) -> None:
    def page(first: int) -> Draw:
        body = [[f"Bolt M{number}", f"{3 * number} Nm", f"{number / 2} kg"] for number in range(first, first + 8)]
        return lambda canvas: rows(
            canvas, [72, 200, 300], 700, ([["Part", "Torque", "Mass"]] if first == 4 else []) + body
        )

    document = read("a.pdf", drawn(page(4), page(12)))
    assert "Part: Bolt M13; Torque: 39 Nm; Mass: 6.5 kg" in document.text


def _codes(text: str) -> tuple[dict[int, str], bytes]:
    """Return a code for each character of a text, and the text in these codes, in hex."""
    codes = {character: number for number, character in enumerate(dict.fromkeys(text), start=36)}
    return {code: character for character, code in codes.items()}, b"".join(b"%04X" % codes[each] for each in text)


def test_vertical_columns_are_read_from_right_to_left(read: Read) -> None:
    columns = ["窯の温度は千度を超え", "てはならない。冷却は", "十二時間かけて行う。"]
    mapping, codes = _codes("".join(columns))
    size = 4 * len(columns[0])
    content = b"".join(
        b"BT /F2 14 Tf %d 750 Td <%s> Tj ET\n" % (500 - 30 * number, codes[size * number : size * (number + 1)])
        for number in (2, 0, 1)
    )
    data = raw_pdf(content, fonts=b"/F2 5 0 R", further=mapped_font(mapping, is_vertical=True))
    assert read("a.pdf", data).text == "".join(columns)


def test_arabic_is_read_in_its_order_with_its_ligatures(read: Read) -> None:
    # Given a line as it is seen from left to right, with the ligature lam-alef
    glyphs = ["A", "C", " ", "2", "5", " ", "م", "لا", "س", " ", "م", "ق", "ر"]
    mapping = dict(enumerate(glyphs, start=1))
    codes = b"".join(b"%04X" % code for code in mapping)
    data = raw_pdf(b"BT /F2 14 Tf 72 700 Td <%s> Tj ET" % codes, fonts=b"/F2 5 0 R", further=mapped_font(mapping))
    assert read("a.pdf", data).text == "رقم سلام 25 AC"


def test_lines_of_chinese_are_joined_without_a_space_and_korean_with_one(read: Read) -> None:
    for lines, joined in ((["暗証番", "号は八三"], "暗証番号は八三"), (["비밀번호는", "사칠이"], "비밀번호는 사칠이")):
        mapping, codes = _codes("".join(lines))
        first = 4 * len(lines[0])
        content = b"BT /F2 14 Tf 20 TL 72 700 Td <%s> Tj T* <%s> Tj ET" % (codes[:first], codes[first:])
        assert read("a.pdf", raw_pdf(content, fonts=b"/F2 5 0 R", further=mapped_font(mapping))).text == joined


def test_large_text_is_a_heading_where_there_is_no_outline(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 18)
        canvas.drawString(72, 780, "BX-300 manual")
        canvas.setFont("Helvetica", 13)
        canvas.drawString(72, 740, "Fuses")
        canvas.setFont("Helvetica", 10)
        for number, line in enumerate(wrapped(canvas, PROSE, 400)):
            canvas.drawString(72, 720 - 12 * number, line)

    document = read("a.pdf", drawn(draw))
    assert [element.section for element in document.elements] == ["BX-300 manual", *["BX-300 manual > Fuses"] * 2]
