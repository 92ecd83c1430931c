"""OpenDocument text: text that pandoc ignores is read at its position, and everything else is unchanged."""

from __future__ import annotations

import io
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

from core.errors import DocumentRejected
from ingest.parsers import detection
from ingest.parsers.pandoc.open_document import prepare
from ingest.sandbox.programs import find_program
from tests.programs import NEEDS_LIBREOFFICE
from tests.unit.ingest import files
from tests.unit.ingest.support import Read, kinds_and_texts, sections, zip_bytes

OASIS = "urn:oasis:names:tc:opendocument:xmlns"
NAMES = " ".join(
    [
        *(f'xmlns:{name}="{OASIS}:{name}:1.0"' for name in ("office", "text", "table", "style", "form")),
        f'xmlns:draw="{OASIS}:drawing:1.0" xmlns:svg="{OASIS}:svg-compatible:1.0"',
        f'xmlns:fo="{OASIS}:xsl-fo-compatible:1.0"',
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xlink="http://www.w3.org/1999/xlink"',
        'xmlns:loext="urn:org:documentfoundation:names:experimental:office:xmlns:loext:1.0"',
        'xmlns:field="urn:openoffice:names:experimental:ooo-ms-interop:xmlns:field:1.0"',
    ]
)
MIME_TYPE = "application/vnd.oasis.opendocument.text"
MARGINS = (
    "<office:styles/><office:master-styles><style:master-page style:name='Standard'>"
    "<style:header><text:p>Head</text:p></style:header><style:header-left><text:p>Head</text:p></style:header-left>"
    "<style:footer><text:h>Foot</text:h><text:p>Page <text:page-number>1</text:page-number></text:p></style:footer>"
    "<style:footer-left><text:p>- <text:page-number>2</text:page-number> -</text:p></style:footer-left>"
    "<style:footer-first style:display='false'><text:p>Hidden</text:p></style:footer-first></style:master-page>"
    "</office:master-styles>"
)
DELETED = (
    "<text:tracked-changes><text:changed-region xml:id='c' text:id='c'><text:deletion><office:change-info><dc:creator>A"
    "</dc:creator><dc:date>2024-01-01T00:00:00</dc:date></office:change-info>"
    "<text:p>deleted<draw:frame><draw:text-box><text:p>deleted box</text:p>"
    "</draw:text-box></draw:frame></text:p></text:deletion></text:changed-region></text:tracked-changes>"
)


def body(content: str) -> str:
    return f"<office:body><office:text>{content}</office:text></office:body>"


def odt(
    content: str, styles: str = "<office:styles/>", mime_type: str = MIME_TYPE, more: dict[str, bytes] | None = None
) -> bytes:
    head = f"<?xml version='1.0' encoding='UTF-8'?><office:document-%s {NAMES} office:version='1.3'>"
    return zip_bytes(
        {
            "mimetype": mime_type.encode(),
            "content.xml": (head % "content" + body(content) + "</office:document-content>").encode(),
            "styles.xml": (head % "styles" + styles + "</office:document-styles>").encode(),
            **(more or {}),
        }
    )


def flat(content: str, styles: str = "") -> bytes:
    root = f'<office:document {NAMES} office:version="1.3" office:mimetype="{MIME_TYPE}">'
    return f"<?xml version='1.0' encoding='UTF-8'?>\n{root}{styles}{body(content)}</office:document>".encode()


def texts(read: Read, content: str, styles: str = "<office:styles/>") -> list[str]:
    """Return the texts of a file, after asserting that the archive and the flat version have the same ones."""
    found = [text for _, text in kinds_and_texts(read("a.odt", odt(content, styles)))]
    assert [text for _, text in kinds_and_texts(read("a.fodt", flat(content, styles)))] == found
    return found


def box(content: str, more: str = "") -> str:
    return f"<draw:frame draw:name='F'><draw:text-box>{content}</draw:text-box>{more}</draw:frame>"


def test_headers_and_footers_are_read_once(read: Read) -> None:
    assert texts(read, "<text:p>One.</text:p>", MARGINS) == ["Head", "One.", "Foot", "Page 1"]


