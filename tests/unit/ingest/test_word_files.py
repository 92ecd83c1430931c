"""Word files: all text is read, from notes, comments, forms, tracked changes, text boxes, equations and drawings."""

from __future__ import annotations

import docx
import pytest

from core.errors import DocumentRejected
from ingest.parsers.office import word_xml
from tests.unit.ingest import files
from tests.unit.ingest.files import FACT
from tests.unit.ingest.office import (
    CHART,
    DIAGRAM,
    NAMESPACES,
    linked,
    p,
    part,
    r,
    strict,
    typed,
    with_parts,
    word_file,
)
from tests.unit.ingest.support import Read, docx_bytes, kinds_and_texts

NOTES = f"""<w:footnotes {NAMESPACES}><w:footnote w:type="separator" w:id="-1">{p("SEPARATOR")}</w:footnote>
<w:footnote w:id="7">{p("Except on <w:br/>Sundays.").replace("<w:br/>", "")}{p("See the timetable.")}</w:footnote>
<w:footnote w:id="8"><w:p><w:ins>{r("By day")}<w:r><w:noBreakHyphen/></w:r>{r("light.")}</w:ins></w:p></w:footnote>
</w:footnotes>"""
COMMENTS = f"""<w:comments {NAMESPACES}><w:comment w:id="0" w:author="Ann">{p("Is this true?")}</w:comment>
<w:comment w:id="1">{p("Nobody asks.")}</w:comment></w:comments>"""
BOX = "<w:txbxContent>" + p("In the box", '<w:r><w:footnoteReference w:id="8"/></w:r>') + "</w:txbxContent>"
ALTERNATIVES = f"""<w:r><mc:AlternateContent><mc:Choice Requires="wps"><w:drawing><wp:anchor><wps:wsp><wps:txbx>{BOX}
</wps:txbx></wps:wsp></wp:anchor></w:drawing></mc:Choice><mc:Fallback><w:pict><v:shape><v:textbox>{BOX}</v:textbox>
</v:shape></w:pict></mc:Fallback></mc:AlternateContent></w:r>"""


TABLE = "<w:tbl><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid>%s</w:tbl>"


def mark(kind: str, number: int) -> str:
    return f'<w:r><w:{kind}Reference w:id="{number}"/></w:r>'


def lines(read: Read, data: bytes) -> list[str]:
    return [text for _, text in kinds_and_texts(read("a.docx", data))]


def body(read: Read, xml: str) -> list[str]:
    return lines(read, word_file(xml))


def test_notes_follow_the_paragraph_that_refers_to_them(read: Read) -> None:
    xml = p("First.", mark("footnote", 7)) + p("Second.", mark("footnote", 8) + mark("footnote", 7)) + p("Third.")
    assert lines(read, word_file(xml, {"footnotes.xml": NOTES}, ("n1", "footnotes"))) == [
        "First.", "[footnote 1] Except on Sundays.", "See the timetable.",
        "Second.", "[footnote 2] By day-light.", "Third.",
    ]  # fmt: skip


def test_notes_of_a_table_follow_the_table(read: Read) -> None:
    cells = "".join(f"<w:tc>{cell}</w:tc>" for cell in (p("city"), p("price", mark("endnote", 7))))
    xml = f"<w:tbl><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid><w:tr>{cells}</w:tr></w:tbl>" + p("After.")
    notes = NOTES.replace("footnote", "endnote")
    document = read("a.docx", word_file(xml, {"endnotes.xml": notes}, ("n1", "endnotes")))
    assert kinds_and_texts(document) == [
        ("table", "city | price"), ("paragraph", "[endnote 1] Except on Sundays."),
        ("paragraph", "See the timetable."), ("paragraph", "After."),
    ]  # fmt: skip


def test_comments_follow_their_text_and_survive_its_deletion(read: Read) -> None:
    xml = p("True.", mark("comment", 0)) + p("Other.", f"<w:del>{mark('comment', 1)}</w:del>") + p("Last.")
    assert lines(read, word_file(xml, {"comments.xml": COMMENTS}, ("c1", "comments"))) == [
        "True.", "Comment by Ann: Is this true?", "Other.", "Last.", "Comment: Nobody asks.",
    ]  # fmt: skip


