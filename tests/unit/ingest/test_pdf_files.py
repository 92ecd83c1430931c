"""PDFs with forms, comments, attached files, and scanned pages."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image
from reportlab.lib.pagesizes import A4
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from core.errors import DocumentRejected
from ingest.parsers import parse_unknown
from ingest.parsers.attachments import MAX_ATTACHMENTS
from ingest.parsers.source import ParserOptions
from tests.programs import NEEDS_TESSERACT
from tests.unit.ingest import files
from tests.unit.ingest.files import FACT
from tests.unit.ingest.support import Read, pdf_bytes

INVISIBLE = 3


def _canvas() -> tuple[io.BytesIO, Canvas]:
    file = io.BytesIO()
    return file, Canvas(file, pagesize=A4)


def _scan(text: str, *, stamp: str = "", mode: int = 0) -> bytes:
    """Return a PDF whose page is an image of the text, with a line of real text below it."""
    drawn = Image.new("RGB", (1240, 1754), "white")
    drawn.paste(files._drawn(text).resize((1200, 148)), (20, 300))
    file, canvas = _canvas()
    canvas.drawImage(ImageReader(drawn), 0, 0, *A4)
    line = canvas.beginText(300, 20)
    line.setTextRenderMode(mode)
    line.textLine(stamp)
    canvas.drawText(line)
    canvas.save()
    return file.getvalue()


def _with_files(data: bytes, attached: dict[str, bytes]) -> bytes:
    document = pypdfium2.PdfDocument(data)
    for name, content in attached.items():
        document.new_attachment(name).set_data(content)
    return files._saved(document.save)


def test_filled_form_fields_are_read(read: Read) -> None:
    file, canvas = _canvas()
    canvas.drawString(72, 780, "Booking")
    form = canvas.acroForm
    form.textfield(name="traveller", tooltip="Name of the traveller", value="Ann Lee", x=72, y=700)
    form.textfield(name="remarks", value="", x=72, y=650)
    form.choice(name="city", value="Vienna", options=["Vienna", "Rome"], x=72, y=600)
    form.checkbox(name="return", checked=True, x=72, y=550)
    form.checkbox(name="pets", checked=False, x=72, y=500)
    canvas.save()
    document = read("form.pdf", file.getvalue())
    assert document.text == "Booking\n\nName of the traveller: Ann Lee\ncity: Vienna\nreturn: yes\npets: no"
    assert document.elements[-1].page == 1


def test_comments_on_a_page_are_read_with_their_authors(read: Read) -> None:
    file, canvas = _canvas()
    canvas.drawString(72, 780, FACT)
    canvas.textAnnotation("At ten on Sundays.", [72, 700, 92, 720], name="note")
    canvas.textAnnotation(FACT, [72, 600, 92, 620], name="marked")
    canvas.showPage()
    canvas.drawString(72, 780, "Rome")
    canvas.freeTextAnnotation("By day.", [72, 600, 92, 620])
    canvas.save()
    document = read("notes.pdf", file.getvalue())
    assert [(element.text, element.page) for element in document.elements] == [
        (FACT, 1), ("Comment: At ten on Sundays.", 1), ("Rome", 2), ("By day.", 2),
    ]  # fmt: skip


def test_files_in_a_pdf_are_read(read: Read) -> None:
    attached = {"prices.csv": b"city,price\nVienna,41\n", "program": b"\x7fELF" + bytes(200), "inner.pdf": files.pdf()}
    document = read("portfolio.pdf", _with_files(pdf_bytes([["Cover"]]), attached))
    assert "Attachment: prices.csv\n\ncity | price\ncity: Vienna; price: 41" in document.text
    assert "Attachment: program\n\nThis attachment was not read: This type of file" in document.text
    assert FACT in document.text
    inner = next(element for element in document.elements if element.text == FACT)
    assert inner.section == "Attachment: inner.pdf > Timetable"


def test_a_file_in_a_pdf_has_no_section_or_page_of_the_pdf(read: Read) -> None:
    outer = pdf_bytes([["Summary", "Words."]], outline=("Summary",))
    document = read("a.pdf", _with_files(outer, {"inner.pdf": files.pdf()}))
    inner = next(element for element in document.elements if element.text == FACT)
    assert (inner.section, inner.page) == ("Attachment: inner.pdf > Timetable", None)


def test_files_beyond_the_limit_are_only_named(read: Read) -> None:
    attached = {f"{number:03}.txt": f"words {number}".encode() for number in range(MAX_ATTACHMENTS + 2)}
    text = read("a.pdf", _with_files(pdf_bytes([[FACT]]), attached)).text
    assert text.count("words ") == MAX_ATTACHMENTS
    assert text.count(f"This attachment was not read: There are more than {MAX_ATTACHMENTS} attachments.") == 2


def test_a_pdf_whose_files_are_missing_is_read(read: Read) -> None:
    # Given a PDF that refers to a file which it does not contain
    data = _with_files(pdf_bytes([[FACT]]), {"a.txt": b"words"})
    data = re.sub(rb"/EF ?<<[^>]*>>", lambda match: match[0].replace(b" 0 R", b"99 0 R"), data)
    text = read("a.pdf", data).text
    assert FACT in text and "words" not in text


@NEEDS_TESSERACT
def test_pages_that_tesseract_fails_on_are_counted_and_the_others_read(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise DocumentRejected("Tesseract took too long.")

    monkeypatch.setattr("ingest.parsers.pdf.scans.read_page", fail)
    both = pypdfium2.PdfDocument.new()
    for data in (pdf_bytes([[FACT]]), files.scan()):
        both.import_pages(pypdfium2.PdfDocument(data), pages=[0])
    document = read("a.pdf", files._saved(both.save))
    assert (document.text, document.metadata["pages_not_read"]) == (FACT, "1")
    with pytest.raises(DocumentRejected, match="took too long"):
        read("a.pdf", files.scan())


def test_nested_pdfs_are_read_to_a_limited_depth(read: Read) -> None:
    data = pdf_bytes([[FACT]])
    for level in range(5):
        data = _with_files(pdf_bytes([[f"level {level}"]]), {"inner.pdf": data})
    text = read("outer.pdf", data).text
    assert "level 1" in text and "3 are allowed" in text
    assert FACT not in text


@NEEDS_TESSERACT
def test_a_scan_with_a_stamp_is_read_as_a_scan(read: Read) -> None:
    document = read("scan.pdf", _scan(FACT, stamp="Received 5 May, page 17 of 20"))
    assert FACT in document.text
    assert document.text.count("page 17 of 20") == 1
    assert document.metadata == {"pages": "1", "pages_by_ocr": "1"}


def test_a_scan_with_a_stamp_counts_as_not_read_without_tesseract(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    document = read("scan.pdf", _scan(FACT, stamp="Received 5 May"))
    assert document.text == "Received 5 May"
    assert document.metadata == {"pages": "1", "pages_not_read": "1"}


def test_a_scan_with_an_ocr_layer_is_not_read_again(read: Read) -> None:
    document = read("scan.pdf", _scan("something else", stamp=FACT, mode=INVISIBLE))
    assert document.text == FACT
    assert document.metadata == {"pages": "1"}


def test_a_page_with_a_small_picture_is_not_read_by_ocr(read: Read) -> None:
    file, canvas = _canvas()
    canvas.drawString(72, 780, FACT)
    canvas.drawImage(ImageReader(files._drawn("Logo")), 72, 600, 130, 16)
    canvas.save()
    assert read("letter.pdf", file.getvalue()).metadata == {"pages": "1"}


@NEEDS_TESSERACT
@pytest.mark.parametrize("degrees", [90, 180])
def test_a_rotated_scan_is_read(read: Read, degrees: int) -> None:
    page = Image.new("RGB", (1240, 1754), "white")
    letter = (
        "Dear Mrs. Miller,", "thank you for your letter of last week.", FACT, "Please be at the station in time, with",
        "your luggage and a ticket of the second class.", "The fare for your dog is seventeen euros.", "Yours",
    )  # fmt: skip
    for number, line in enumerate(letter):
        page.paste(files._drawn(line).resize((1200, 148)), (20, 100 + 200 * number))
    turned = page.rotate(degrees, expand=True)
    assert FACT in read("scan.pdf", files._saved(lambda file: turned.save(file, "pdf"))).text


@pytest.mark.parametrize("before", [b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n", b"\xef\xbb\xbf"])
def test_a_pdf_with_other_bytes_before_it_is_read(read: Read, before: bytes) -> None:
    assert FACT in read("paper.pdf", before + files.pdf()).text


@NEEDS_TESSERACT
def test_scanned_pages_beyond_the_limit_are_counted_and_the_others_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a PDF with two scanned pages more than allowed
    monkeypatch.setattr("ingest.parsers.pdf.scans.read_page", lambda *_: "What is on the scan.")
    scans = pypdfium2.PdfDocument.new()
    for data in (files.scan(), pdf_bytes([[FACT]]), files.scan()):
        scans.import_pages(pypdfium2.PdfDocument(data))
    path = tmp_path / "scan.pdf"
    path.write_bytes(files._saved(scans.save))
    document = parse_unknown(path, "scan.pdf", ParserOptions(ocr_max_pages=2))
    assert document.text.count("What is on the scan.") == 2 and FACT in document.text
    assert document.metadata == {"pages": "5", "pages_by_ocr": "2", "pages_not_read": "2"}


def test_pages_beyond_the_time_for_them_are_counted_and_the_others_read(tmp_path: Path) -> None:
    path = tmp_path / "long.pdf"
    path.write_bytes(pdf_bytes([[FACT], ["Rome"], ["Paris"]]))
    document = parse_unknown(path, "long.pdf", ParserOptions(page_cpu_seconds=0))
    assert (document.text, document.metadata) == (FACT, {"pages": "3", "pages_not_read": "2"})


def test_a_dynamic_form_is_refused(read: Read) -> None:
    xfa = b"<xdp:xdp xmlns:xdp='http://ns.adobe.com/xdp/'><template/></xdp:xdp>"
    page = b"BT /F1 12 Tf 72 700 Td (Please wait...) Tj ET"
    bodies = [
        b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /XFA 5 0 R /Fields [] >> /NeedsRendering true >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Contents 4 0 R /Resources << /Font << /F1 "
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(xfa), xfa),
    ]
    objects = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, body) for number, body in enumerate(bodies, start=1))
    data = b"%PDF-1.7\n" + objects + b"trailer << /Root 1 0 R /Size 6 >>\n%%EOF\n"
    with pytest.raises(DocumentRejected, match="dynamic form"):
        read("form.pdf", data)


@pytest.mark.parametrize("start", [b"%\xe2", b"1 0 obj"])
@pytest.mark.parametrize("name", ["a.pdf", "a.txt", "document"])
def test_a_pdf_that_has_lost_its_first_line_is_read(read: Read, start: bytes, name: str) -> None:
    data = pdf_bytes([["The fare is 41."], ["Page two."]])
    at = data.find(start)
    document = read(name, data[at if at >= 0 else data.index(b"\n") + 1 :])
    assert document.media_type == "application/pdf"
    assert document.text == "The fare is 41.\n\nPage two."


def test_the_source_of_a_pdf_in_a_text_is_text(read: Read) -> None:
    assert read("note.txt", b"1 0 obj\n<< >>\nendobj\n\nis how an object begins.").media_type == "text/plain"


@pytest.mark.parametrize(("property_", "title"), [("Owner's manual  KX-10", "Owner's manual KX-10"), ("untitled", "")])
def test_the_title_of_a_pdf_is_a_property(read: Read, property_: str, title: str) -> None:
    file, canvas = _canvas()
    canvas.setTitle(property_)
    canvas.drawString(72, 700, FACT)
    canvas.save()
    document = read("a.pdf", file.getvalue())
    assert document.title == title == document.metadata.get("title", "")
