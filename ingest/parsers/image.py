"""Images of text, such as photographs, scans and screenshots, read by OCR. Each frame is a page.

Ours is what is between Pillow and Tesseract: limits, orientation, and pages that are not read.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from PIL import Image, ImageOps, ImageSequence

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers import ocr
from ingest.parsers.archives import FILE_ERRORS
from ingest.parsers.detection import HEIC
from ingest.parsers.lines import add_page
from ingest.parsers.source import SourceFile

# Pillow's own size check is off, because it only warns at first. `_check_pixels` refuses large images before decoding.
Image.MAX_IMAGE_PIXELS = None


def parse(source: SourceFile) -> ParsedDocument:
    """Return the text that Tesseract finds.

    Raises:
        DocumentRejected: If Tesseract is not installed, or the image is broken, too large, or without text.
    """
    if ocr.find_tesseract() is None:
        raise DocumentRejected(ocr.MISSING, code="unsupported_file")
    if source.media_type == HEIC:
        importlib.import_module("pillow_heif").register_heif_opener()
    builder = DocumentBuilder()
    try:
        with Image.open(source.path) as image:
            pages = _add_frames(builder, image, source)
    except FILE_ERRORS as error:
        raise DocumentRejected(f"The image is broken: {error}".rstrip(".") + ".") from error
    not_read = {"pages_not_read": str(pages.not_read)} if pages.not_read else {}
    document = builder.build(source.media_type, pages=str(pages.count), **not_read)
    if not document.elements:
        if pages.failure is not None:
            raise pages.failure
        raise DocumentRejected("No text was found in the image.", code="empty_file")
    return document


@dataclass(slots=True)
class _Pages:
    count: int = 0
    not_read: int = 0
    #: The reason of the last page that was not read.
    failure: DocumentRejected | None = None


def _add_frames(builder: DocumentBuilder, image: Image.Image, source: SourceFile) -> _Pages:
    limit, pages = source.options.ocr_max_pages, _Pages()
    # Only TIFF has pages; the frames of an animation repeat each other.
    frames = ImageSequence.Iterator(image) if image.format == "TIFF" else [image]
    for page, frame in enumerate(frames, start=1):
        if page > limit:
            raise DocumentRejected(f"The image has more pages than OCR_MAX_PAGES allows ({limit}).")
        _check_pixels(frame)
        pages.count = page
        try:
            add_page(builder, ocr.read_page(ImageOps.exif_transpose(frame), source.options), page)
        except DocumentRejected as rejection:
            # The other pages are still useful; if there are none, this is the reason.
            pages.not_read, pages.failure = pages.not_read + 1, rejection
    return pages


def _check_pixels(image: Image.Image) -> None:
    pixels = image.width * image.height
    if pixels > ocr.MAX_PIXELS:
        raise DocumentRejected(
            f"The image has {pixels // 10**6} megapixels; {ocr.MAX_PIXELS // 10**6} are allowed. Scale it down."
        )
