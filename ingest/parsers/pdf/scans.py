"""Pages of a PDF that are images, by OCR; also such as have a number, a stamp or a fax line for their text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import pypdfium2
from pypdfium2 import raw

from core.errors import DocumentRejected
from ingest.parsers.ocr import find_tesseract, read_page
from ingest.parsers.source import ParserOptions

if TYPE_CHECKING:
    from PIL.Image import Image

#: Pages are drawn for OCR at this resolution: what Tesseract was trained at.
_OCR_DPI = 300
_POINTS_PER_INCH = 72
#: A page is drawn with at most so many: more than an A4 page has at that resolution.
_DRAWN_PIXELS = 16_000_000
#: A page with more letters and digits has its text.
_SCANT_CHARACTERS = 150
#: A page with scant text is a scan if images cover so much of it.
_LEAST_COVERED = 0.5
#: A text behind the images of a page is that of OCR if it has so many letters; some programs leave but a stray one.
_FEWEST_BY_OCR = 20
#: What OCR finds is taken for the text of such a page if it is so many times as much.
_LEAST_GAIN = 1.5
_DEPTH = 3


_TOO_MANY = "The PDF has more scanned pages than OCR_MAX_PAGES allows ({limit})."


def text_layer(page: pypdfium2.PdfPage) -> str:
    """The text that a page has without OCR; empty if it cannot be read."""
    try:
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""
    try:
        return str(text_page.get_text_range())
    finally:
        text_page.close()


class ScannedPages:
    """Reads the pages of a document that are images, as many as the options allow."""

    def __init__(self, options: ParserOptions) -> None:
        self._options = options
        self._available = find_tesseract() is not None
        self._read = 0
        #: Pages that could not be read, and why not the last one that Tesseract failed on.
        self.skipped = 0
        self.failure: DocumentRejected | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """How many pages were read, and how many could not be."""
        counts = {"pages_by_ocr": self._read, "pages_not_read": self.skipped}
        return {name: str(count) for name, count in counts.items() if count}

    def check_count(self, document: pypdfium2.PdfDocument) -> None:
        """Sees whether a long document has too many scanned pages before hours go into the first of them.

        Raises:
            DocumentRejected: it has more than OCR_MAX_PAGES allows.
        """
        limit = self._options.ocr_max_pages
        if not self._available or len(document) <= limit:
            return
        scanned = 0
        for index in range(len(document)):
            scanned += _needs_ocr(document, index)
            if scanned > limit:
                raise DocumentRejected(_TOO_MANY.format(limit=limit))

    def read(self, page: pypdfium2.PdfPage, text: str) -> str:
        """The text of a page: its own `text` if it has enough, else what is written in its images.

        Raises:
            DocumentRejected: there are more pages without text than OCR_MAX_PAGES allows.
        """
        if not text.strip():
            return self._read_image(page) if _has_drawing(page) else ""
        if _letters(text) >= _SCANT_CHARACTERS or not _is_scan(page, _letters(text)):
            return text
        if self._read == self._options.ocr_max_pages:
            # What the page says itself is there; that there is more is said in the document's properties.
            self.skipped += 1
            return text
        found = self._read_image(page)
        return _joined(text, found) if _letters(found) > _LEAST_GAIN * _letters(text) else text

    def _read_image(self, page: pypdfium2.PdfPage) -> str:
        if not self._available:
            self.skipped += 1
            return ""
        limit = self._options.ocr_max_pages
        if self._read == limit:
            raise DocumentRejected(_TOO_MANY.format(limit=limit))
        self._read += 1
        try:
            return read_page(_drawn(page), self._options)
        except DocumentRejected as rejection:
            # The other pages are worth having; if there are none, this is the reason.
            self.failure = rejection
            self.skipped += 1
            return ""


def _needs_ocr(document: pypdfium2.PdfDocument, index: int) -> bool:
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return False
    try:
        # A page with an image or lines alone has little to look at, unlike one with text.
        return _has_drawing(page) and not text_layer(page).strip()
    finally:
        page.close()


def _has_drawing(page: pypdfium2.PdfPage) -> bool:
    return any(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_PATH], max_depth=_DEPTH))


def _is_scan(page: pypdfium2.PdfPage, letters: int) -> bool:
    """Whether images cover the page and none of its text is the invisible one that OCR has put behind them."""
    width, height = page.get_size()
    covered = 0.0
    page_area: float = width * height
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_TEXT], max_depth=_DEPTH):
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            covered += _area(item)
        elif letters >= _FEWEST_BY_OCR and raw.FPDFTextObj_GetTextRenderMode(item) == raw.FPDF_TEXTRENDERMODE_INVISIBLE:
            return False
    return covered >= _LEAST_COVERED * page_area


def _area(item: pypdfium2.PdfObject) -> float:
    """In square points of the page: what lies in a form is measured in the form's own units."""
    left, bottom, right, top = item.get_bounds()
    area: float = abs((right - left) * (top - bottom))
    holder = item.container
    while holder is not None:
        matrix = holder.get_matrix()
        area *= abs(matrix.a * matrix.d - matrix.b * matrix.c)
        holder = holder.container
    return area


def _letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _joined(text: str, found: str) -> str:
    """What OCR found, below those lines of the page's own text that it did not find."""
    known = set(found.lower().split())
    missing = [line for line in text.splitlines() if not set(line.lower().split()) <= known]
    return "\n".join([*missing, "", found]) if missing else found


def _drawn(page: pypdfium2.PdfPage) -> Image:
    """A page as an image. One of several metres is drawn at a lower resolution."""
    width, height = page.get_size()
    scale = min(_OCR_DPI / _POINTS_PER_INCH, math.sqrt(_DRAWN_PIXELS / max(1.0, width * height)))
    return cast("Image", page.render(scale=scale, grayscale=True).to_pil())
