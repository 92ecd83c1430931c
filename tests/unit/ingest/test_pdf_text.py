"""What the text of a PDF is: hidden, struck-out and raised text, hyphens, broken text layers, forms."""

from __future__ import annotations

import io

import pypdfium2
import pytest
from PIL import Image
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from core.errors import DocumentRejected
from tests.programs import NEEDS_TESSERACT
from tests.unit.ingest import files
from tests.unit.ingest.files import FACT
from tests.unit.ingest.pdf_pages import PROSE, drawn, raw_pdf, texts, wrapped
from tests.unit.ingest.support import Read

LIE = "The award is one euro."
INVISIBLE = 3


def _line(canvas: Canvas, y: float, text: str, mode: int = 0) -> None:
    line = canvas.beginText(72, y)
    line.setTextRenderMode(mode)
    line.textLine(text)
    canvas.drawText(line)


def _invisible(canvas: Canvas) -> None:
    _line(canvas, 600, LIE, INVISIBLE)


def _white(canvas: Canvas) -> None:
    canvas.setFillGray(1)
    canvas.drawString(72, 600, LIE)


def _white_on_white(canvas: Canvas) -> None:
    canvas.setFillGray(1)
    canvas.rect(60, 590, 300, 30, stroke=0, fill=1)
    canvas.drawString(72, 600, LIE)


def _outside(canvas: Canvas) -> None:
    canvas.drawString(-500, 600, LIE)


def _clipped(canvas: Canvas) -> None:
    path = canvas.beginPath()
    path.rect(72, 100, 200, 50)
    canvas.clipPath(path, stroke=0, fill=0)
    canvas.drawString(72, 600, LIE)


def _covered(canvas: Canvas) -> None:
    canvas.drawString(72, 600, LIE)
    canvas.rect(60, 590, 300, 30, stroke=0, fill=1)


def _tiny(canvas: Canvas) -> None:
    canvas.setFont("Helvetica", 0.5)
    canvas.drawString(72, 600, LIE)


def _transparent(canvas: Canvas) -> None:
    canvas.setFillAlpha(0)
    canvas.drawString(72, 600, LIE)


@pytest.mark.parametrize(
    "hide", [_invisible, _white, _white_on_white, _outside, _clipped, _covered, _tiny, _transparent]
)
def test_text_that_nobody_sees_is_left_out_and_counted(read: Read, hide: object) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(72, 700, FACT)
        hide(canvas)  # type: ignore[operator]

    document = read("a.pdf", drawn(draw))
    assert document.text == FACT
    assert document.metadata == {"pages": "1", "hidden_characters": str(len(LIE.replace(" ", "")))}


