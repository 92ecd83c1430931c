"""Legacy Office and OpenDocument files keep their notes, comments, boxes, headers and charts when converted."""

from __future__ import annotations

from typing import Any

import docx
import pytest
from openpyxl.comments import Comment

from tests.programs import NEEDS_LIBREOFFICE
from tests.unit.ingest.files import FACT, by_libreoffice
from tests.unit.ingest.support import Read, docx_bytes, kinds_and_texts
from tests.unit.ingest.test_sheet_files import book_bytes
from tests.unit.ingest.test_slide_files import chart, slide_bytes

pytestmark = [pytest.mark.check, NEEDS_LIBREOFFICE]

SPACES = {
    "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
    "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    "draw": "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0",
    "svg": "urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
}
FRAME = 'text:anchor-type="paragraph" svg:width="5cm" svg:height="2cm"'
BOX = f"<draw:frame {FRAME}><draw:text-box><text:p>In the frame</text:p></draw:text-box></draw:frame>"
NOTE = '<text:note text:note-class="footnote"><text:note-body><text:p>A note.</text:p></text:note-body></text:note>'
COMMENT = "<office:annotation><dc:creator>Ann</dc:creator><text:p>True?</text:p></office:annotation>"


def writer() -> bytes:
    """Return a text with notes as a flat OpenDocument file."""
    spaces = " ".join(f'xmlns:{name}="{uri}"' for name, uri in SPACES.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document {spaces} office:version="1.3" '
        f'office:mimetype="application/vnd.oasis.opendocument.text"><office:body><office:text><text:p>Before.{BOX}</text:p>'
        f"<text:p>Middle{NOTE} {COMMENT}end.</text:p></office:text></office:body></office:document>"
    ).encode()


@pytest.mark.parametrize("target", ["doc", "docx"])
def test_notes_comments_and_frames_of_texts(read: Read, target: str) -> None:
    data = by_libreoffice(writer, "fodt", target)()
    assert [text for _, text in kinds_and_texts(read(f"a.{target}", data))] == [
        "Before.", "In the frame", "Middle end.", "[footnote 1] A note.", "Comment by Ann: True?",
    ]  # fmt: skip


def test_headers_footers_and_pages_of_texts(read: Read) -> None:
    def fill(document: docx.document.Document) -> None:
        document.sections[0].header.paragraphs[0].text = "Confidential"
        document.sections[0].footer.paragraphs[0].text = "At the foot"
        document.add_paragraph(FACT)
        document.add_page_break()
        document.add_paragraph("On page two.")

    document = read("a.doc", by_libreoffice(lambda: docx_bytes(fill), "docx", "doc")())
    assert [(element.text, element.page) for element in document.elements] == [
        ("Confidential", None), (FACT, 1), ("On page two.", 2), ("At the foot", None),
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["ppt", "odp"])
def test_charts_and_notes_of_slides(read: Read, target: str) -> None:
    def fill(slide: Any) -> None:
        chart(slide)
        slide.notes_slide.notes_text_frame.text = "Speak slowly"

    data = by_libreoffice(lambda: slide_bytes(fill), "pptx", target)()
    assert [text for _, text in kinds_and_texts(read(f"a.{target}", data))] == [
        "Prices", "Chart: Fares by city", "Adults: Vienna 41; Rome 57", "Speak slowly",
    ]  # fmt: skip


@pytest.mark.parametrize("target", ["xls", "ods"])
def test_formulas_and_comments_of_sheets(read: Read, target: str) -> None:
    def fill(sheet: Any) -> None:
        sheet.append(("city", "=20+21"))
        sheet["A1"].comment = Comment("Which one?", "Ann")

    data = by_libreoffice(lambda: book_bytes(fill), "xlsx", target)()
    assert [text for _, text in kinds_and_texts(read(f"a.{target}", data))] == [
        "Prices", "city | 41", "Comment on Prices!A1: Which one?",
    ]  # fmt: skip


def test_sheets_keep_their_number_formats_and_merged_cells(read: Read) -> None:
    def fill(sheet: Any) -> None:
        for row in (("region", "margin"), ("North", 0.075), (None, 0.5)):
            sheet.append(row)
        sheet.merge_cells("A2:A3")
        sheet["B2"].number_format = sheet["B3"].number_format = "0.0%"

    data = by_libreoffice(lambda: book_bytes(fill), "xlsx", "ods")()
    assert kinds_and_texts(read("a.ods", data))[-1] == (
        "table", "region | margin\nregion: North; margin: 7.5% (0.075)\nregion: North; margin: 50.0% (0.5)",
    )  # fmt: skip
