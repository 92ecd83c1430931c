"""Small real files, and assertions that hold for every parsed document."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence

import docx
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from ingest.parsed_document import ParsedDocument

Read = Callable[[str, bytes], ParsedDocument]


def assert_elements_cover(document: ParsedDocument) -> None:
    """Assert that elements are slices of the text, in order, with only white space between them."""
    position = 0
    for element in document.elements:
        assert document.text[element.start : element.end] == element.text
        assert element.start >= position
        assert not document.text[position : element.start].strip()
        position = element.end
    assert not document.text[position:].strip()


def kinds_and_texts(document: ParsedDocument) -> list[tuple[str, str]]:
    return [(element.kind.value, element.text) for element in document.elements]


def sections(document: ParsedDocument) -> dict[str, str | None]:
    return {element.text: element.section for element in document.elements}


def docx_bytes(fill: Callable[[docx.document.Document], object]) -> bytes:
    document = docx.Document()
    fill(document)
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def pdf_bytes(pages: Sequence[Sequence[str]], *, password: str | None = None, outline: Sequence[str] = ()) -> bytes:
    """Return a PDF. Each page is a list of lines; a line that is in `outline` becomes a bookmark."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, encrypt=password)
    for lines in pages:
        for number, line in enumerate(lines):
            if line in outline:
                canvas.bookmarkPage(line)
                canvas.addOutlineEntry(line, line, level=0)
            canvas.drawString(72, 780 - 14 * number, line)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def zip_bytes(entries: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return file.getvalue()
