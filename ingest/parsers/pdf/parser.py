"""PDF: text page by page, with the headings that its outline names, forms, comments and files in it."""

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
from ingest.parsers.lines import add_page, words
from ingest.parsers.ocr import MISSING
from ingest.parsers.pdf.notes import embedded_files, read_notes
from ingest.parsers.pdf.scans import ScannedPages, text_layer
from ingest.parsers.source import SourceFile

log = logging.getLogger(__name__)

#: Of the page that stands in a dynamic form for programs that do not know it.
_LONGEST_PLACEHOLDER_CHARACTERS = 1500
_DYNAMIC_FORM = (
    "The PDF is a dynamic form (XFA), which only Adobe's programs show. Print it to a PDF there and drop that one."
)
_NO_TESSERACT = f"The PDF has no text layer: its pages are images. {MISSING}"


def parse(source: SourceFile) -> ParsedDocument:
    """Paragraphs with their page numbers, what is filled in and noted on the pages, and the files that lie in it.

    Pages that are images are read by OCR where Tesseract is installed.

    Raises:
        DocumentRejected: it is broken or encrypted, or has no text that can be read.
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
        # One after the other: together they may be larger than the memory.
        found = chain(files, embedded_files(document))
        add_attachments(builder, found, source, level=0, has_pages=True)
        count = len(document)
    finally:
        document.close()
    parsed = builder.build(source.media_type, pages=str(count), **scans.metadata)
    if not parsed.elements:
        if scans.failure is not None:
            raise scans.failure
        if scans.skipped:
            raise DocumentRejected(_NO_TESSERACT, code="unsupported_file")
        raise DocumentRejected("The PDF is empty: no text was found on its pages.", code="empty_file")
    return parsed


def _open_forms(document: pypdfium2.PdfDocument) -> None:
    try:
        document.init_forms()
    except pypdfium2.PdfiumError as error:
        log.warning("the form in a PDF is broken, its values are not read: %s", error)


def _add_page(
    builder: DocumentBuilder,
    document: pypdfium2.PdfDocument,
    index: int,
    scans: ScannedPages,
    titles: Mapping[str, int],
) -> list[Attachment]:
    """Appends a page and returns the files on it. One that cannot be read is counted: the others are worth having."""
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        scans.skipped += 1
        return []
    try:
        text = text_layer(page)
        add_page(builder, scans.read(page, text), index + 1, titles)
        notes = read_notes(document, page, text)
        notes.add_to(builder, index + 1)
        return notes.files
    finally:
        page.close()


def _check_dynamic_form(document: pypdfium2.PdfDocument, builder: DocumentBuilder) -> None:
    """Refuses forms whose only page says which program shows them.

    Raises:
        DocumentRejected: it is one.
    """
    if document.get_formtype() == raw.FORMTYPE_XFA_FULL and builder.length < _LONGEST_PLACEHOLDER_CHARACTERS:
        raise DocumentRejected(_DYNAMIC_FORM, code="unsupported_file")


def _open(source: SourceFile) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(source.path)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise DocumentRejected(ENCRYPTED) from error
        raise DocumentRejected("The PDF is broken: it cannot be opened. It may have been cut off.") from error
    if len(document) == 0:
        document.close()
        raise DocumentRejected("The PDF is broken: it has no pages.")
    return document


def _outline(document: pypdfium2.PdfDocument) -> dict[int, dict[str, int]]:
    """The titles of the outline by page index, each with its level."""
    titles: dict[int, dict[str, int]] = {}
    try:
        for mark in document.get_toc():
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            if index is not None:
                titles.setdefault(index, {})[words(mark.get_title())] = mark.level
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        # The outline is a help, not the text: without a whole one the headings are paragraphs.
        return {}
    return titles
