"""PDF: the text of each page, headings from the outline, form values, comments and attached files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from itertools import chain

import pypdfium2
from pypdfium2 import raw

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.archives import ENCRYPTED
from ingest.parsers.attachments import Attachment, add_attachments
from ingest.parsers.lines import add_page, normalise_spaces
from ingest.parsers.ocr import MISSING, find_tesseract
from ingest.parsers.pdf.annotations import embedded_files, read_annotations
from ingest.parsers.pdf.missing_header import pdf_input
from ingest.parsers.pdf.scans import ScannedPages, text_layer
from ingest.parsers.source import SourceFile

log = logging.getLogger(__name__)

#: The upper limit for the length of the placeholder page of a dynamic form.
_MAX_PLACEHOLDER_CHARACTERS = 1500
_DYNAMIC_FORM = (
    "The PDF is a dynamic form (XFA), which only Adobe programs show. Print it to a PDF there and drop that file."
)
_BROKEN_PAGES = "The PDF is broken: none of its pages can be read."
_NO_TESSERACT = f"The PDF has no text layer: its pages are images. {MISSING}"


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the pages, their annotations and the attached files.

    Pages that are images are read by OCR if Tesseract is installed.

    Raises:
        DocumentRejected: If the PDF is broken or encrypted, or has no text that can be read.
    """
    document = _open(source)
    builder = DocumentBuilder()
    try:
        _open_forms(document)
        outline = _outline(document)
        scans = ScannedPages(source.options)
        scans.check_count(document)
        files: list[Attachment] = []
        for index in range(len(document)):
            files += _add_page(builder, document, index, scans, outline.get(index, {}))
        _check_dynamic_form(document, builder)
        # Embedded files are loaded one at a time, because all together may not fit into memory.
        attachments = chain(files, embedded_files(document))
        add_attachments(builder, attachments, source, level=0, has_pages=True)
        count = len(document)
    finally:
        document.close()
    parsed = builder.build(source.media_type, pages=str(count), **scans.metadata)
    if not parsed.elements:
        if scans.failure is not None:
            raise scans.failure
        if scans.skipped:
            raise DocumentRejected(_BROKEN_PAGES if find_tesseract() else _NO_TESSERACT, code="unsupported_file")
        raise DocumentRejected("The PDF is empty: no text was found on its pages.", code="empty_file")
    return parsed


def _open_forms(document: pypdfium2.PdfDocument) -> None:
    try:
        document.init_forms()
    except pypdfium2.PdfiumError as error:
        log.warning("the form of a PDF is broken, its values are not read: %s", error)


def _add_page(
    builder: DocumentBuilder,
    document: pypdfium2.PdfDocument,
    index: int,
    scans: ScannedPages,
    titles: Mapping[str, int],
) -> list[Attachment]:
    """Append a page and return the files attached to it. A page that cannot be read is skipped and counted."""
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        scans.skipped += 1
        return []
    try:
        text = text_layer(page)
        add_page(builder, scans.read(page, text), index + 1, titles)
        annotations = read_annotations(document, page, text)
        annotations.add_to(builder, index + 1)
        return annotations.files
    finally:
        page.close()


def _check_dynamic_form(document: pypdfium2.PdfDocument, builder: DocumentBuilder) -> None:
    """Refuse a dynamic form whose only page is a placeholder.

    Raises:
        DocumentRejected: If the PDF is such a form.
    """
    if document.get_formtype() == raw.FORMTYPE_XFA_FULL and builder.length < _MAX_PLACEHOLDER_CHARACTERS:
        raise DocumentRejected(_DYNAMIC_FORM, code="unsupported_file")


def _open(source: SourceFile) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(pdf_input(source.path))
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise DocumentRejected(ENCRYPTED) from error
        raise DocumentRejected("The PDF is broken: it cannot be opened. It may have been cut off.") from error
    if len(document) == 0:
        document.close()
        raise DocumentRejected("The PDF is broken: it has no pages.")
    return document


def _outline(document: pypdfium2.PdfDocument) -> dict[int, dict[str, int]]:
    """Return the titles of the outline with their levels, by page index."""
    titles: dict[int, dict[str, int]] = {}
    try:
        for mark in document.get_toc():
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            if index is not None:
                titles.setdefault(index, {})[normalise_spaces(mark.get_title())] = mark.level
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        # The outline is not part of the text. If it is broken, headings are read as paragraphs.
        return {}
    return titles