def test_text_boxes_and_shapes_follow_their_paragraph(read: Read) -> None:
    inner = box("<text:p>inner</text:p>")
    items = "<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>"
    first = box(
        f"<text:h>Heading of a box</text:h><text:p>first {inner}box</text:p>{items}",
        "<svg:title>Name</svg:title><svg:desc>Words</svg:desc>",
    )
    shape = "<draw:custom-shape><text:p>shape</text:p><draw:enhanced-geometry draw:type='x'/></draw:custom-shape>"
    rectangle = "<draw:rect><text:p>rect</text:p></draw:rect>"
    group = f"<draw:g><svg:desc>both</svg:desc>{rectangle}{box('<text:p>bb</text:p>')}</draw:g>"
    content = (
        f"{box('<text:p>of the page</text:p>')}<text:h text:outline-level='1'>Top</text:h>"
        f"<text:p>Before {first}after {shape}{group}end.</text:p><text:p>Next.</text:p>"
    )
    assert texts(read, content) == [
        "of the page", "Top", "Before after end.", "Heading of a box", "first box", "inner", "item", "Name", "Words",
        "shape", "both", "rect", "bb", "Next.",
    ]  # fmt: skip
    assert sections(read("a.odt", odt(content)))["Next."] == "Top"


def test_comments_name_their_authors(read: Read) -> None:
    comment = (
        "<office:annotation><dc:creator>Ann Bee</dc:creator><dc:date>2024-01-01</dc:date><text:p>Check <text:span>this"
        "</text:span>.</text:p><text:p>Soon.</text:p></office:annotation>"
    )
    content = f"<text:p>Some{comment} words<office:annotation-end/>.</text:p>"
    assert texts(read, content) == ["Some words.", "Comment by Ann Bee: Check this.", "Soon."]
    cell = f"<table:table-cell><text:p>41{comment}</text:p></table:table-cell>"
    table = f"<table:table><table:table-row>{cell}</table:table-row></table:table>"
    assert texts(read, table) == ["41", "Comment by Ann Bee: Check this.", "Soon."]


def test_fields_and_content_controls_show_their_text(read: Read) -> None:
    content = (
        "<text:p><loext:content-control>in line</loext:content-control>, <text:drop-down><text:label text:value='a'/>"
        "chosen</text:drop-down>, <text:text-input>typed</text:text-input>, "
        "<text:placeholder>&lt;x&gt;</text:placeholder>, <text:date>1 May</text:date>, "
        "<text:meta>meta <text:span>span</text:span></text:meta>, <text:ruby>"
        "<text:ruby-base>kanji</text:ruby-base><text:ruby-text>kana</text:ruby-text></text:ruby>"
        "<text:script>alert()</text:script>, <text:sequence>7</text:sequence>.</text:p>"
        "<loext:content-control><text:p>a block</text:p></loext:content-control>"
        "<text:numbered-paragraph><text:p>numbered</text:p></text:numbered-paragraph>"
    )
    assert texts(read, content) == [
        "in line, chosen, typed, <x>, 1 May, meta span, kanji (kana), 7.", "a block", "numbered",
    ]  # fmt: skip


def test_form_controls_show_their_labels_and_values(read: Read) -> None:
    def control(kind: str, attributes: str, content: str = "") -> str:
        number = len(forms)
        forms.append(f"<form:{kind} form:id='c{number}' {attributes}>{content}</form:{kind}>")
        return f"<draw:control draw:control='c{number}'/>"

    forms: list[str] = []
    drawn = [
        control("text", "form:value='first' form:current-value='now'"),
        control("checkbox", "form:label='agreed' form:current-state='checked'"),
        control("radio", "form:label='by rail' form:selected='false'"),
        control(
            "listbox", "", "<form:option form:label='a'/><form:option form:label='b' form:current-selected='true'/>"
        ),
        control("button", "form:label='Send'"),
        control("textarea", "", "<text:p>long words</text:p>"),
        control("password", "form:value='secret'"),
        "<draw:control draw:control='missing'/>",
    ]
    marks = (
        "<field:fieldmark field:type='vnd.oasis.opendocument.field.FORMDROPDOWN'>"
        "<field:param field:name='Dropdown_ListEntry' field:value='red'/>"
        "<field:param field:name='Dropdown_ListEntry' field:value='blue'/>"
        "<field:param field:name='Dropdown_Selected' field:value='1'/></field:fieldmark> "
        "<field:fieldmark field:type='vnd.oasis.opendocument.field.FORMCHECKBOX'/>"
    )
    paragraph = f"<text:p>{'; '.join(drawn)} {marks}</text:p>"
    content = f"<office:forms><form:form>{''.join(forms)}</form:form></office:forms>{paragraph}"
    assert texts(read, content) == ["now; ☒ agreed; ☐ by rail; b; Send; long words; ; blue ☐"]