def test_comments_that_python_docx_writes_are_read(read: Read) -> None:
    def fill(document: docx.document.Document) -> None:
        document.add_comment(document.add_paragraph(FACT).runs, text="Check the time.", author="Bob")

    assert lines(read, docx_bytes(fill)) == [FACT, "Comment by Bob: Check the time."]


def test_filled_forms_are_read(read: Read) -> None:
    def control(content: str) -> str:
        return f"<w:sdt><w:sdtPr><w:alias w:val='Name'/></w:sdtPr><w:sdtContent>{content}</w:sdtContent></w:sdt>"

    cell, row = f"<w:tc>{p('in the table')}</w:tc>", f"<w:tr><w:tc>{p('a row')}</w:tc><w:tc>{p('of it')}</w:tc></w:tr>"
    table = (
        f"<w:tbl><w:tblGrid><w:gridCol/><w:gridCol/></w:tblGrid><w:tr><w:tc>{p('name')}</w:tc>{control(cell)}</w:tr>"
    )
    xml = control(p("A block")) + p("Name: ", control(r("Ann") + control(r(" Lee")))) + f"{table}{control(row)}</w:tbl>"
    assert body(read, xml) == [
        "A block", "Name: Ann Lee", "name: in the table\na row: of it",
    ]  # fmt: skip


def test_headings_in_content_controls_are_headings(read: Read) -> None:
    heading = '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr>' + r("Report") + "</w:p>"
    xml = f"<w:sdt><w:sdtContent>{heading}</w:sdtContent></w:sdt>" + p("Text.")
    document = read("a.docx", word_file(xml))
    assert [(element.kind.value, element.section) for element in document.elements] == [
        ("heading", "Report"), ("paragraph", "Report"),
    ]  # fmt: skip


def test_tracked_changes_are_read_as_if_accepted(read: Read) -> None:
    deleted = "<w:r><w:delText>old </w:delText></w:r>"
    row = f"<w:tr>%s<w:tc>{p('%s')}</w:tc></w:tr>"
    rows = row % ("<w:trPr><w:ins/></w:trPr>", "new row") + row % ("<w:trPr><w:del/></w:trPr>", "old row")
    xml = (
        p("A ", f"<w:del>{deleted}</w:del><w:ins>{r('new ')}<w:del>{deleted}{r('gone')}</w:del></w:ins>{r('word')}")
        + p("It ", f"<w:moveFrom>{r('was here ')}</w:moveFrom><w:moveTo>{r('is here')}</w:moveTo>")
        + f"<w:tbl><w:tblGrid><w:gridCol/></w:tblGrid>{rows}</w:tbl>"
    )
    assert body(read, xml) == ["A new word", "It is here", "new row"]


def test_fields_tags_and_links_keep_their_text(read: Read) -> None:
    link = f'<w:hyperlink w:anchor="x"><w:ins>{r("a link")}</w:ins></w:hyperlink>'
    xml = p("", f'<w:fldSimple w:instr="AUTHOR">{r("Ann ")}</w:fldSimple>'
                f"<w:smartTag>{r('met ')}<w:smartTag>{r('Bob ')}</w:smartTag></w:smartTag>"
                f"<w:customXml><w:customXmlPr/>{r('in ')}</w:customXml><w:bdo>{r('Rome ')}</w:bdo>"
                f"<w:ins>{link}</w:ins>")  # fmt: skip
    assert body(read, xml) == ["Ann met Bob in Rome a link"]


def test_text_boxes_are_read_once_with_their_notes(read: Read) -> None:
    xml = p("Before.", ALTERNATIVES) + p("After.")
    data = word_file(xml, {"footnotes.xml": NOTES}, ("n1", "footnotes"))
    assert lines(read, data) == ["Before.", "In the box", "[footnote 1] By day-light.", "After."]
    inline = f"<w:r><w:drawing><wp:inline><wps:txbx>{BOX}</wps:txbx></wp:inline></w:drawing></w:r>"
    assert body(read, p("Before.", inline)) == ["Before.", "In the box"]


