"""PDF: the text of each page, headings from the outline, form values, comments and attached files."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from itertools import chain

import pypdfium2
from pypdfium2 import raw

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument, check_length, title_property
from ingest.parsers.archives import ENCRYPTED
from ingest.parsers.attachments import Attachment, add_attachments
from ingest.parsers.lines import normalise_spaces
from ingest.parsers.ocr import MISSING, find_tesseract
from ingest.parsers.pdf.annotations import embedded_files, read_annotations, struck_areas
from ingest.parsers.pdf.flow import Flow, Page
from ingest.parsers.pdf.missing_header import pdf_input
from ingest.parsers.pdf.page_layout import read_layout
from ingest.parsers.pdf.scans import ScannedPages, Text
from ingest.parsers.source import ParserOptions, SourceFile

log = logging.getLogger(__name__)

#: The upper limit for the length of the placeholder page of a dynamic form.
_MAX_PLACEHOLDER_CHARACTERS = 1500
_DYNAMIC_FORM = (
    "The PDF is a dynamic form (XFA), which only Adobe programs show. Print it to a PDF there and drop that file."
)
#: Further pages are counted as not read.
_MAX_PAGES = 10_000
_GIBBERISH = (
    "The text layer of the PDF is broken: its characters are not those that people see, and no OCR has read its pages."
)
_BROKEN_PAGES = "The PDF is broken: none of its pages can be read."
_NO_TESSERACT = f"The PDF has no text layer: its pages are images. {MISSING}"


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the pages, their annotations and the attached files.

    Pages that are images, and pictures, are read by OCR if Tesseract is installed.

    Raises:
        DocumentRejected: If the PDF is broken or encrypted, or has no text that can be read.
    """
    document = _open(source)
    builder = DocumentBuilder()
    scans = ScannedPages(source.options)
    try:
        _open_forms(document)
        count = len(document)
        named = title_property(document.get_metadata_value("Title"), source.filename)
        with scans.running():
            reader = _Reader(document, scans, source.options)
            pages = reader.read(min(count, _MAX_PAGES))
            scans.skipped += max(0, count - _MAX_PAGES)
            Flow(builder, _outline(document)).write([page.finish() for page in pages])
        _check_dynamic_form(document, builder)
        # Embedded files are loaded one at a time, because all together may not fit into memory.
        attachments = chain(reader.files, embedded_files(document))
        add_attachments(builder, attachments, source, level=0, has_pages=True)
    finally:
        document.close()
    parsed = builder.build(source.media_type, pages=str(count), **named, **scans.metadata, **reader.metadata)
    if not parsed.elements:
        raise _nothing_read(scans)
    return parsed


def _nothing_read(scans: ScannedPages) -> DocumentRejected:
    """Return the reason why a PDF has no text."""
    if scans.failure is not None:
        return scans.failure
    if scans.gibberish:
        return DocumentRejected(_GIBBERISH if find_tesseract() else f"{_GIBBERISH} {MISSING}", code="unsupported_file")
    if scans.skipped:
        return DocumentRejected(_NO_TESSERACT if find_tesseract() is None else _BROKEN_PAGES, code="unsupported_file")
    return DocumentRejected("The PDF is empty: no text was found on its pages.", code="empty_file")


@dataclass(slots=True)
class _ReadPage:
    """A page, with what is still being read by OCR."""

    page: Page
    scan: Text | None
    pictures: list[Text]

    def finish(self) -> Page:
        """Wait for the OCR, and return the page with its results."""
        if self.scan is not None:
            self.page.scanned = self.scan()
        self.page.extras += [(ElementKind.PARAGRAPH, text) for picture in self.pictures if (text := picture().strip())]
        return self.page


class _Reader:
    """Reads the pages of a document. A page that cannot be read is skipped and counted."""

    def __init__(self, document: pypdfium2.PdfDocument, scans: ScannedPages, options: ParserOptions) -> None:
        self._end = time.process_time() + options.page_cpu_seconds
        self._document = document
        self._scans = scans
        self._hidden_characters = 0
        self._characters = 0
        self._shown_layers: set[str] = set()
        self.files: list[Attachment] = []

    @property
    def metadata(self) -> dict[str, str]:
        """The number of characters that nobody sees and that were left out, if not zero."""
        return {"hidden_characters": str(self._hidden_characters)} if self._hidden_characters else {}

    def read(self, count: int) -> list[_ReadPage]:
        """Return the first pages of the document, as many as can be read in the time for them."""
        pages: list[_ReadPage] = []
        for index in range(count):
            if pages and time.process_time() > self._end + self._scans.cpu_seconds:
                self._scans.skipped += count - index
                break
            try:
                page = self._document[index]
            except pypdfium2.PdfiumError:
                self._scans.skipped += 1
                continue
            try:
                pages.append(self._read_page(page, index))
            finally:
                page.close()
        return pages

    def _read_page(self, page: pypdfium2.PdfPage, index: int) -> _ReadPage:
        layout = read_layout(page, struck_areas(page), self._shown_layers)
        text = layout.text
        self._hidden_characters += layout.hidden_characters
        self._characters += len(text)
        check_length(self._characters)
        scan = self._scans.read(page, text, is_hidden=layout.hidden_characters > 0)
        read = Page(index, layout.blocks if scan is None else [], layout.box)
        pictures = self._scans.read_pictures(page) if scan is None and layout.has_pictures else []
        annotations = read_annotations(self._document, page, layout)
        read.extras = annotations.elements()
        self.files += annotations.files
        return _ReadPage(read, scan, pictures)


def _open_forms(document: pypdfium2.PdfDocument) -> None:
    try:
        document.init_forms()
    except pypdfium2.PdfiumError as error:
        log.warning("the form of a PDF is broken, its values are not read: %s", error)


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
