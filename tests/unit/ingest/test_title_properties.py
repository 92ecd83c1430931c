"""The title property of a file is the title of its document if it names the document."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import docx
import openpyxl
import pptx
import pytest

from tests.unit.ingest.office import with_parts
from tests.unit.ingest.support import Read
from tests.unit.ingest.test_open_document import NAMES, odt


def _saved(document: Any, title: str, properties: Any) -> bytes:
    properties.title = title
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def in_docx(title: str) -> bytes:
    document = docx.Document()
    document.add_paragraph("Text")
    return _saved(document, title, document.core_properties)


def in_pptx(title: str) -> bytes:
    presentation = pptx.Presentation()
    presentation.slides.add_slide(presentation.slide_layouts[5]).shapes.title.text = "Text"
    return _saved(presentation, title, presentation.core_properties)


def in_xlsx(title: str) -> bytes:
    book = openpyxl.Workbook()
    book.worksheets[0]["A1"] = "Text"
    return _saved(book, title, book.properties)


def in_odt(title: str) -> bytes:
    meta = (
        f"<office:document-meta {NAMES}><office:meta><dc:title>{title}</dc:title></office:meta></office:document-meta>"
    )
    return odt("<text:p>Text</text:p>", more={"meta.xml": meta.encode()})


FORMATS: list[tuple[str, Callable[[str], bytes]]] = [
    ("plan.docx", in_docx),
    ("plan.pptx", in_pptx),
    ("plan.xlsx", in_xlsx),
    ("plan.odt", in_odt),
]


@pytest.mark.parametrize(("name", "write"), FORMATS)
def test_a_title_property_is_the_title(read: Read, name: str, write: Callable[[str], bytes]) -> None:
    document = read(name, write("Maintenance of the\n BX-300"))
    assert document.title == document.metadata["title"] == "Maintenance of the BX-300"
    assert "Maintenance" not in document.text


@pytest.mark.parametrize(("name", "write"), FORMATS)
@pytest.mark.parametrize(
    "title", ["", "Plan", "plan.docx", "Microsoft Word - x.doc", "PowerPoint Presentation", "Untitled", "Word Document"]
)
def test_a_title_that_names_no_document_is_none(
    read: Read, name: str, write: Callable[[str], bytes], title: str
) -> None:
    assert "title" not in read(name, write(title)).metadata


def test_broken_properties_cost_nothing_but_the_title(read: Read) -> None:
    document = read("a.docx", with_parts(in_docx("A title"), {"docProps/core.xml": "<broken"}))
    assert (document.text, document.metadata) == ("Text", {"parts_not_read": "docProps/core.xml"})
    assert read("a.odt", odt("<text:p>Text</text:p>", more={"meta.xml": b"<broken"})).metadata == {}