def test_text_boxes_with_only_a_fallback_are_read(read: Read) -> None:
    pict = f"<w:pict><v:shape><v:textbox>{BOX}</v:textbox></v:shape></w:pict>"
    empty = f'<mc:AlternateContent><mc:Choice Requires="x"/><mc:Fallback>{pict}</mc:Fallback></mc:AlternateContent>'
    assert body(read, p("Before.", f"<w:r>{empty}</w:r>")) == ["Before.", "In the box"]


def test_text_boxes_in_text_boxes_and_in_cells_are_read(read: Read) -> None:
    inner = f"<w:r><w:pict><v:textbox>{BOX}</v:textbox></w:pict></w:r>"
    outer = f"<w:r><w:pict><v:textbox><w:txbxContent>{p('Outer', inner)}</w:txbxContent></v:textbox></w:pict></w:r>"
    cell = f"<w:tbl><w:tblGrid><w:gridCol/></w:tblGrid><w:tr><w:tc>{p('Cell', outer)}</w:tc></w:tr></w:tbl>"
    assert body(read, p("Before.", outer) + cell) == [
        "Before.",
        "Outer",
        "In the box",
        "Cell Outer In the box",
    ]


def test_headers_and_footers_are_read_with_their_boxes(read: Read) -> None:
    def fill(document: docx.document.Document) -> None:
        document.sections[0].header.paragraphs[0].text = "Confidential"
        document.sections[0].footer.paragraphs[0].text = "Page one"
        document.add_paragraph(FACT)

    data = docx_bytes(fill)
    watermark = '<w:r><w:pict><v:shape><v:textpath string="DRAFT"/></v:shape></w:pict></w:r>'
    header = part(data, "word/header1.xml").replace(
        "</w:p>", watermark.replace("<w:r", f"<w:r {NAMESPACES}", 1) + "</w:p>"
    )
    assert lines(read, with_parts(data, {"word/header1.xml": header})) == ["Confidential\nDRAFT", FACT, "Page one"]


def test_equations_are_written_on_one_line(read: Read) -> None:
    def m(text: str) -> str:
        return f"<m:r><m:t>{text}</m:t></m:r>"

    root = f"<m:rad><m:deg/><m:e><m:sSup><m:e>{m('b')}</m:e><m:sup>{m('2')}</m:sup></m:sSup></m:e></m:rad>"
    fraction = f"<m:f><m:num>{m('−b+')}{root}</m:num><m:den>{m('2a')}</m:den></m:f>"
    bounds = f"<m:sub>{m('i=1')}</m:sub><m:sup>{m('n')}</m:sup>"
    nary = f"<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr>{bounds}<m:e>{m('i')}</m:e></m:nary>"
    xml = p("So ", f"<m:oMath>{m('x=')}{fraction}</m:oMath>") + p(
        "", f"<m:oMathPara><m:oMath>{nary}</m:oMath></m:oMathPara>"
    )
    assert body(read, xml) == ["So x=(−b+√(b^2))/2a", "∑_(i=1)^n i"]


def test_charts_and_diagrams_are_read(read: Read) -> None:
    graphic = "<a:graphic><a:graphicData>%s</a:graphicData></a:graphic>"
    drawing = f"<w:r><w:drawing><wp:inline>{graphic}</wp:inline></w:drawing></w:r>"
    xml = p("Before.", drawing % '<c:chart r:id="x1"/>' + drawing % '<dgm:relIds r:dm="x2"/>') + p("After.")
    data = word_file(
        xml, {"charts/chart1.xml": CHART, "diagrams/data1.xml": DIAGRAM}, ("x1", "chart"), ("x2", "diagramData")
    )
    assert lines(read, data) == [
        "Before.",
        "Chart: Fares by city",
        "Adults: Vienna 41; Rome 57",
        "Book the train",
        "After.",
    ]