def test_white_text_on_a_dark_box_and_text_in_its_clipping_are_read(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.setFillGray(0.1)
        canvas.rect(60, 690, 300, 30, stroke=0, fill=1)
        canvas.setFillGray(1)
        canvas.drawString(72, 700, FACT)
        path = canvas.beginPath()
        path.rect(60, 480, 400, 50)
        canvas.setFillGray(0)
        canvas.clipPath(path, stroke=0, fill=0)
        canvas.drawString(72, 500, "It is a sleeper.")

    assert texts(read("a.pdf", drawn(draw))) == [FACT, "It is a sleeper."]


def test_text_that_is_struck_out_by_a_line_is_marked(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        canvas.drawString(72, 700, "The notice period is 30 days 90 days.")
        start = 72 + canvas.stringWidth("The notice period is ", "Helvetica", 10)
        end = start + canvas.stringWidth("30 days", "Helvetica", 10)
        canvas.line(start, 703, end, 703)
        canvas.line(72, 698, end, 698)

    assert read("a.pdf", drawn(draw)).text == "The notice period is ~~30 days~~ 90 days."


def test_text_that_an_annotation_strikes_out_is_marked(read: Read) -> None:
    annotation = (
        b"/Annots [<< /Type /Annot /Subtype /StrikeOut /Rect [72 695 150 715] "
        b"/QuadPoints [72 712 150 712 72 698 150 698] >>]"
    )
    data = raw_pdf(b"BT /F1 10 Tf 72 700 Td (Costs 17 euros.) Tj 0 -20 Td (Costs 19 euros.) Tj ET", page=annotation)
    assert read("a.pdf", data).text == "~~Costs 17 euros.~~ Costs 19 euros."


def test_raised_digits_stay_apart(read: Read) -> None:
    content = (
        (
            b"BT /F1 11 Tf 72 760 Td (The load is 25) Tj 7 Tf 4 Ts (3) Tj 0 Ts 11 Tf ( kg on 40 m) Tj 7 Tf 4 Ts (2) Tj "
            b"0 Ts 11 Tf (, at 10) Tj 7 Tf 4 Ts (5) Tj 0 Ts 11 Tf (, of H) Tj 7 Tf -2 Ts (2) Tj 0 Ts 11 Tf (O.) Tj ET"
        )
        .replace(b" 7 Tf", b" /F1 7 Tf")
        .replace(b" 11 Tf", b" /F1 11 Tf")
        .replace(b"/F1 /F1", b"/F1")
    )
    assert read("a.pdf", raw_pdf(content)).text == "The load is 25³ kg on 40 m², at 10⁵, of H2O."


def test_a_raised_digit_at_the_end_of_a_line_of_a_long_page_stays_apart(read: Read) -> None:
    lines = b"".join(b"(The keeper of the gate writes the hour into the book) Tj T* " for _ in range(20))
    content = b"BT /F1 11 Tf 14 TL 72 760 Td %s (It carries a load of 25) Tj /F1 7 Tf 4 Ts (3) Tj ET" % lines
    assert read("a.pdf", raw_pdf(content)).text.endswith("It carries a load of 25\u00b3")


def test_hyphens_of_words_stay_and_those_of_hyphenation_go(read: Read) -> None:
    text = "Use only the X-|ray unit and the self-|adjusting dia-|phragm AB-|1207 with a state-of-|the-art seal."
    lines = text.split("|")

    def draw(canvas: Canvas) -> None:
        for number, line in enumerate(lines):
            canvas.drawString(72, 700 - 12 * number, line)

    expected = "Use only the X-ray unit and the self-adjusting diaphragm AB-1207 with a state-of-the-art seal."
    assert read("a.pdf", drawn(draw)).text == expected


def _cipher() -> bytes:
    cmap = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def 1 "
        b"begincodespacerange <00> <FF> endcodespacerange 1 beginbfrange <20> <7E> <0023> endbfrange endcmap end end"
    )
    canvas = Canvas(io.BytesIO())
    lines = b"".join(b"(%s) Tj T* " % line.encode() for line in wrapped(canvas, PROSE, 400))
    further = {
        5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 6 0 R >>",
        6: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(cmap), cmap),
    }
    return raw_pdf(b"BT /F2 12 Tf 16 TL 72 720 Td %s ET" % lines, fonts=b"/F2 5 0 R", further=further)


@NEEDS_TESSERACT
def test_a_broken_text_layer_is_read_by_ocr(read: Read) -> None:
    document = read("a.pdf", _cipher())
    assert "The night watch opens the lock gates" in document.text
    assert document.metadata == {"pages": "1", "pages_by_ocr": "1", "pages_with_broken_text": "1"}


def test_a_broken_text_layer_is_a_reason_without_ocr(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DocumentRejected, match="text layer of the PDF is broken"):
        read("a.pdf", _cipher())
    both = pypdfium2.PdfDocument(drawn(lambda canvas: canvas.drawString(72, 700, FACT)))
    both.import_pages(pypdfium2.PdfDocument(_cipher()))
    document = read("a.pdf", files._saved(both.save))
    assert document.text == FACT
    assert document.metadata == {"pages": "2", "pages_not_read": "1", "pages_with_broken_text": "1"}


