"""Pages of PDFs whose text stands where a test puts it, and files of raw PDF objects."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import reportlab
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from ingest.parsed_document import ParsedDocument

Draw = Callable[[Canvas], object]
WIDTH, HEIGHT = A4

#: Forty lines of running text that fill a column of 200 points.
PROSE = (
    "The night watch opens the lock gates in the order that the harbour master has set for the tide, and each of "
    "them writes the hour into the book beside the door. When the wind is stronger than six the gates stay closed, "
    "unless a boat of the rescue service asks to leave. In winter the ice is broken every morning before the first "
    "ferry, so that the hulls are not scratched by it. "
)


def drawn(*pages: Draw) -> bytes:
    """Return a PDF with a page for each function, which draws on its canvas in Helvetica, 10 points."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4)
    for page in pages:
        canvas.setFont("Helvetica", 10)
        page(canvas)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def wrapped(canvas: Canvas, text: str, width: float) -> list[str]:
    """Return a text as lines of at most a width in points."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if canvas.stringWidth(longer, "Helvetica", 10) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def rows(
    canvas: Canvas, lefts: Sequence[float], top: float, table: Sequence[Sequence[str]], leading: float = 16
) -> None:
    """Draw the cells of a table without lines."""
    for number, row in enumerate(table):
        for left, text in zip(lefts, row, strict=False):
            canvas.drawString(left, top - leading * number, text)


def raw_pdf(
    content: bytes, *, fonts: bytes = b"", page: bytes = b"", further: Mapping[int, bytes] | None = None
) -> bytes:
    """Return a PDF of one page from its content stream, fonts besides F1, and further objects from number 5 on."""
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"
    resources = b"<< /Font << /F1 %s %s >> >>" % (font, fonts)
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R >>",
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources %s %s >>"
        % (resources, page),
        4: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        **(further or {}),
    }
    body = b"".join(b"%d 0 obj\n%s\nendobj\n" % (number, text) for number, text in sorted(objects.items()))
    return b"%%PDF-1.7\n%s trailer << /Root 1 0 R /Size %d >>\n%%%%EOF\n" % (body, len(objects) + 1)


def mapped_font(mapping: Mapping[int, str], *, is_vertical: bool = False) -> dict[int, bytes]:
    """Return the objects 5 to 9 of a font, object 5, whose codes of two bytes stand for the given characters."""
    pairs = b"".join(
        b"<%04X> <%s>\n" % (code, text.encode("utf-16-be").hex().encode()) for code, text in mapping.items()
    )
    stream = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /A def /CMapType 2 def 1 "
        b"begincodespacerange <0000> <FFFF> endcodespacerange %d beginbfchar\n%s endbfchar endcmap end end"
    ) % (len(mapping), pairs)
    glyphs = Path(reportlab.__file__).with_name("fonts").joinpath("Vera.ttf").read_bytes()
    direction = b"V" if is_vertical else b"H"
    return {
        5: b"<< /Type /Font /Subtype /Type0 /BaseFont /Box /Encoding /Identity-%s "
        b"/DescendantFonts [6 0 R] /ToUnicode 8 0 R >>" % direction,
        6: b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Box /DW 1000 /FontDescriptor 7 0 R /CIDSystemInfo "
        b"<< /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /CIDToGIDMap /Identity >>",
        7: b"<< /Type /FontDescriptor /FontName /Box /Flags 4 /FontBBox [0 -120 1000 880] /ItalicAngle 0 /Ascent 880 "
        b"/Descent -120 /CapHeight 700 /StemV 80 /FontFile2 9 0 R >>",
        8: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        # Any glyphs do, but PDFium reads no vertical text without them.
        9: b"<< /Length %d >>\nstream\n%s\nendstream" % (len(glyphs), glyphs),
    }


def texts(document: ParsedDocument) -> list[str]:
    return [element.text for element in document.elements]
