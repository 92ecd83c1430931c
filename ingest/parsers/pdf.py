"""PDF: the text layer, page by page, with the headings that its outline names; scanned pages by OCR."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import pypdfium2
from pypdfium2 import raw

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ParsedDocument
from ingest.parsers.archives import ENCRYPTED
from ingest.parsers.lines import add_page, words
from ingest.parsers.ocr import MISSING, find_tesseract, read_page
from ingest.parsers.source import ParserOptions, SourceFile

if TYPE_CHECKING:
    from PIL.Image import Image

#: Titles of the outline by page index, each with its level.
Outline = Mapping[int, Mapping[str, int]]

#: Pages are drawn for OCR at this resolution: what Tesseract was trained at.
_OCR_DPI = 300
_POINTS_PER_INCH = 72
#: A page is drawn with at most so many: more than an A4 page has at that resolution.
_DRAWN_PIXELS = 16_000_000
_NO_TESSERACT = f"The PDF has no text layer: its pages are images. {MISSING}"


def parse(source: SourceFile) -> ParsedDocument:
    """Paragraphs with their page numbers. Pages without a text layer are read by OCR where Tesseract is installed.

    Raises:
        DocumentRejected: it is broken or encrypted, or has no text that can be read.
    """
    document = _open(source)
    builder = DocumentBuilder()
    try:
        outline = _outline(document)
        scans = _ScannedPages(source.options)
        count = len(document)
        for index in range(count):
            text = _page_text(document, index)
            if not text.strip():
                text = scans.read(document, index)
            add_page(builder, text, index + 1, outline.get(index, {}))
    finally:
        document.close()
    parsed = builder.build(source.media_type, pages=str(count), **scans.metadata)
    if not parsed.elements:
        if scans.skipped:
            raise DocumentRejected(_NO_TESSERACT, code="unsupported_file")
        raise DocumentRejected("The PDF is empty: no text was found on its pages.", code="empty_file")
    return parsed


class _ScannedPages:
    """Reads pages that are images."""

    def __init__(self, options: ParserOptions) -> None:
        self._options = options
        self._available = find_tesseract() is not None
        self._read = 0
        #: Pages with an image and no text that nobody could read.
        self.skipped = 0

    @property
    def metadata(self) -> dict[str, str]:
        counts = {"pages_by_ocr": self._read, "pages_not_read": self.skipped}
        return {name: str(count) for name, count in counts.items() if count}

    def read(self, document: pypdfium2.PdfDocument, index: int) -> str:
        """The text of a page, empty if there is no image on it or Tesseract is not installed."""
        try:
            page = document[index]
        except pypdfium2.PdfiumError:
            return ""
        try:
            if not any(page.get_objects(filter=(raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_PATH), max_depth=3)):
                return ""
            if not self._available:
                self.skipped += 1
                return ""
            self._count_page()
            return read_page(_drawn(page), self._options)
        finally:
            page.close()

    def _count_page(self) -> None:
        limit = self._options.ocr_max_pages
        if self._read == limit:
            raise DocumentRejected(f"The PDF has more scanned pages than OCR_MAX_PAGES allows ({limit}).")
        self._read += 1


def _drawn(page: pypdfium2.PdfPage) -> Image:
    """A page as an image. One of several metres is drawn at a lower resolution."""
    width, height = page.get_size()
    scale = min(_OCR_DPI / _POINTS_PER_INCH, math.sqrt(_DRAWN_PIXELS / max(1.0, width * height)))
    return cast("Image", page.render(scale=scale, grayscale=True).to_pil())


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


def _page_text(document: pypdfium2.PdfDocument, index: int) -> str:
    """The text of a page; empty for a page that cannot be read: the others are worth having."""
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return ""
    text_page = page.get_textpage()
    try:
        return str(text_page.get_text_range())
    finally:
        text_page.close()
        page.close()


def _outline(document: pypdfium2.PdfDocument) -> dict[int, dict[str, int]]:
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
