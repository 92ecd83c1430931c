"""Word documents, PDFs, workbooks and presentations, written here by common libraries."""

from __future__ import annotations

import io
import sys
from typing import Any

import openpyxl
import pptx
from PIL import Image

from ingest.parsers import ocr
from tests.unit.ingest.support import Read, docx_bytes, kinds_and_texts, pdf_bytes, sections


def _fill(document: Any) -> None:
    document.add_heading("Report", 1)
    document.add_paragraph("A first paragraph about trains.")
    document.add_heading("Figures", 2)
    document.add_paragraph("an item", style="List Bullet")
    table = document.add_table(2, 2)
    for index, text in enumerate(("Name", "Age", "Ann", "41")):
        table.cell(index // 2, index % 2).text = text


def test_docx(read: Read) -> None:
    document = read("report.docx", docx_bytes(_fill))
    assert kinds_and_texts(document) == [
        ("heading", "Report"),
        ("paragraph", "A first paragraph about trains."),
        ("heading", "Figures"),
        ("list_item", "an item"),
        ("table", "Name | Age\nName: Ann; Age: 41"),
    ]
    assert sections(document)["an item"] == "Report > Figures"


def test_a_docx_with_another_suffix_is_detected(read: Read) -> None:
    assert read("report.txt", docx_bytes(_fill)).media_type.endswith("wordprocessingml.document")


def test_unstructured_is_used_without_spacy_and_torch(read: Read) -> None:
    read("report.docx", docx_bytes(_fill))
    assert not {"spacy", "thinc"} & sys.modules.keys()


def test_pdf_keeps_pages_and_the_headings_of_its_outline(read: Read) -> None:
    pages = [
        ["Introduction", "This is a line of the first paragraph that goes", "on in the next line and ends here."],
        ["Results", "All is well."],
    ]
    document = read("paper.pdf", pdf_bytes(pages, outline=("Introduction", "Results")))
    assert [(element.kind.value, element.page, element.section) for element in document.elements] == [
        ("heading", 1, "Introduction"), ("paragraph", 1, "Introduction"),
        ("heading", 2, "Results"), ("paragraph", 2, "Results"),
    ]  # fmt: skip
    assert document.elements[1].text == " ".join(pages[0][1:])
    assert document.metadata == {"pages": "2"}


def test_pdf_joins_words_divided_at_the_end_of_a_line(read: Read) -> None:
    assert "international trains" in read("paper.pdf", pdf_bytes([["About inter-", "national trains."]])).text


def test_xlsx(read: Read) -> None:
    workbook = openpyxl.Workbook()
    workbook.active.title = "People"
    for row in (("name", "age"), ("Ann", 41)):
        workbook.active.append(row)
    file = io.BytesIO()
    workbook.save(file)
    document = read("people.xlsx", file.getvalue())
    assert kinds_and_texts(document) == [("heading", "People"), ("table", "name | age\nname: Ann; age: 41")]


def test_pptx(read: Read) -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "Plan"
    slide.placeholders[1].text = "Go by train"
    slide.notes_slide.notes_text_frame.text = "Speak slowly"
    file = io.BytesIO()
    presentation.save(file)
    document = read("plan.pptx", file.getvalue())
    assert [(element.text, element.page) for element in document.elements] == [
        ("Plan", 1), ("Go by train", 1), ("Speak slowly", 1),
    ]  # fmt: skip


def test_line_breaks_on_slides_divide_words(read: Read) -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text_frame.text = "Annual alpha\vbeta report"
    slide.placeholders[1].text_frame.text = "left\vright"
    slide.notes_slide.notes_text_frame.text = "over\vunder"
    file = io.BytesIO()
    presentation.save(file)
    words = read("plan.pptx", file.getvalue()).text.split()
    assert {"alpha", "beta", "left", "right", "over", "under"} <= set(words)


def test_transparent_pixels_are_white_for_ocr() -> None:
    picture = Image.new("RGBA", (1200, 40), (0, 0, 0, 0))
    picture.putpixel((3, 3), (0, 0, 0, 255))
    for image in (picture, picture.convert("LA")):
        grey = Image.open(io.BytesIO(ocr._png(image)))
        assert (grey.getpixel((0, 0)), grey.getpixel((3, 3))) == (255, 0)
    assert Image.open(io.BytesIO(ocr._png(Image.new("L", (1200, 40), 7)))).getpixel((0, 0)) == 7