def test_insertions_are_read_and_deletions_are_not(read: Read) -> None:
    content = (
        f"{DELETED}<text:p>It <text:change text:change-id='c'/><text:change-start/>is<text:change-end/> so.</text:p>"
    )
    assert texts(read, f"{content}<text:p>{box('<text:p>box</text:p>')}</text:p>") == ["It is so.", "box"]
    changes = "<text:change-{} text:change-id='c'/>"
    content = (
        f"{DELETED}<text:p>It {changes.format('start')}was{box('<text:p>gone</text:p>')}</text:p><text:p>not"
        f"{changes.format('end')}is so.</text:p>"
    )
    assert texts(read, content) == ["It", "is so."]


def test_notes_follow_the_paragraph_that_refers_to_them(read: Read) -> None:
    note = (
        "<text:note text:note-class='{}'><text:note-citation>1</text:note-citation><text:note-body><text:p>{}</text:p>"
        "</text:note-body></text:note>"
    )
    notes = f"{note.format('footnote', 'a note')} and{note.format('endnote', 'an end')}"
    content = f"<text:p>One{notes}.</text:p><text:p>Two.</text:p>"
    assert texts(read, content) == ["One[1] and[2].", "1. a note", "2. an end", "Two."]


def test_sections_lists_bibliographies_and_tables_in_tables(read: Read) -> None:
    def table(*cells: str) -> str:
        row = f"<table:table-row>{''.join(cells)}</table:table-row>"
        return f"<table:table><table:title>Name</table:title>{row}</table:table>"

    def cell(content: str) -> str:
        return f"<table:table-cell>{content}</table:table-cell>"

    inner = table(cell("<text:p>c</text:p>"), cell("<text:p>d</text:p>"))
    content = (
        "<text:section text:name='S'><text:h text:outline-level='1'>Top</text:h><text:p>one</text:p></text:section>"
        f"{table(cell('<text:p>a</text:p>'), cell(f'<text:p>b</text:p>{inner}'))}"
        "<text:bibliography><text:bibliography-source><text:index-title-template>t</text:index-title-template>"
        "</text:bibliography-source><text:index-body><text:p>Knuth: TAOCP</text:p></text:index-body>"
        "</text:bibliography>"
    )
    # Tables of one row count as layout, so their cells become blocks.
    assert texts(read, content) == ["Top", "one", "Name", "a", "b", "Name", "c", "d", "Knuth: TAOCP"]


def test_pictures_have_their_descriptions_and_embedded_objects_their_names(read: Read) -> None:
    formula = b"<math xmlns='http://www.w3.org/1998/Math/MathML'><mrow><mi>x</mi></mrow></math>"
    content = (
        "<text:p>A <draw:frame><draw:image xlink:href='Pictures/a.png'/><svg:desc>A map</svg:desc></draw:frame> b."
        "</text:p>"
        "<text:p>C <draw:frame draw:name='Prices'><draw:object xlink:href='./Object 1'/></draw:frame> d.</text:p>"
        "<text:p>E <draw:frame draw:name='F'><draw:object xlink:href='./Object 2'/></draw:frame> f.</text:p>"
    )
    objects = {"Object 1/content.xml": b"<office:document-content/>", "Object 2/content.xml": formula}
    text = read("a.odt", odt(content, more=objects)).text
    assert "A map" in text and "Embedded object: Prices" in text and "E x f." in " ".join(text.split())
    assert "object: F" not in text
    inline = f"<text:p>G <draw:frame><draw:object>{formula.decode()}</draw:object></draw:frame> h.</text:p>"
    assert texts(read, inline) == ["G x h."]


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("text-template", MIME_TYPE), ("text-master", MIME_TYPE), ("text-web", MIME_TYPE), ("text", MIME_TYPE),
     ("graphics", "application/vnd.oasis.opendocument.graphics"), ("spreadsheet-template", detection.ODS)],
)  # fmt: skip
def test_templates_are_read_as_documents(tmp_path: Path, kind: str, media_type: str) -> None:
    (tmp_path / "a").write_bytes(odt("", mime_type=f"application/vnd.oasis.opendocument.{kind}"))
    assert detection.detect_media_type(tmp_path / "a", "a") == media_type


def test_a_flat_file_is_detected_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(flat("<text:p>One</text:p>"))
    assert detection.detect_media_type(tmp_path / "a.xml", "a.xml") == detection.ODT
    (tmp_path / "a.xml").write_bytes(b"<?xml version='1.0'?><a><office:document/></a>")
    assert detection.detect_media_type(tmp_path / "a.xml", "a.xml") == detection.XML


def test_a_text_of_paragraphs_lists_and_tables_is_not_rewritten(tmp_path: Path) -> None:
    (tmp_path / "a.odt").write_bytes(files.by_pandoc("odt")())
    assert prepare(tmp_path / "a.odt", tmp_path) == tmp_path / "a.odt"


