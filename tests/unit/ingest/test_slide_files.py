"""Presentations: all text is read, from charts, diagrams, groups, tables, equations, notes and comments."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pptx
import pytest
from PIL import Image
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Emu

from core.errors import DocumentRejected
from ingest.parsers import ocr
from tests.unit.ingest import files
from tests.unit.ingest.files import FACT
from tests.unit.ingest.office import DGM, DIAGRAM, MC, A, M, R, linked, names, part, strict, with_parts
from tests.unit.ingest.support import Read, kinds_and_texts

SLIDE = "ppt/slides/slide1.xml"
P = "http://schemas.openxmlformats.org/presentationml/2006/main"
BOUNDS = (Emu(0), Emu(0), Emu(9_000_000), Emu(3_000_000))


def slide_bytes(fill: Callable[[Any], object]) -> bytes:
    """Return a presentation of one slide with a title."""
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "Prices"
    fill(slide)
    return files._saved(presentation.save)


def with_shape(data: bytes, xml: str) -> bytes:
    return with_parts(data, {SLIDE: part(data, SLIDE).replace("</p:spTree>", xml + "</p:spTree>")})


def lines(read: Read, data: bytes) -> list[str]:
    return [text for _, text in kinds_and_texts(read("a.pptx", data))]


def plain() -> bytes:
    return slide_bytes(lambda slide: None)


def shape(text: str) -> str:
    return (
        f'<p:sp><p:nvSpPr><p:cNvPr id="2" name="x"/><p:cNvSpPr/><p:nvPr/></p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>'
        f"<a:p>{text}</a:p></p:txBody></p:sp>"
    )


def frame(content: str, description: str) -> str:
    return (
        f'<p:graphicFrame><p:nvGraphicFramePr><p:cNvPr id="9" name="x" descr="{description}"/><p:cNvGraphicFramePr/>'
        f"<p:nvPr/></p:nvGraphicFramePr><p:xfrm/><a:graphic><a:graphicData>{content}</a:graphicData></a:graphic>"
        f"</p:graphicFrame>"
    )


def chart(slide: Any) -> None:
    data = CategoryChartData()
    data.categories = ["Vienna", "Rome"]
    data.add_series("Adults", (41, 57))
    shown = slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *BOUNDS, data).chart
    shown.has_title = True
    shown.chart_title.text_frame.text = "Fares by city"


def test_charts_are_read_with_their_values(read: Read) -> None:
    assert lines(read, slide_bytes(chart)) == ["Prices", "Chart: Fares by city", "Adults: Vienna 41; Rome 57"]


def test_a_broken_chart_is_skipped_and_named(read: Read) -> None:
    def fill(slide: Any) -> None:
        chart(slide)
        slide.shapes.add_textbox(*BOUNDS).text_frame.text = FACT

    data = slide_bytes(fill)
    name = next(name for name in names(data) if name.startswith("ppt/charts/") and name.endswith(".xml"))
    document = read("a.pptx", with_parts(data, {name: "<c:chartSpace"}))
    assert [element.text for element in document.elements] == ["Prices", FACT]
    assert document.metadata == {"parts_not_read": name}


def test_a_broken_slide_is_refused(read: Read) -> None:
    with pytest.raises(DocumentRejected, match="The presentation is broken"):
        read("a.pptx", with_parts(plain(), {SLIDE: "<p:sld"}))


def test_diagrams_are_read(read: Read) -> None:
    data = with_shape(plain(), frame(f'<dgm:relIds xmlns:dgm="{DGM}" xmlns:r="{R}" r:dm="d1"/>', "How to travel"))
    data = linked(
        with_parts(data, {"ppt/diagrams/data1.xml": DIAGRAM}),
        SLIDE,
        ("d1", f"{R}/diagramData", "../diagrams/data1.xml"),
    )
    assert lines(read, data) == ["Prices", "Book the train", "Picture: How to travel"]


def test_groups_pictures_and_embedded_files_are_read(read: Read) -> None:
    def fill(slide: Any) -> None:
        group = slide.shapes.add_group_shape().shapes.add_group_shape()
        group.shapes.add_textbox(*BOUNDS).text_frame.text = "In the group"
        image = files._saved(lambda file: Image.new("RGB", (9, 9)).save(file, "png"))
        picture = slide.shapes.add_picture(io.BytesIO(image), 0, 0)
        picture._element.nvPicPr.cNvPr.set("descr", "The line to Vienna")
        slide.shapes.add_ole_object(io.BytesIO(files.workbook()), "Excel.Sheet.12", *BOUNDS[:2])

    found = lines(read, slide_bytes(fill))
    assert found[:3] == ["Prices", "In the group", "Picture: The line to Vienna"]
    assert "Excel.Sheet.12" in found[3]
    assert found[3].startswith("Embedded object: ")


def test_merged_cells_of_tables_are_read(read: Read) -> None:
    def fill(slide: Any) -> None:
        table = slide.shapes.add_table(2, 2, *BOUNDS).table
        for row, values in enumerate((("city", ""), ("Vienna", "41\v42"))):
            for column, value in enumerate(values):
                table.cell(row, column).text_frame.text = value
        table.cell(0, 0).merge(table.cell(0, 1))

    assert lines(read, slide_bytes(fill)) == ["Prices", "city", "Vienna | 41 42"]


def test_alternate_versions_of_a_shape_are_read_once(read: Read) -> None:
    choice, fallback = shape("<a:r><a:t>Newer</a:t></a:r>"), shape("<a:r><a:t>Older</a:t></a:r>")
    both = (
        f'<mc:AlternateContent xmlns:mc="{MC}"><mc:Choice Requires="x">{choice}</mc:Choice>'
        f"<mc:Fallback>{fallback}</mc:Fallback></mc:AlternateContent>"
    )
    assert lines(read, with_shape(plain(), both)) == ["Prices", "Newer"]


def test_equations_and_fields_are_read_at_their_position(read: Read) -> None:
    base, power = (f"<m:{name}><m:r><m:t>{text}</m:t></m:r></m:{name}>" for name, text in (("e", "c"), ("sup", "2")))
    equation = f"<m:oMath><m:sSup>{base}{power}</m:sSup></m:oMath>"
    math = f'<a14:m xmlns:a14="http://schemas.microsoft.com/office/drawing/2010/main" xmlns:m="{M}">{equation}</a14:m>'
    text = f'<a:r><a:t>E = m</a:t></a:r>{math}<a:br/><a:fld id="{{1}}" type="x"><a:rPr/><a:t>2026</a:t></a:fld>'
    assert lines(read, with_shape(plain(), shape(text))) == ["Prices", "E = mc^2\n2026"]


def test_shapes_with_the_id_of_the_title_are_read(read: Read) -> None:
    assert 'id="2"' in part(plain(), SLIDE)
    assert lines(read, with_shape(plain(), shape(f"<a:r><a:t>{FACT}</a:t></a:r>"))) == ["Prices", FACT]


def test_notes_and_hidden_slides_are_read(read: Read) -> None:
    def fill(slide: Any) -> None:
        slide._element.set("show", "0")
        slide.notes_slide.notes_text_frame.text = "Speak\nslowly"

    assert lines(read, slide_bytes(fill)) == ["Prices", "Speak\nslowly"]
    assert read("a.pptx", slide_bytes(fill)).metadata == {"hidden_slides": "1"}


def test_a_title_that_is_switched_off_is_not_read(read: Read) -> None:
    def fill(slide: Any) -> None:
        slide.shapes.title._element.nvSpPr.cNvPr.set("hidden", "1")
        slide.notes_slide.notes_text_frame.text = "Spoken"

    assert lines(read, slide_bytes(fill)) == ["Slide 1", "Spoken"]


def test_comments_of_both_kinds_are_read(read: Read) -> None:
    body = "<p188:txBody><a:bodyPr/><a:p><a:r><a:t>%s</a:t></a:r></a:p></p188:txBody>"
    reply = f'<p188:replyLst><p188:reply authorId="C">{body % "Yes."}</p188:reply></p188:replyLst>'
    parts = {
        "commentAuthors": '<p:cmAuthorLst %s><p:cmAuthor id="0" name="Ann"/></p:cmAuthorLst>',
        "authors": '<p188:authorLst %s><p188:author id="B" name="Bob"/></p188:authorLst>',
        "comments/old": '<p:cmLst %s><p:cm authorId="0"><p:text>True?</p:text></p:cm></p:cmLst>',
        "comments/new": f'<p188:cmLst %s><p188:cm authorId="B">{reply}{body % "Is it?"}</p188:cm></p188:cmLst>',
    }
    spaces = f'xmlns:p="{P}" xmlns:a="{A}" xmlns:p188="http://schemas.microsoft.com/office/powerpoint/2018/8/main"'
    data = with_parts(plain(), {f"ppt/{name}.xml": xml % spaces for name, xml in parts.items()})
    newer = "http://schemas.microsoft.com/office/2018/10/relationships"
    authors = (("a1", f"{R}/commentAuthors", "commentAuthors.xml"), ("a2", f"{newer}/authors", "authors.xml"))
    comments = (("c1", f"{R}/comments", "../comments/old.xml"), ("c2", f"{newer}/comments", "../comments/new.xml"))
    data = linked(linked(data, "ppt/presentation.xml", *authors), SLIDE, *comments)
    assert lines(read, data) == ["Prices", "Comment by Ann: True?", "Comment by Bob: Is it?", "Comment: Yes."]


def test_strict_open_xml_is_read(read: Read) -> None:
    data = strict(slide_bytes(chart))
    assert "purl.oclc.org" in part(data, SLIDE)
    assert lines(read, data) == lines(read, slide_bytes(chart))


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
        "application/vnd.ms-powerpoint.slideshow.macroEnabled.main+xml",
        "application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml",
        "application/vnd.openxmlformats-officedocument.presentationml.template.main+xml",
    ],
)
def test_slide_shows_templates_and_files_with_macros_are_read(read: Read, kind: str) -> None:
    types = part(plain(), "[Content_Types].xml")
    usual = "application/vnd.openxmlformats-officedocument.presentationml.presentation.main+xml"
    assert usual in types
    assert lines(read, with_parts(plain(), {"[Content_Types].xml": types.replace(usual, kind)})) == ["Prices"]


def test_a_presentation_of_pictures_alone_is_empty_without_ocr(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "find_tesseract", lambda: None)
    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[6])
    slide.shapes.add_picture(io.BytesIO(files.picture("png")()), 0, 0)
    slide.shapes[0]._element.nvPicPr.cNvPr.set("descr", "Picture")
    with pytest.raises(DocumentRejected, match="there is no text in it"):
        read("a.pptx", files._saved(presentation.save))
