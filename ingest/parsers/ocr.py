"""Reads the text of page images with the program `tesseract`."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from core.errors import DocumentRejected
from ingest.parsers.source import ParserOptions
from ingest.sandbox.programs import ProgramFailed, find_program, run_program

if TYPE_CHECKING:
    from PIL.Image import Image

#: Enough for an A3 page at 600 dpi.
MAX_PIXELS = 100_000_000
#: Images whose longer side is below this are enlarged, because Tesseract works best with letters of about 30 pixels.
_SMALL_PIXELS = 1000
_PAGE_CPU_SECONDS = 60
#: Tesseract's modes for automatic page segmentation, with and without orientation detection.
_PSM_WITH_ORIENTATION, _PSM_UPRIGHT = "1", "3"

MISSING = (
    "Reading text from images needs the program tesseract, which is not installed on the server. Install it (for "
    "example: apt-get install tesseract-ocr) and retry the document."
)


def find_tesseract() -> str | None:
    """Return the path of the program, or None if it is not installed."""
    return find_program("tesseract")


def read_page(image: Image, options: ParserOptions) -> str:
    """Return the text of a page with the lines and paragraphs that Tesseract finds.

    Raises:
        DocumentRejected: If Tesseract is not installed, takes too long, or has no data for a language.
    """
    program = find_tesseract()
    if program is None:
        raise DocumentRejected(MISSING, code="unsupported_file")
    command = [program, "stdin", "stdout", "-l", options.ocr_languages, "--psm", _segmentation(program)]
    try:
        output = run_program(command, cpu_seconds=_PAGE_CPU_SECONDS, stdin=_png(image))
        return output.decode(errors="replace")
    except ProgramFailed as error:
        raise DocumentRejected(
            f"Tesseract could not read the image (OCR_LANGUAGES={options.ocr_languages}): {error.message}"
        ) from error


@lru_cache(maxsize=1)
def _segmentation(program: str) -> str:
    """Return the page segmentation mode: with orientation detection if Tesseract has the data for it."""
    try:
        languages = run_program([program, "--list-langs"], cpu_seconds=_PAGE_CPU_SECONDS)
    except ProgramFailed:
        return _PSM_UPRIGHT
    return _PSM_WITH_ORIENTATION if b"osd" in languages.split() else _PSM_UPRIGHT


def _on_white(image: Image) -> Image:
    """Put the image on a white background; otherwise transparent pixels could become black like the letters."""
    if not image.has_transparency_data:
        return image
    from PIL import Image as images

    coloured = image.convert("RGBA")
    paper = images.new("RGBA", coloured.size, "white")
    return images.alpha_composite(paper, coloured)


def _png(image: Image) -> bytes:
    grey = _on_white(image).convert("L")
    if max(grey.size) < _SMALL_PIXELS:
        grey = grey.resize((grey.width * 2, grey.height * 2))
    file = io.BytesIO()
    grey.save(file, "png", compress_level=1)
    return file.getvalue()