def test_a_chart_that_several_drawings_refer_to_is_read_once(read: Read) -> None:
    drawing = '<w:r><w:drawing><wp:inline><c:chart r:id="x1"/></wp:inline></w:drawing></w:r>'
    data = word_file(p("Text.", drawing) * 2, {"charts/chart1.xml": CHART}, ("x1", "chart"))
    assert lines(read, data) == ["Text.", "Chart: Fares by city", "Adults: Vienna 41; Rome 57", "Text."]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("A map of the line to Vienna", "Picture: A map of the line to Vienna"),
        ("A map&#xA;&#xA;Description automatically generated with low confidence", "Picture: A map"),
        ("Picture 3", None), ("logo.png", None), ("Text Box 2", None), ("", None),
    ],
)  # fmt: skip
def test_descriptions_of_pictures_are_read_if_they_say_anything(read: Read, words: str, line: str | None) -> None:
    picture = f'<w:r><w:drawing><wp:inline><wp:docPr id="1" name="x" descr="{words}"/></wp:inline></w:drawing></w:r>'
    assert body(read, p("Text.", picture)) == ["Text.", *([line] if line else [])]


def test_form_fields_symbols_and_ruby_are_read(read: Read) -> None:
    def field(content: str) -> str:
        return f'<w:r><w:fldChar w:fldCharType="begin"><w:ffData>{content}</w:ffData></w:fldChar></w:r>'

    box = field('<w:checkBox><w:default w:val="%s"/></w:checkBox>')
    entries = "<w:ddList><w:result w:val='1'/><w:listEntry w:val='red'/><w:listEntry w:val='blue'/></w:ddList>"
    choice = field(entries)
    symbols = "".join(
        f'<w:r><w:sym w:font="{font}" w:char="{code}"/></w:r>'
        for font, code in (("Wingdings", "F0FE"), ("Symbol", "F061"), ("Symbol", "F0B3"), ("Arial", "00A9"))
    )
    ruby = f"<w:r><w:ruby><w:rubyPr/><w:rt>{r('kyo')}</w:rt><w:rubyBase>{r('京')}</w:rubyBase></w:ruby></w:r>"
    assert body(read, p("", box % 1 + box % 0 + choice) + p("", symbols) + p("", ruby)) == [
        "☒☐blue",
        "☑α≥©",
        "京 (kyo)",
    ]


def test_tabs_breaks_and_hyphens_are_read(read: Read) -> None:
    marks = ("tab", "br", "cr", "noBreakHyphen", "softHyphen")
    xml = p("a", "".join(f"<w:r><w:{name}/><w:t>{number}</w:t></w:r>" for number, name in enumerate(marks)))
    assert body(read, xml) == ["a\t0\n1\n2-34"]


def test_page_breaks_of_the_author_are_counted(read: Read) -> None:
    page = '<w:r><w:br w:type="page"/></w:r>'
    before = "<w:p><w:pPr><w:pageBreakBefore/></w:pPr>" + r("Third") + "</w:p>"
    document = read("a.docx", word_file(p("First", page + r("Second")) + before + p("Still third")))
    assert [(element.text, element.page) for element in document.elements] == [
        ("First", 1), ("Second", 2), ("Third", 3), ("Still third", 3),
    ]  # fmt: skip


def test_page_breaks_that_word_also_recorded_are_not_counted_twice(read: Read) -> None:
    xml = p("First", '<w:r><w:br w:type="page"/></w:r>') + p("", "<w:r><w:lastRenderedPageBreak/></w:r>" + r("Second"))
    document = read("a.docx", word_file(xml))
    assert [(element.text, element.page) for element in document.elements] == [("First", 1), ("Second", 2)]


def test_an_ordinary_file_is_not_rewritten(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_xml, "_simplify", None)
    assert FACT in read("a.docx", files.word()).text


