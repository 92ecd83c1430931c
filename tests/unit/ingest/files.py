"""Real files of every type, written by common programs and libraries, all with the same content."""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Callable
from email.message import EmailMessage
from functools import lru_cache
from pathlib import Path

import docx
import openpyxl
import pptx
import pypandoc
import xlwt
from PIL import Image, ImageDraw, ImageFont

from ingest.sandbox.programs import find_program
from tests.unit.ingest.ole import msg_bytes
from tests.unit.ingest.support import docx_bytes, pdf_bytes

Make = Callable[[], bytes]

FACT = "The night train to Vienna leaves at nine."
ROWS = (("city", "price"), ("Vienna", 41), ("Rome", 57))
MARKDOWN = f"""# Timetable

{FACT}

## Prices

| city | price |
| --- | --- |
| Vienna | 41 |
| Rome | 57 |

- book early

```python
def fare(city):
    return 41
```
"""


def by_pandoc(target: str) -> Make:
    """Return a function that converts `MARKDOWN` with pandoc."""

    @lru_cache(maxsize=1)
    def make() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, f"file.{target}")
            pypandoc.convert_text(MARKDOWN, target, format="gfm", outputfile=str(out), extra_args=["--standalone"])
            return out.read_bytes()

    return make


def by_libreoffice(source: Make, suffix: str, target: str) -> Make:
    """Return a function that converts a file with LibreOffice."""

    @lru_cache(maxsize=1)
    def make() -> bytes:
        program = find_program("soffice")
        assert program is not None
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, f"file.{suffix}").write_bytes(source())
            subprocess.run(
                [program, f"-env:UserInstallation=file://{folder}/profile", "--headless", "--convert-to", target,
                 "--outdir", folder, f"{folder}/file.{suffix}"], check=True, capture_output=True, timeout=90,
            )  # fmt: skip
            return Path(folder, f"file.{target}").read_bytes()

    return make


def word() -> bytes:
    def fill(document: docx.document.Document) -> None:
        document.add_heading("Timetable", 1)
        document.add_paragraph(FACT)
        document.add_heading("Prices", 2)
        table = document.add_table(3, 2)
        for row, values in enumerate(ROWS):
            for column, value in enumerate(values):
                table.cell(row, column).text = str(value)

    return docx_bytes(fill)


def workbook() -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Prices"
    for row in ROWS:
        sheet.append(row)
    book.create_sheet("Notes").append([FACT])
    return _saved(book.save)


def old_workbook() -> bytes:
    book = xlwt.Workbook()
    for title, rows in (("Prices", ROWS), ("Notes", ((FACT,),))):
        sheet = book.add_sheet(title)
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                sheet.write(number, column, value)
    return _saved(book.save)


def slides() -> bytes:
    presentation = pptx.Presentation()
    for title, text in (("Timetable", FACT), ("Prices", "Vienna: 41")):
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    return _saved(presentation.save)


def email() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "Jörg <joerg@example.com>", "ann@example.com"
    message["Date"], message["Subject"] = "Mon, 05 Jan 2026 10:00:00 +0000", "Fahrplan für Wien"
    message.set_content(FACT)
    message.add_alternative(f"<p>{FACT}</p>", subtype="html")
    message.add_attachment(workbook(), maintype="application", subtype="octet-stream", filename="prices.xlsx")
    return message


def html_email() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["Subject"], message["Message-ID"] = "a@example.com", "Page", "<1@example.com>"
    message.set_content(f"<h1>Timetable</h1><p>{FACT}</p>", subtype="html")
    message.add_attachment(email())
    return message


def mailbox() -> bytes:
    envelope = b"From a@example.com Mon Jan  5 10:00:00 2026\n"
    return b"\n".join(envelope + bytes(message) + b"\n" for message in (email(), html_email()))


def outlook() -> bytes:
    return msg_bytes(subject="Timetable", body=FACT, attachments={"prices.csv": b"city,price\nVienna,41\n"})


def picture(name: str) -> Make:
    """Return a function that renders the fact as an image, in a format that Pillow names so."""

    def make() -> bytes:
        image = _drawn(FACT)
        return _saved(lambda file: image.save(file, name))

    return make


def scan() -> bytes:
    """Return a PDF of two pages that are images, without a text layer."""
    first, second = _drawn(FACT), _drawn("Vienna costs 41.")
    return _saved(lambda file: first.save(file, "pdf", save_all=True, append_images=[second]))


def fax() -> bytes:
    """Return a TIFF of two pages."""
    first, second = _drawn(FACT).convert("1"), _drawn("Vienna costs 41.").convert("1")
    return _saved(lambda file: first.save(file, "tiff", save_all=True, append_images=[second], compression="group4"))


def pdf() -> bytes:
    return pdf_bytes([["Timetable", FACT], ["Prices", "Vienna: 41"]], outline=("Timetable", "Prices"))


def _drawn(text: str) -> Image.Image:
    image = Image.new("RGB", (1300, 160), "white")
    ImageDraw.Draw(image).text((40, 50), text, fill="black", font=ImageFont.load_default(50))
    return image


def _saved(save: Callable[[io.BytesIO], object]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()
