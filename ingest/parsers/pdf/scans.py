"""Reads PDF pages that are images by OCR, even if they have a page number, a stamp or a fax line as text."""

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

#: The resolution at which pages are rendered for OCR; Tesseract is trained on it.
_OCR_DPI = 300
_POINTS_PER_INCH = 72
#: The limit for a rendered page: more than an A4 page at that resolution.
_MAX_RENDERED_PIXELS = 16_000_000
#: A page with at least this many letters and digits has a complete text layer.
_MIN_TEXT_CHARACTERS = 150
#: A page with little text is a scan if images cover at least this share of it.
_MIN_IMAGE_SHARE = 0.5
#: Invisible text is an OCR layer if the page has at least this many letters; some programs leave a stray one.
_MIN_OCR_LAYER_CHARACTERS = 20
#: The OCR result replaces the text of a scan with little text only if it has this many times as many letters.
_MIN_OCR_GAIN = 1.5
_MAX_OBJECT_DEPTH = 3


_TOO_MANY = "The PDF has more scanned pages than OCR_MAX_PAGES allows ({limit})."


def text_layer(page: pypdfium2.PdfPage) -> str:
    """Return the text that a page has without OCR, or an empty string if it cannot be read."""
    try:
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError:
        return ""
    try:
        return str(text_page.get_text_range())
    finally:
        text_page.close()


class ScannedPages:
    """Reads the pages of a document that are images, up to the limit of the options."""

    def __init__(self, options: ParserOptions) -> None:
        self._options = options
        self._available = find_tesseract() is not None
        self._read = 0
        #: The number of pages that could not be read, and the error of the last page that Tesseract failed on.
        self.skipped = 0
        self.failure: DocumentRejected | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The number of pages read by OCR, and of pages that could not be read, if not zero."""
        counts = {"pages_by_ocr": self._read, "pages_not_read": self.skipped}
        return {name: str(count) for name, count in counts.items() if count}

    def check_count(self, document: pypdfium2.PdfDocument) -> None:
        """Refuse a long document with too many scanned pages before spending hours on the first ones.

        Raises:
            DocumentRejected: If it has more scanned pages than OCR_MAX_PAGES allows.
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
        """Return the text of a page: its own `text` if that is enough, otherwise the OCR result.

        Raises:
            DocumentRejected: If there are more pages without text than OCR_MAX_PAGES allows.
        """
        if not text.strip():
            return self._read_image(page) if _has_drawing(page) else ""
        if _count_letters(text) >= _MIN_TEXT_CHARACTERS or not _is_scan(page, _count_letters(text)):
            return text
        if self._read == self._options.ocr_max_pages:
            # The page keeps its own text; the document's metadata reports that it was not read completely.
            self.skipped += 1
            return text
        found = self._read_image(page)
        return _merge_text(text, found) if _count_letters(found) > _MIN_OCR_GAIN * _count_letters(text) else text

    def _read_image(self, page: pypdfium2.PdfPage) -> str:
        if not self._available:
            self.skipped += 1
            return ""
        limit = self._options.ocr_max_pages
        if self._read == limit:
            raise DocumentRejected(_TOO_MANY.format(limit=limit))
        self._read += 1
        try:
            return read_page(_render(page), self._options)
        except DocumentRejected as rejection:
            # The other pages are still useful; if there are none, this error is the reason.
            self.failure = rejection
            self.skipped += 1
            return ""


def _needs_ocr(document: pypdfium2.PdfDocument, index: int) -> bool:
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return False
    try:
        # This check comes first because it is fast on pages with only images or lines.
        return _has_drawing(page) and not text_layer(page).strip()
    finally:
        page.close()


def _has_drawing(page: pypdfium2.PdfPage) -> bool:
    return any(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_PATH], max_depth=_MAX_OBJECT_DEPTH))


def _is_scan(page: pypdfium2.PdfPage, letters: int) -> bool:
    """Return whether images cover the page and it has no invisible text, which an earlier OCR would have added."""
    width, height = page.get_size()
    covered = 0.0
    page_area: float = width * height
    for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_TEXT], max_depth=_MAX_OBJECT_DEPTH):
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            covered += _area(item)
        elif letters >= _MIN_OCR_LAYER_CHARACTERS and _is_invisible(item):
            return False
    return covered >= _MIN_IMAGE_SHARE * page_area


def _is_invisible(text: pypdfium2.PdfObject) -> bool:
    return bool(raw.FPDFTextObj_GetTextRenderMode(text) == raw.FPDF_TEXTRENDERMODE_INVISIBLE)


def _area(item: pypdfium2.PdfObject) -> float:
    """Return the area of an object in square points of the page; bounds inside a form are in the form's units."""
    left, bottom, right, top = item.get_bounds()
    area: float = abs((right - left) * (top - bottom))
    holder = item.container
    while holder is not None:
        matrix = holder.get_matrix()
        area *= abs(matrix.a * matrix.d - matrix.b * matrix.c)
        holder = holder.container
    return area


def _count_letters(text: str) -> int:
    return sum(map(str.isalnum, text))


def _merge_text(text: str, found: str) -> str:
    """Return the OCR result, preceded by the lines of the page's own text that it lacks."""
    known = set(found.lower().split())
    missing = [line for line in text.splitlines() if not set(line.lower().split()) <= known]
    return "\n".join([*missing, "", found]) if missing else found


def _render(page: pypdfium2.PdfPage) -> Image:
    """Render a page as an image. Very large pages get a lower resolution."""
    width, height = page.get_size()
    scale = min(_OCR_DPI / _POINTS_PER_INCH, math.sqrt(_MAX_RENDERED_PIXELS / max(1.0, width * height)))
    return cast("Image", page.render(scale=scale, grayscale=True).to_pil())
