"""Text of images: pages that lie on their head or their side, and pictures that have no words."""

from __future__ import annotations

import random

import pytest
from PIL import Image, ImageDraw, ImageFont

from core.errors import DocumentRejected
from ingest.parsers import ocr
from ingest.parsers.letter_statistics import is_gibberish
from ingest.parsers.source import ParserOptions
from tests.programs import NEEDS_TESSERACT
from tests.unit.ingest import files
from tests.unit.ingest.support import Read

TEXT = "The night train to Vienna leaves at nine.\nThe valve code is KESTREL-88."


def page(text: str) -> Image.Image:
    image = Image.new("L", (1200, 300), "white")
    ImageDraw.Draw(image).multiline_text((60, 60), text, fill=0, font=ImageFont.load_default(50))
    return image


def noise() -> Image.Image:
    """Return a picture of strokes, in which Tesseract finds some letters."""
    image = Image.new("L", (700, 700), "white")
    draw, chance = ImageDraw.Draw(image), random.Random(7)
    for _ in range(160):
        x, y = chance.randrange(650), chance.randrange(650)
        draw.line((x, y, x + chance.randrange(-25, 25), y + chance.randrange(-40, 40)), fill=0, width=5)
    return image


def saved(image: Image.Image, *more: Image.Image) -> bytes:
    return files._saved(lambda file: image.save(file, "tiff", save_all=True, append_images=more))


@NEEDS_TESSERACT
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_page_of_a_few_words_is_read_in_any_orientation(read: Read, degrees: int) -> None:
    document = read("scan.tiff", saved(page(TEXT).rotate(degrees, expand=True)))
    assert document.text.split() == TEXT.split()


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[str, float]]:
    """Return what Tesseract reads at each width of an image, to fill in; widths that are not in it are certain."""
    found: dict[int, tuple[str, float]] = {}
    turns: list[int] = []

    def read(_program: str, image: Image.Image, _options: ParserOptions) -> ocr._Reading:
        degrees = turns.pop(0) if turns else 0
        text, confidence = found[degrees]
        return ocr._Reading(text, confidence, len(text))

    def rotate(self: Image.Image, degrees: int, **_: object) -> Image.Image:
        turns.append(degrees)
        return self

    monkeypatch.setattr(ocr, "_read", read)
    monkeypatch.setattr(ocr, "find_tesseract", lambda: "tesseract")
    monkeypatch.setattr(Image.Image, "rotate", rotate)
    return found


def test_the_orientation_with_the_surest_words_is_taken(readings: dict[int, tuple[str, float]]) -> None:
    readings |= {0: ("LP S1SOO PUUSIA", 34.0), 180: ("Vienna costs 41", 96.0)}
    assert ocr.read_page(page(""), ParserOptions()) == "Vienna costs 41"


def test_a_few_sure_letters_do_not_replace_a_text(readings: dict[int, tuple[str, float]]) -> None:
    readings |= {0: ("Kindly note the hours", 50.0), 180: ("l", 99.0), 90: ("", 0.0), 270: ("I", 99.0)}
    assert ocr.read_page(page(""), ParserOptions()) == "Kindly note the hours"


def test_gibberish_is_not_believed(readings: dict[int, tuple[str, float]]) -> None:
    readings |= dict.fromkeys((0, 90, 180, 270), ("SOALZT RUUSTA UTeI1 WYHIU xzkqj", 34.0))
    with pytest.raises(DocumentRejected, match=r"No words .* OCR_LANGUAGES \(eng\)"):
        ocr.read_page(page(""), ParserOptions())


@NEEDS_TESSERACT
def test_a_picture_without_words_is_not_read_and_the_other_pages_are(read: Read) -> None:
    with pytest.raises(DocumentRejected, match="No words were found|No text was found"):
        read("picture.tiff", saved(noise()))
    assert read("scan.tiff", saved(page(TEXT), noise())).text.split() == TEXT.split()


@pytest.mark.parametrize(
    "text",
    [
        "PUUSIA S1SOO ou], ‘uosied pUODaS PB INOYM jUeTd oy} I9yUS9 Ae APOGON",
        "xzkqj bcdfg WWWWW iIiIl",
        "~ | .. —",
    ],
)
def test_gibberish_is_recognised_by_its_letters(text: str) -> None:
    assert is_gibberish(text)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        "KESTREL-88",
        "INVOICE NO. 4711 TOTAL DUE 20457 HAMBURG",
        "Straßenbahn nach Krzyż, Größe 41, ÄRZTE",
        "Поезд в Вену отправляется в девять часов",
        "暗証番号は八三六一です",
        "Rhythm myths by Szczęsny; iPhone, McDonald, eBay and the usual words beside them",
        "41",
    ],
)
def test_words_in_any_script_are_no_gibberish(text: str) -> None:
    assert not is_gibberish(text)
