"""Pictures within documents: their text is read by OCR, and they are never text themselves."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import docx
import openpyxl
import pptx
import pytest
from openpyxl.drawing.image import Image as DrawnPicture
from PIL import Image, ImageDraw, ImageFont

from ingest.parsers import ocr, pictures
from ingest.parsers.pictures import Pictures
from ingest.parsers.source import ParserOptions
from tests.programs import NEEDS_TESSERACT
from tests.unit.ingest.support import Read, docx_bytes
from tests.unit.ingest.test_epub import book, page
from tests.unit.ingest.test_open_document import odt


def picture(words: str, size: tuple[int, int] = (700, 120)) -> bytes:
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((20, 30), words, fill="black", font=ImageFont.load_default(40))
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def in_html(data: bytes) -> bytes:
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return f"<!doctype html><p>Before</p><img alt='A sign' src='{uri}'><img src='{uri}'>".encode()


def in_docx(data: bytes) -> bytes:
    def fill(document: docx.document.Document) -> None:
        document.add_paragraph("Before")
        document.add_picture(io.BytesIO(data))

    return docx_bytes(fill)


def in_pptx(data: bytes) -> bytes:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    slide.shapes.add_picture(io.BytesIO(data), 0, 0)
    file = io.BytesIO()
    presentation.save(file)
    return file.getvalue()


def in_xlsx(data: bytes) -> bytes:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet["A1"] = "Before"
    sheet.add_image(DrawnPicture(io.BytesIO(data)), "A3")
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def in_odt(data: bytes) -> bytes:
    frame = (
        "<draw:frame svg:width='7cm' svg:height='2cm'>"
        "<draw:image xlink:href='Pictures/a.png' xlink:type='simple'/></draw:frame>"
    )
    return odt(f"<text:p>Before</text:p><text:p>{frame}</text:p>", more={"Pictures/a.png": data})


def in_rtf(data: bytes) -> bytes:
    shape = (
        rb"{\*\shppict{\pict{\*\picprop{\sp{\sn x}{\sv 1}}}\pngblip\picw700\pich120 %s}}" % data.hex(" ", 64).encode()
    )
    return rb"{\rtf1\ansi Before\par %s{\nonshppict{\pict\pngblip %s}}\par}" % (shape, data.hex().encode())


def in_mail(data: bytes) -> bytes:
    return b"From: a@x.org\nMIME-Version: 1.0\nContent-Type: text/html\n\n" + in_html(data)


def in_epub(data: bytes) -> bytes:
    pages = ("a.xhtml", page("<h1>One</h1><p>Before <img src='b.png' alt='A sign'/></p>")), ("b.png", data)
    return book(*pages, types={"b.png": "image/png"})


@NEEDS_TESSERACT
@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.html", in_html),
        ("a.docx", in_docx),
        ("a.pptx", in_pptx),
        ("a.epub", in_epub),
        ("a.xlsx", in_xlsx),
        ("a.odt", in_odt),
        ("a.rtf", in_rtf),
    ],
)
def test_the_text_in_a_picture_is_read_once(read: Read, name: str, write: Callable[[bytes], bytes]) -> None:
    document = read(name, write(picture("The gate closes at nine")))
    assert document.text.count("The gate closes at nine") == 1
    assert document.metadata["pictures_by_ocr"] == "1"


@NEEDS_TESSERACT
def test_the_text_in_a_picture_of_a_mail_is_read(read: Read) -> None:
    assert read("a.eml", in_mail(picture("The gate closes at nine"))).text.count("The gate closes at nine") == 1


def test_small_and_broken_pictures_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_tesseract", lambda: "tesseract")
    monkeypatch.setattr(ocr, "read_page", lambda *_, **__: "some words")
    read = Pictures(ParserOptions())
    assert read.text_of(picture("icon", (40, 40))) == "" and not read.properties
    assert read.text_of(b"no picture") == "" and read.properties == {"pictures_not_read": "1"}
    assert read.text_of_uri("data:image/png;base64,AAAA") == "" == read.text_of_uri("sign.png")
    assert read.text_of(picture("a")) == "some words" and read.text_of(picture("a")) == ""


def no_words(*_: object, **__: object) -> str:
    raise ocr.NoWordsFound("no words")


@pytest.mark.parametrize("read_page", [no_words, lambda *_, **__: "~ ;: | _ -- ie ,. ‘ /"])
def test_photographs_give_no_text_and_an_album_of_them_ends_the_reading(
    monkeypatch: pytest.MonkeyPatch, read_page: Callable[..., str]
) -> None:
    monkeypatch.setattr(ocr, "find_tesseract", lambda: "tesseract")
    monkeypatch.setattr(ocr, "read_page", read_page)
    monkeypatch.setattr(pictures, "_MAX_WITHOUT_TEXT", 3)
    read = Pictures(ParserOptions())
    assert [read.text_of(picture(str(number))) for number in range(5)] == [""] * 5
    assert read.properties == {"pictures_not_read": "2"}


def test_without_ocr_pictures_are_left_out(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_tesseract", lambda: None)
    assert read("a.html", in_html(picture("words"))).text == "Before\n\nA sign"