def test_web_pages_that_word_would_import_are_read(read: Read) -> None:
    xml = p("Before.") + '<w:altChunk r:id="h1"/><w:altChunk r:id="h2"/>' + p("After.")
    parts = {"page.html": "<!doctype html><h1>Page</h1><p>In the page</p>", "empty.html": ""}
    data = word_file(xml, parts, ("h1", "aFChunk"), ("h2", "aFChunk"))
    assert lines(read, typed(data, {f"word/{name}": "text/html" for name in parts})) == [
        "Before.", "Page", "In the page", "This part was not read: The file is empty.", "After.",
    ]  # fmt: skip


def test_header_cells_that_span_rows_are_not_their_values(read: Read) -> None:
    def cell(text: str, properties: str = "") -> str:
        return f"<w:tc><w:tcPr>{properties}</w:tcPr>{p(text)}</w:tc>"

    first = cell("city", '<w:vMerge w:val="restart"/>') + cell("price")
    rows = (first, cell("", "<w:vMerge/>") + cell("41"), cell("Rome") + cell("57"))
    assert body(read, TABLE % "".join(f"<w:tr>{row}</w:tr>" for row in rows)) == [
        "city | price\nprice: 41\ncity: Rome; price: 57"
    ]


def test_rows_whose_spans_contradict_each_other_are_not_lost(read: Read) -> None:
    merged = f"<w:tc><w:tcPr><w:vMerge/></w:tcPr>{p('')}</w:tc>"
    rows = f"<w:tr><w:tc>{p('city')}</w:tc></w:tr><w:tr><w:tc>{p('Vienna')}</w:tc>{merged}<w:tc>{p('41')}</w:tc></w:tr>"
    assert body(read, TABLE % rows) == ["city Vienna 41"]


def test_strict_open_xml_is_read(read: Read) -> None:
    data = strict(files.word())
    assert "purl.oclc.org" in part(data, "word/document.xml")
    assert lines(read, data) == lines(read, files.word())


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.ms-word.document.macroEnabled.main+xml",
        "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
    ],
)
def test_templates_and_files_with_macros_are_read(read: Read, kind: str) -> None:
    types = part(files.word(), "[Content_Types].xml")
    plain = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    assert plain in types
    data = with_parts(files.word(), {"[Content_Types].xml": types.replace(plain, kind)})
    assert lines(read, data) == lines(read, files.word())


def test_broken_parts_are_skipped_and_named(read: Read) -> None:
    data = word_file(p(FACT, mark("footnote", 7)), {"footnotes.xml": "<w:foot"}, ("n1", "footnotes"))
    document = read("a.docx", data)
    assert (document.text, document.metadata) == (FACT, {"parts_not_read": "word/footnotes.xml"})
    missing = linked(files.word(), "word/document.xml", ("x9", "http://x/image", "media/gone.png"))
    assert FACT in read("a.docx", missing).text


def test_a_broken_header_is_skipped(read: Read) -> None:
    def fill(document: docx.document.Document) -> None:
        document.sections[0].header.paragraphs[0].text = "Confidential"
        document.add_paragraph(FACT)

    document = read("a.docx", with_parts(docx_bytes(fill), {"word/header1.xml": "<w:hdr"}))
    assert (document.text, document.metadata["parts_not_read"]) == (FACT, "word/header1.xml")


def test_a_wrong_directory_offset_means_a_broken_file(read: Read) -> None:
    data = bytearray(files.word())
    # The offset of the directory: with a larger one, parts begin before the start of the file.
    start = data.rindex(b"PK\x05\x06") + 16
    offset = int.from_bytes(data[start : start + 4], "little")
    data[start : start + 4] = (offset + 1000).to_bytes(4, "little")
    with pytest.raises(DocumentRejected, match="is broken"):
        read("a.docx", bytes(data))


def test_a_broken_main_part_is_refused(read: Read) -> None:
    with pytest.raises(DocumentRejected, match="The Word document is broken"):
        read("a.docx", with_parts(files.word(), {"word/document.xml": "<w:document"}))


def test_comments_without_a_content_type_are_read(read: Read) -> None:
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.comments+xml"
    data = word_file(p(FACT, mark("comment", 0)), {"comments.xml": COMMENTS}, ("c1", "comments"))
    assert lines(read, data) == lines(read, typed(data, {"word/comments.xml": kind}))