@NEEDS_TESSERACT
def test_a_page_without_a_size_does_not_fail_the_file(read: Read) -> None:
    data = drawn(lambda canvas: canvas.drawString(72, 700, FACT), lambda canvas: canvas.rect(0, 0, 9, 9, fill=1))
    document = pypdfium2.PdfDocument(data)
    document[1].set_mediabox(0, 0, 0, 0)
    assert FACT in read("a.pdf", files._saved(document.save)).text


@NEEDS_TESSERACT
def test_a_large_picture_on_a_page_with_text_is_read_by_ocr(read: Read) -> None:
    picture = Image.new("RGB", (1240, 500), "white")
    picture.paste(files._drawn("The valve opens at nine bar.").resize((1200, 148)), (20, 100))

    def draw(canvas: Canvas) -> None:
        canvas.drawString(72, 780, FACT)
        canvas.drawImage(ImageReader(picture), 72, 500, 400, 160)

    document = read("a.pdf", drawn(draw))
    assert document.text.startswith(FACT) and "valve opens at nine bar" in document.text
    assert document.metadata == {"pages": "1", "pictures_by_ocr": "1"}


def test_fields_of_a_form_stand_with_their_printed_labels(read: Read) -> None:
    def draw(canvas: Canvas) -> None:
        form = canvas.acroForm
        canvas.drawString(72, 705, "Mileage at return:")
        form.textfield(name="Text3", value="43,950", x=200, y=700, height=16)
        canvas.drawString(72, 675, "Site")
        form.textfield(name="Text4", tooltip="Name of the site", value="Depot", x=200, y=670, height=16)
        for y, label, checked in ((640, "Smoke alarm present", True), (610, "Sprinkler present", False)):
            canvas.drawString(100, y + 3, label)
            form.checkbox(name=f"chk{y}", checked=checked, x=72, y=y, size=14)
        canvas.drawString(72, 583, "Fuel")
        for x, value, label in ((200, "1", "Petrol"), (300, "2", "Diesel")):
            form.radio(name="Group1", value=value, selected=value == "2", x=x, y=580, size=14)
            canvas.drawString(x + 20, 583, label)
        form.textfield(name="pin", value="4711", x=200, y=540, height=16, fieldFlags="password")

    table = read("a.pdf", drawn(draw)).elements[-1].text
    assert table.splitlines() == [
        "Mileage at return: 43,950",
        "Site: Depot (Name of the site)",
        "Smoke alarm present: yes",
        "Sprinkler present: no",
        "Fuel: Diesel",
    ]


def test_text_in_layers_that_are_switched_off_is_left_out(read: Read) -> None:
    layers = {
        1: b"<< /Type /Catalog /Pages 2 0 R /OCProperties << /OCGs [6 0 R 7 0 R] /D << /OFF [7 0 R] >> >> >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> "
        b"/Properties << /On 6 0 R /Off 7 0 R /Member 8 0 R /Tag << /MCID 1 >> >> >> >>",
        5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        6: b"<< /Type /OCG /Name (English) >>",
        7: b"<< /Type /OCG /Name (Draft) >>",
        8: b"<< /Type /OCMD /OCGs [7 0 R] /P /AllOn >>",
    }
    lines = [("/P /Tag", "The limit is 90 kg."), ("/OC /On", "Made in Graz."), ("/OC /Off", LIE), ("/OC /Member", LIE)]
    content = "".join(
        f"{mark} BDC BT /F1 12 Tf 72 {700 - 40 * number} Td ({text}) Tj ET EMC\n"
        for number, (mark, text) in enumerate(lines)
    )
    document = read("a.pdf", raw_pdf(content.encode(), further=layers))
    assert document.text == "The limit is 90 kg.\n\nMade in Graz."
    assert document.metadata["hidden_characters"] == str(2 * len(LIE.replace(" ", "")))
