"""Reads PDF pages that are images by OCR, even if they have a page number, a stamp or a fax line as text.

Pages are rendered one after the other, since PDFium has no threads, and read by several processes at the same time.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import pypdfium2
from pypdfium2 import raw

from core.errors import DocumentRejected
from ingest.parsers.ocr import find_tesseract, read_page
from ingest.parsers.pdf.text_quality import DOUBTFUL, LEAST_PLAUSIBILITY, plausibility, same_words
from ingest.parsers.source import ParserOptions
from ingest.sandbox.process_limits import extend_cpu_limit

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
#: A text layer with fewer of the words that an OCR sees is another text.
_MIN_SAME_WORDS = 0.25
#: Pictures on a page with text can hold text if they have this share of the page, and sides of this many points and
#: pixels.
_MIN_PICTURE_SHARE, _MIN_PICTURE_POINTS, _MIN_PICTURE_PIXELS = 0.02, 40.0, 100
#: Processes that read pages at the same time, at most, and the processor time that a page adds to the file's limit.
_MAX_PROCESSES = 4
_CPU_SECONDS_PER_PAGE = 2.0

Text = Callable[[], str]


class ScannedPages:
    """Reads the pages of a document that are images, up to the limits of the options."""

    def __init__(self, options: ParserOptions) -> None:
        self._options = options
        self._available = find_tesseract() is not None
        self._processes = min(_MAX_PROCESSES, len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else 2
        self._executor: ThreadPoolExecutor | None = None
        self._running: list[Future[str]] = []
        self._end = time.monotonic() + options.ocr_seconds
        self._begun = 0
        self._agreed = False
        #: The number of pages that were read by OCR, of those that could not be read, of those whose text layer is
        #: gibberish, and of the pictures that were read.
        self.read_count = 0
        self.skipped = 0
        self.gibberish = 0
        self.pictures = 0
        #: Why pages were not read: the error of the last page that Tesseract failed on, or the limit that was reached.
        self.failure: DocumentRejected | None = None

    @property
    def metadata(self) -> dict[str, str]:
        """The numbers of pages and pictures that were read by OCR, and of pages that could not be read, if not zero."""
        counts = {
            "pages_by_ocr": self.read_count,
            "pictures_by_ocr": self.pictures,
            "pages_not_read": self.skipped,
            "pages_with_broken_text": self.gibberish,
        }
        return {name: str(count) for name, count in counts.items() if count}

    @property
    def cpu_seconds(self) -> float:
        """The processor time that the pages read by OCR add to the limit of the file."""
        return self._begun * _CPU_SECONDS_PER_PAGE

    @contextmanager
    def running(self) -> Iterator[None]:
        """End all processes at the exit of the block."""
        try:
            yield
        finally:
            if self._executor is not None:
                self._executor.shutdown(wait=False, cancel_futures=True)

    def read(self, page: pypdfium2.PdfPage, text: str, *, is_hidden: bool = False) -> Text | None:
        """Return the text of a page as a function that waits for the OCR, or None if the page's own text is enough.

        Args:
            page: The page.
            text: Its own text, without what is hidden.
            is_hidden: Whether it has hidden text, which is no reason to read the page by OCR.
        """
        letters = _count_letters(text)
        if not letters:
            return self._read_image(page, "") if _has_drawing(page) else None
        plausible = plausibility(text)
        if plausible < LEAST_PLAUSIBILITY:
            return self._replace_gibberish(page, text)
        if letters < _MIN_TEXT_CHARACTERS and not is_hidden and _is_scan(page, letters):
            return self._read_image(page, text)
        if self._available and not self._agreed and plausible < DOUBTFUL:
            return self._compare(page, text)
        return None

    def read_pictures(self, page: pypdfium2.PdfPage) -> list[Text]:
        """Return the texts of the pictures on a page with text that are large enough to hold text."""
        if not self._available:
            return []
        width, height = page.get_size()
        found: list[Text] = []
        for item in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=_MAX_OBJECT_DEPTH):
            if not _may_hold_text(cast("pypdfium2.PdfImage", item), width * height) or not self._may_begin():
                continue
            try:
                image = cast("Image", item.get_bitmap(render=True).to_pil())
            except (pypdfium2.PdfiumError, ValueError, OSError):
                continue
            future = self._begin(image)
            found.append(lambda future=future: self._picture_text(future))  # type: ignore[misc]
        return found

    def _read_image(self, page: pypdfium2.PdfPage, text: str) -> Text:
        if not self._available or not self._may_begin():
            self.skipped += 1
            return lambda: text
        image = _render(page)
        if image is None:
            self.skipped += 1
            return lambda: text
        future = self._begin(image)
        return lambda: self._better_text(future, text)

    def _better_text(self, future: Future[str], text: str) -> str:
        found = self._result(future)
        if found is None:
            self.skipped += 1
            return text
        self.read_count += 1
        return _merge_text(text, found) if _count_letters(found) > _MIN_OCR_GAIN * _count_letters(text) else text

    def _replace_gibberish(self, page: pypdfium2.PdfPage, text: str) -> Text:
        self.gibberish += 1
        image = _render(page) if self._available and self._may_begin() else None
        if image is None:
            self.skipped += 1
            return lambda: ""
        future = self._begin(image)

        def seen() -> str:
            found = self._result(future)
            if found is None or plausibility(found) < plausibility(text):
                self.skipped += 1
                return ""
            self.read_count += 1
            return found

        return seen

    def _compare(self, page: pypdfium2.PdfPage, text: str) -> Text | None:
        """Compare a doubtful text layer with what is seen; one page that agrees stands for the others."""
        image = _render(page) if self._may_begin() else None
        found = self._result(self._begin(image)) if image is not None else None
        if found is None:
            return None
        if plausibility(found) <= plausibility(text) or same_words(found, text) >= _MIN_SAME_WORDS:
            self._agreed = True
            return None
        self.gibberish += 1
        self.read_count += 1
        return lambda: found

    def _picture_text(self, future: Future[str]) -> str:
        found = self._result(future) or ""
        if _count_letters(found) < _MIN_OCR_LAYER_CHARACTERS:
            return ""
        self.pictures += 1
        return found

    def _may_begin(self) -> bool:
        limit = self._options.ocr_max_pages
        if self._begun >= limit:
            self.failure = DocumentRejected(f"The PDF has more scanned pages than OCR_MAX_PAGES allows ({limit}).")
        elif time.monotonic() > self._end:
            seconds = self._options.ocr_seconds
            self.failure = DocumentRejected(f"OCR took longer than {seconds:g} s: raise PARSE_TIMEOUT_SECONDS.")
        else:
            return True
        return False

    def _begin(self, image: Image) -> Future[str]:
        """Let a process read an image. This waits while as many images are being read as there may be processes."""
        self._begun += 1
        extend_cpu_limit(_CPU_SECONDS_PER_PAGE)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._processes, thread_name_prefix="ocr")
        self._running = [future for future in self._running if not future.done()]
        if len(self._running) > self._processes:
            self._running.pop(0).exception()
        future = self._executor.submit(read_page, image, self._options)
        self._running.append(future)
        return future

    def _result(self, future: Future[str]) -> str | None:
        try:
            return future.result()
        except DocumentRejected as rejection:
            # The other pages are still useful; if there are none, this error is the reason.
            self.failure = rejection
            return None


def _may_hold_text(image: pypdfium2.PdfImage, page_area: float) -> bool:
    left, bottom, right, top = image.get_bounds()
    if min(right - left, top - bottom) < _MIN_PICTURE_POINTS or _area(image) < _MIN_PICTURE_SHARE * page_area:
        return False
    return bool(min(image.get_px_size()) >= _MIN_PICTURE_PIXELS)


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
    return bool(covered >= _MIN_IMAGE_SHARE * page_area)


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


def _render(page: pypdfium2.PdfPage) -> Image | None:
    """Render a page as an image, or return None if it has no size. Very large pages get a lower resolution."""
    width, height = page.get_size()
    if width * _OCR_DPI < _POINTS_PER_INCH or height * _OCR_DPI < _POINTS_PER_INCH:
        return None
    scale = min(_OCR_DPI / _POINTS_PER_INCH, math.sqrt(_MAX_RENDERED_PIXELS / max(1.0, width * height)))
    try:
        return cast("Image", page.render(scale=scale, grayscale=True).to_pil())
    except (pypdfium2.PdfiumError, ValueError, OSError):
        return None