def test_broken_xml_is_refused(read: Read) -> None:
    data = odt("<text:p>One</text:p>")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with pytest.raises(DocumentRejected, match="is broken"):
        read("a.odt", zip_bytes({**parts, "content.xml": parts["content.xml"][:-30]}))
    with pytest.raises(DocumentRejected, match="is broken"):
        read("a.fodt", flat("<text:p>One</text:p>")[:-30])


@pytest.mark.parametrize("entity", ['SYSTEM "file:///etc/passwd"', '"lol"'])
def test_entities_are_not_expanded(read: Read, entity: str) -> None:
    head = f"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY a {entity}>]>".encode()
    with pytest.raises(DocumentRejected, match="is broken"):
        read("a.fodt", head + flat("<text:p>One &a;</text:p>").partition(b"?>")[2])


@pytest.mark.check
def test_many_text_boxes_are_read_in_bounded_time(read: Read) -> None:
    started = time.process_time()
    document = read("a.odt", odt(f"<text:p>{box('<text:p>words</text:p>') * 20_000}</text:p>"))
    assert document.text.count("words") == 20_000
    deep = box("<text:p>" * 100).replace("</draw:text-box>", "</text:p>" * 100 + "</draw:text-box>")
    with pytest.raises(DocumentRejected, match=r"is broken"):
        read("a.odt", odt(f"<text:p>{deep * 2}</text:p>".replace("<text:p>", "<text:p>" * 300, 1)))
    assert time.process_time() - started < 30


@pytest.mark.check
@NEEDS_LIBREOFFICE
@pytest.mark.parametrize("suffix", ["odt", "ott", "fodt", "rtf"])
def test_texts_that_libreoffice_writes_are_read(read: Read, suffix: str) -> None:
    note = (
        "<text:note text:note-class='footnote'><text:note-citation>1</text:note-citation><text:note-body>"
        "<text:p>in a note</text:p></text:note-body></text:note>"
    )
    comment = "<office:annotation><dc:creator>Ann</dc:creator><text:p>in a comment</text:p></office:annotation>"
    size = "text:anchor-type='char' svg:width='3cm' svg:height='2cm'"
    geometry = "<draw:enhanced-geometry draw:type='rectangle' draw:enhanced-path='M 0 0 L 9 0 9 9 0 9 0 0 Z N'/>"
    content = (
        f"{DELETED}<text:h text:outline-level='1' text:style-name='Heading_20_1'>Timetable</text:h>"
        f"<text:p>Begin <text:change text:change-id='c'/>{note}</text:p><text:p>Commented{comment}</text:p>"
        f"<text:p>Drawn<draw:custom-shape {size}><text:p>in a shape</text:p>{geometry}</draw:custom-shape></text:p>"
        f"<text:p>Boxed <draw:frame {size}><draw:text-box><text:p>in a box</text:p></draw:text-box></draw:frame>"
        "<text:text-input>typed</text:text-input></text:p><text:p>Done</text:p>"
    )
    styles = (
        "<office:styles><style:style style:name='Heading_20_1' style:display-name='Heading 1' style:family='paragraph' "
        "style:default-outline-level='1'/></office:styles>"
        "<office:automatic-styles><style:page-layout style:name='L'><style:header-style/><style:footer-style/>"
        "</style:page-layout></office:automatic-styles><office:master-styles><style:master-page style:name='Standard' "
        "style:page-layout-name='L'><style:header><text:p>Head</text:p></style:header><style:footer><text:p>Foot"
        "</text:p></style:footer></style:master-page></office:master-styles>"
    )
    document = read(f"a.{suffix}", _converted(flat(content, styles), suffix))
    for text in (
        "Head",
        "in a note",
        "Comment by Ann: in a comment",
        "in a shape",
        "in a box",
        "typed",
        "Done",
        "Foot",
    ):
        assert document.text.count(text) == 1, text
    assert "deleted" not in document.text
    assert next(element for element in document.elements if "Done" in element.text).section == "Timetable"


def _converted(data: bytes, suffix: str) -> bytes:
    program = find_program("soffice")
    assert program is not None
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in", "file.fodt")
        source.parent.mkdir()
        source.write_bytes(data)
        subprocess.run(
            [program, f"-env:UserInstallation=file://{folder}/profile", "--headless", "--convert-to", suffix,
             "--outdir", folder, str(source)], check=True, capture_output=True, timeout=90,
        )  # fmt: skip
        return Path(folder, f"file.{suffix}").read_bytes()


