"""Reads the text of page images with the program `tesseract`, in the orientation that gives words."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from core.errors import DocumentRejected
from ingest.parsers.letter_statistics import is_gibberish
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

#: Tesseract's rows of what it has found: the number of columns, and the level of words.
_TSV_COLUMNS, _WORD_LEVEL = 12, "5"
#: Upright pages are read with a confidence of 70 to 97, pages upside down with 30 to 50.
_CONFIDENT, _DOUBTFUL = 60.0, 55.0
_TURNS = (180, 90, 270)
#: A few characters may be certain by chance.
_MIN_CHARACTERS_SHARE = 0.5

_UNREADABLE = (
    "No words were found in the image that can be believed: it may be blurred, handwritten, a picture without text, or "
    "in a language that OCR_LANGUAGES ({languages}) does not name."
)
MISSING = (
    "Reading text from images needs the program tesseract, which is not installed on the server. Install it (for "
    "example: apt-get install tesseract-ocr) and retry the document."
)


def find_tesseract() -> str | None:
    """Return the path of the program, or None if it is not installed."""
    return find_program("tesseract")


class NoWordsFound(DocumentRejected):
    """Tesseract finds nothing in an image that can be words."""

    default_code = "empty_file"


@dataclass(frozen=True, slots=True)
class _Reading:
    """What Tesseract has read, with its confidence from 0 to 100, the mean of all characters."""

    text: str
    confidence: float
    characters: int


def read_page(image: Image, options: ParserOptions, *, is_upright: bool = False) -> str:
    """Return the text of a page with the lines and paragraphs that Tesseract finds.

    Tesseract finds the orientation of a page by itself if it has enough letters. Others are turned if what is read is
    doubtful, unless they are known to be upright.

    Raises:
        NoWordsFound: If Tesseract finds no words that can be believed.
        DocumentRejected: If Tesseract is not installed, takes too long, or has no data for a language.
    """
    program = find_tesseract()
    if program is None:
        raise DocumentRejected(MISSING, code="unsupported_file")
    best = _read(program, image, options)
    characters = best.characters
    for degrees in _TURNS if characters and not is_upright else ():
        if best.confidence >= _CONFIDENT:
            break
        try:
            turned = _read(program, image.rotate(degrees, expand=True), options)
        except DocumentRejected:
            # What was read the other way round may still be text.
            break
        if turned.confidence > best.confidence and turned.characters >= characters * _MIN_CHARACTERS_SHARE:
            best = turned
    if best.characters and best.confidence < _DOUBTFUL and is_gibberish(best.text):
        raise NoWordsFound(_UNREADABLE.format(languages=options.ocr_languages))
    return best.text


def _read(program: str, image: Image, options: ParserOptions) -> _Reading:
    command = [program, "stdin", "stdout", "-l", options.ocr_languages, "--psm", _segmentation(program), "txt", "tsv"]
    try:
        output = run_program(command, cpu_seconds=_PAGE_CPU_SECONDS, stdin=_png(image))
        return _reading(output.decode(errors="replace"))
    except ProgramFailed as error:
        raise DocumentRejected(
            f"Tesseract could not read the image (OCR_LANGUAGES={options.ocr_languages}): {error.message}"
        ) from error


def _reading(output: str) -> _Reading:
    """Return the text, and the confidence that stands in the rows for the words, which come with it."""
    lines = output.split("\n")
    rows = [line.split("\t") for line in lines if line.count("\t") == _TSV_COLUMNS - 1]
    words = [(float(row[-2]), len(row[-1].strip())) for row in rows if row[0] == _WORD_LEVEL]
    characters = sum(length for _, length in words)
    total = sum(confidence * length for confidence, length in words)
    text = "\n".join(line for line in lines if line.count("\t") != _TSV_COLUMNS - 1)
    return _Reading(text, total / characters if characters else 0.0, characters)


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
