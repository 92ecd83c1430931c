"""Real files of all types: each yields its text, or the reason why it has none."""

from __future__ import annotations

import pytest

from core.errors import DocumentRejected
from tests.programs import NEEDS_LIBREOFFICE, NEEDS_TESSERACT
from tests.unit.ingest import files
from tests.unit.ingest.cases import CONVERTED, PARSED, REJECTED, SCANNED, File
from tests.unit.ingest.files import FACT, Make
from tests.unit.ingest.ole import ole_bytes
from tests.unit.ingest.support import Read, pdf_bytes


@pytest.mark.parametrize(
    "file",
    [
        *(pytest.param(file, id=file.name) for file in PARSED),
        *(pytest.param(file, id=file.name, marks=NEEDS_TESSERACT) for file in SCANNED),
        *(pytest.param(file, id=file.name, marks=[NEEDS_LIBREOFFICE, pytest.mark.check]) for file in CONVERTED),
    ],
)
def test_the_text_of_a_file_is_found(read: Read, file: File) -> None:
    document = read(file.name, file.make())
    for text in file.texts:
        assert text in document.text
    element = next(element for element in document.elements if file.texts[0] in element.text)
    assert element.page == file.page
    assert file.section is None or element.section == file.section
    assert "root:" not in document.text


@pytest.mark.parametrize(("name", "make", "reason"), [pytest.param(*row, id=row[0]) for row in REJECTED])
def test_a_file_without_text_is_refused_with_the_reason(read: Read, name: str, make: Make, reason: str) -> None:
    with pytest.raises(DocumentRejected, match=reason):
        read(name, make())


@pytest.mark.parametrize("file", [file for file in SCANNED if file.name != "fax.tiff"], ids=lambda file: file.name)
def test_without_tesseract_images_are_refused_naming_it(
    read: Read, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DocumentRejected, match=r"needs the program tesseract.*apt-get install tesseract-ocr"):
        read(file.name, file.make())


@pytest.mark.parametrize(
    ("name", "data", "instead"),
    [
        ("a.doc", ole_bytes({"WordDocument": b"x" * 5000}), ".docx"),
        ("a.ppt", ole_bytes({"PowerPoint Document": b"x" * 5000}), ".pptx"),
    ],
)
def test_without_libreoffice_legacy_files_are_refused_naming_it(
    read: Read, name: str, data: bytes, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        DocumentRejected, match=rf"needs LibreOffice \(the program soffice\).*save the file as {instead}"
    ):
        read(name, data)


@pytest.mark.check
@NEEDS_LIBREOFFICE
def test_a_broken_legacy_file_is_refused_with_a_reason(read: Read) -> None:
    with pytest.raises(DocumentRejected, match="LibreOffice|is broken"):
        read("a.ppt", ole_bytes({"PowerPoint Document": b"x" * 5000}))


def test_a_pdf_keeps_its_text_if_scanned_pages_cannot_be_read(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    import pypdfium2

    # Given a PDF with a page of text and one that is an image
    both = pypdfium2.PdfDocument.new()
    for data in (pdf_bytes([[FACT]]), files.scan()):
        both.import_pages(pypdfium2.PdfDocument(data), pages=[0])
    monkeypatch.setenv("PATH", "/nowhere")
    # When Tesseract is not installed, then the text is read, and the unread page is counted
    document = read("both.pdf", files._saved(both.save))
    assert document.text == FACT
    assert document.metadata == {"pages": "2", "pages_not_read": "1"}


def test_headers_of_an_email_are_metadata(read: Read) -> None:
    metadata = read("mail.eml", bytes(files.email())).metadata
    assert metadata["subject"] == "Fahrplan für Wien"
    assert metadata["from"] == "Jörg <joerg@example.com>"


def test_an_attachment_that_cannot_be_read_is_named_and_the_rest_is_read(read: Read) -> None:
    message = files.email()
    message.add_attachment(
        pdf_bytes([["x"]], password="y"), maintype="application", subtype="pdf", filename="locked.pdf"
    )
    document = read("mail.eml", bytes(message))
    assert "Attachment: locked.pdf" in document.text
    assert "This attachment was not read: The file is encrypted." in document.text
    assert FACT in document.text


def test_an_attachment_that_breaks_its_parser_is_named_and_the_rest_is_read(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_source: object) -> None:
        raise NotImplementedError("no such compression")

    monkeypatch.setattr("ingest.parsers.office.xlsx.parse", broken)
    document = read("mail.eml", bytes(files.email()))
    assert "This attachment was not read: It is broken: NotImplementedError." in document.text
    assert FACT in document.text


@pytest.mark.parametrize("start", ["BZh is", "ID3 tags are", "OggS is", "GIF89a is", "BM", "Rar! and", "abcdftyp"])
def test_texts_that_begin_like_other_formats_are_still_text(read: Read, start: str) -> None:
    assert read("note.txt", f"{start} {FACT}".encode()).text == f"{start} {FACT}"