FLAT = f"""<office:document {NAMES} office:mimetype="{MIME_TYPE}"><office:styles><text:outline-style>
<text:outline-level-style text:level="1" style:num-format="1" style:num-suffix="."/>
<text:outline-level-style text:level="2" style:num-format="1" text:display-levels="2"/></text:outline-style>
<style:style style:name="Hid" style:family="text"><style:text-properties text:display="none"/></style:style>
</office:styles><office:automatic-styles>
<style:style style:name="T1" style:family="text" style:parent-style-name="Hid"/>
<style:style style:name="T2" style:family="text"><style:text-properties style:text-position="super 58%"/></style:style>
<style:style style:name="T3" style:family="text"><style:text-properties style:text-line-through-style="solid"/>
</style:style><style:style style:name="P1" style:family="paragraph">
<style:text-properties style:text-line-through-style="solid"/></style:style>
<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1"/>
<text:list-level-style-number text:level="2" style:num-format="a" style:num-suffix=")" text:display-levels="2"/>
</text:list-style></office:automatic-styles>{{}}</office:document>"""


def test_hidden_struck_out_and_raised_text_of_open_documents(read: Read) -> None:
    content = (
        "<text:p>Load 25<text:span text:style-name='T2'>3</text:span> kg, "
        "<text:span text:style-name='T3'>30</text:span> 90<text:span text:style-name='T1'>hidden</text:span></text:p>"
        "<text:p text:style-name='P1'>Gone <text:span>now"
        "</text:span></text:p><text:section text:name='s' text:display='none'><text:p>hidden</text:p></text:section>"
        "<text:p><text:hidden-text text:is-hidden='true'>hidden</text:hidden-text>seen</text:p>"
    )
    document = read("a.fodt", ("<?xml version='1.0'?>" + FLAT.format(body(content))).encode())
    assert [text for _, text in kinds_and_texts(document)] == ["Load 25³ kg, ~~30~~ 90", "~~Gone now~~", "seen"]


WHITE = """<style:style style:name="{}" style:family="{}">{}<style:text-properties fo:color="#ffffff"/></style:style>"""
DARK = "<style:paragraph-properties fo:background-color='#000080'/>"


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("<text:p>seen <text:span text:style-name='T9'>white</text:span></text:p>", ["seen"]),
        ("<text:p text:style-name='P8'>white</text:p><text:p>seen</text:p>", ["seen"]),
        ("<text:p text:style-name='P8'>half <text:span text:style-name='T8'>seen</text:span></text:p>", ["half seen"]),
        (
            "<text:p text:style-name='P9'>on blue <text:span text:style-name='T9'>seen</text:span></text:p>",
            ["on blue seen"],
        ),
        ("<text:p text:style-name='P8'>near a box</text:p><text:p><draw:rect/>seen</text:p>", ["near a box", "seen"]),
    ],
)
def test_white_text_on_white_paper_is_left_out(read: Read, content: str, shown: list[str]) -> None:
    red = "<style:style style:name='T8' style:family='text'><style:text-properties fo:color='#ff0000'/></style:style>"
    looks = WHITE.format("T9", "text", "") + WHITE.format("P8", "paragraph", "") + WHITE.format("P9", "paragraph", DARK)
    flat = FLAT.replace("<office:automatic-styles>", f"<office:automatic-styles>{looks}{red}")
    document = read("a.fodt", ("<?xml version='1.0'?>" + flat.format(body(content))).encode())
    assert [text for _, text in kinds_and_texts(document)] == shown


def test_headings_and_lists_of_open_documents_have_their_numbers(read: Read) -> None:
    item = "<text:list-item><text:p>{}</text:p>{}</text:list-item>".format
    inner = f"<text:list>{item('inner', '')}{item('other', '')}</text:list>"
    lists = f"<text:list text:style-name='L1'>{item('one', inner)}{item('two', '')}</text:list>"
    more = f"<text:list text:style-name='L1' text:continue-numbering='true'>{item('three', '')}</text:list>"
    heading = "<text:h text:outline-level='{}'>{}</text:h>".format
    headings = heading(1, "First") + heading(2, "A") + heading(2, "B") + heading(1, "Second") + heading(2, "C")
    document = read("a.fodt", ("<?xml version='1.0'?>" + FLAT.format(body(headings + lists + more))).encode())
    assert [text for _, text in kinds_and_texts(document)] == [
        "1. First", "1.1 A", "1.2 B", "2. Second", "2.1 C", "1 one", "1.a) inner", "1.b) other", "2 two", "3 three",
    ]  # fmt: skip
