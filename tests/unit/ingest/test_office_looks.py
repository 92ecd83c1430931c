"""Office files as people see them: without hidden text, with marks of struck-out and raised text, and list numbers."""

from __future__ import annotations

import io

import docx
import pptx
import pytest
from docx.enum.text import WD_COLOR_INDEX
from docx.oxml import parse_xml
from docx.shared import RGBColor
from pptx.util import Inches

from ingest.parsers.ordinals import ordinal
from tests.unit.ingest.office import p, word_file
from tests.unit.ingest.support import Read, docx_bytes, kinds_and_texts

_A = "http://schemas.openxmlformats.org/drawingml/2006/main"


def run(text: str, properties: str = "") -> str:
    return f'<w:r><w:rPr>{properties}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r>'


STRUCK, RAISED, LOWERED = "<w:strike/>", '<w:vertAlign w:val="superscript"/>', '<w:vertAlign w:val="subscript"/>'


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        (run("Seen ") + run("hidden", "<w:vanish/>") + run("too"), "Seen too"),
        (run("Seen ") + run("shown", '<w:vanish w:val="0"/>'), "Seen shown"),
        (run("Seen ") + run("white", '<w:color w:val="FFFFFF"/>'), "Seen"),
        (run("Seen ") + run("white", '<w:color w:val="FFFFFF"/><w:shd w:fill="000000"/>'), "Seen white"),
        (run("is ") + run("30 ", STRUCK) + run("days", STRUCK + "<w:b/>") + run(" 90 days"), "is ~~30 days~~ 90 days"),
        (run("45", "<w:dstrike/>") + run(" 60"), "~~45~~ 60"),
        (
            run("10") + run("-", RAISED) + run("5", RAISED) + run(" Pa, H") + run("2", LOWERED) + run("O"),
            "10⁻⁵ Pa, H2O",
        ),
        (run("load 25") + run("3", RAISED) + run(" kg, the 1") + run("st", RAISED), "load 25³ kg, the 1st"),
    ],
)
def test_runs_of_a_word_file(read: Read, runs: str, shown: str) -> None:
    assert read("a.docx", word_file(p("", runs))).text == shown


def test_styles_of_a_word_file_hide_strike_and_raise(read: Read) -> None:
    def fill(document: docx.document.Document) -> None:
        for name, mark in (("Gone", "strike"), ("Secret", "vanish")):
            style = document.styles.add_style(name, docx.enum.style.WD_STYLE_TYPE.CHARACTER)
            style.element.get_or_add_rPr().append(parse_xml(f'<w:{mark} xmlns:w="{docx.oxml.ns.nsmap["w"]}"/>'))
        child = document.styles.add_style("Child", docx.enum.style.WD_STYLE_TYPE.CHARACTER)
        child.base_style = document.styles["Gone"]
        paragraph = document.add_paragraph("Price ")
        paragraph.add_run("10", style="Child")
        paragraph.add_run(" 12")
        paragraph.add_run(" secret", style="Secret")
        cell = document.add_table(1, 2).cell(0, 1).paragraphs[0].add_run("120")
        cell.font.strike = True

    assert [text for _, text in kinds_and_texts(read("a.docx", docx_bytes(fill)))][0] == "Price ~~10~~ 12"


def test_white_words_on_a_coloured_cell_are_read(read: Read) -> None:
    def fill(document: docx.document.Document) -> None:
        table = document.add_table(2, 2)
        for number, text in enumerate(("city", "price", "Rome", "57")):
            cell_run = table.cell(number // 2, number % 2).paragraphs[0].add_run(text)
            cell_run.font.color.rgb = RGBColor(255, 255, 255)
        marked = document.add_paragraph().add_run("marked")
        marked.font.color.rgb, marked.font.highlight_color = RGBColor(255, 255, 255), WD_COLOR_INDEX.BLACK

    text = read("a.docx", docx_bytes(fill)).text
    assert all(word in text for word in ("city", "price", "Rome", "57", "marked"))


def test_white_words_are_left_out_unless_their_style_has_a_background(read: Read) -> None:
    def fill(document: docx.document.Document) -> None:
        dark = document.styles.add_style("Dark", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
        dark.element.get_or_add_pPr().append(
            parse_xml(f'<w:shd xmlns:w="{docx.oxml.ns.nsmap["w"]}" w:val="clear" w:fill="000080"/>')
        )
        document.styles.add_style("Darker", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH).base_style = dark
        for style, text in (("Body Text", "unseen"), ("Darker", "on blue")):
            document.add_paragraph(style=style).add_run(text).font.color.rgb = RGBColor(255, 255, 255)

    assert read("a.docx", docx_bytes(fill)).text == "on blue"


def test_looks_and_numbers_of_slides(read: Read) -> None:
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "Loads"
    box = slide.shapes.add_textbox(0, 0, Inches(4), Inches(2)).text_frame
    box.text = "Load 25"
    for text, attributes in (("3", {"baseline": "30000"}), (" kg ", {}), ("old ", {"strike": "sngStrike"}),
                             ("price", {"strike": "sngStrike"}), (" new", {})):  # fmt: skip
        added = box.paragraphs[0].add_run()
        added.text = text
        for name, value in attributes.items():
            added._r.get_or_add_rPr().set(name, value)
    for text, level in (("First", 0), ("Inner", 1), ("Inner two", 1), ("Second", 0)):
        paragraph = box.add_paragraph()
        paragraph.text, paragraph.level = text, level
        kind = "romanUcPeriod" if level else "arabicParenR"
        paragraph._p.get_or_add_pPr().append(parse_xml(f'<a:buAutoNum xmlns:a="{_A}" type="{kind}"/>'))
    hidden = slide.shapes.add_textbox(0, 0, Inches(1), Inches(1))
    hidden.text_frame.text = "Secret"
    hidden._element.nvSpPr.cNvPr.set("hidden", "1")
    file = io.BytesIO()
    presentation.save(file)
    assert [text for _, text in kinds_and_texts(read("a.pptx", file.getvalue()))] == [
        "Loads", "Load 25³ kg ~~old price~~ new", "1) First", "I. Inner", "II. Inner two", "2) Second",
    ]  # fmt: skip


def test_ordinals() -> None:
    assert [ordinal(4, kind) for kind in ("arabicPeriod", "alphaUc", "romanLc")] == ["4", "D", "iv"]
    assert [ordinal(28, "alphaLc"), ordinal(1999, "romanUc"), ordinal(0, "romanLc")] == ["bb", "MCMXCIX", "0"]
