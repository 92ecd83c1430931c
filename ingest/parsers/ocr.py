"""Text from images of pages, by the program `tesseract`."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from core.errors import DocumentRejected
from ingest.parsers.source import ParserOptions
from ingest.sandbox.programs import ProgramFailed, find_program, run_program

if TYPE_CHECKING:
    from PIL.Image import Image

#: More than an A3 page at 600 dpi.
MAX_PIXELS = 100_000_000
#: Smaller images are enlarged: Tesseract wants letters of about 30 pixels.
_SMALL_PIXELS = 1000
_PAGE_SECONDS = 60
#: Tesseract's numbers for automatic page segmentation, with and without finding out which side is up.
_ANY_SIDE_UP, _UPRIGHT = "1", "3"

MISSING = (
    "Reading text from images needs the program tesseract, which is not installed on the server. Install it (for "
    "example: apt-get install tesseract-ocr) and retry the document."
)


def find_tesseract() -> str | None:
    """The path of the program, if it is installed."""
    return find_program("tesseract")


def read_page(image: Image, options: ParserOptions) -> str:
    """The text of a page, lines and paragraphs as Tesseract finds them.

    Raises:
        DocumentRejected: Tesseract is not installed, or takes too long, or has no data for a language.
    """
    program = find_tesseract()
    if program is None:
        raise DocumentRejected(MISSING, code="unsupported_file")
    command = [program, "stdin", "stdout", "-l", options.ocr_languages, "--psm", _segmentation(program)]
    try:
        return run_program(command, timeout_seconds=_PAGE_SECONDS, stdin=_png(image)).decode(errors="replace")
    except ProgramFailed as error:
        raise DocumentRejected(
            f"Tesseract could not read the image (OCR_LANGUAGES={options.ocr_languages}): {error.message}"
        ) from error


@lru_cache(maxsize=1)
def _segmentation(program: str) -> str:
    """How pages are divided: with a look at which side is up, where Tesseract has the data for that."""
    try:
        languages = run_program([program, "--list-langs"], timeout_seconds=_PAGE_SECONDS).decode(errors="replace")
    except ProgramFailed:
        return _UPRIGHT
    return _ANY_SIDE_UP if "osd" in languages.split() else _UPRIGHT


def _on_white(image: Image) -> Image:
    """What is transparent is paper: without its transparency it would be black, as the letters are."""
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
