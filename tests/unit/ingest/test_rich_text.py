"""Rich text as Word, LibreOffice, WordPad and Outlook write it: all visible text is read once."""

from __future__ import annotations

import time

import pytest

from core.errors import DocumentRejected
from tests.unit.ingest.support import Read, kinds_and_texts, sections

FONTS = (
    r"{\fonttbl{\f0\froman\fcharset0\fprq2{\*\panose 02020603050405020304}Times New Roman;}"
    r"{\f1\fnil\fcharset128 MS Mincho;}{\f2\fswiss\fcharset204 Arial;}{\f3\froman\fcharset2 Symbol;}"
    r"{\f4\fnil\fcharset134 SimSun;}{\f5\fnil\cpg65001 Noto;}{\f6\fnil Arial;}}"
)
STYLES = (
    r"{\stylesheet{\ql \li0\ri0 \snext0 \sqformat Normal;}"
    r"{\s1\ql\keepn\outlinelevel0 \b\fs32 \sbasedon0 \snext0 \sqformat heading 1;}"
    r"{\s2\ql\keepn\b \sbasedon0 \snext0 Heading 2;}{\*\cs10 \additive Default Paragraph Font;}"
    r"{\s3\ql\outlinelevel2 \'dcberschrift 3;}{\s15\ql\fs56 \sbasedon0 Title;}{\s20\ql toc 1;}{\s21 Subtitle;}}"
)
INFO = r"{\*\generator Riched20;}{\info{\title Name of the file}{\author Someone}{\creatim\yr2024\mo1}}"


def rtf(body: str) -> bytes:
    head = r"{\rtf1\ansi\ansicpg1252\deff0\deflang1033" + FONTS + r"{\colortbl;\red0\green0\blue255;}" + STYLES + INFO
    return (head + r"\pard\plain " + body + "}").encode("latin-1")


def texts(read: Read, body: str) -> list[str]:
    return [text for _, text in kinds_and_texts(read("a.rtf", rtf(body)))]


def test_headings_by_outline_level_and_by_style_are_sections(read: Read) -> None:
    document = read(
        "a.rtf",
        rtf(
            r"\pard\plain \s15 {\fs56 Timetable}\par \pard\plain \s1\outlinelevel0 {\b First}\par \pard\plain one\par"
            r"\pard\plain \s2 Second\par \pard\plain {two}\par \pard\plain\s3 Third\par \pard\plain \s0 three\par"
            r"{\pard \ql \outlinelevel1 \b Grouped\par}{\pard four\par}\pard\s20 contents\par"
            r"\pard\s1\outlinelevel9 five"
        ),
    )
    assert sections(document) == {
        "Timetable": "Timetable",
        "First": "Timetable > First",
        "one": "Timetable > First",
        "Second": "Timetable > First > Second",
        "two": "Timetable > First > Second",
        "Third": "Timetable > First > Second > Third",
        "three": "Timetable > First > Second > Third",
        "Grouped": "Timetable > First > Grouped",
        "four": "Timetable > First > Grouped",
        "contents": "Timetable > First > Grouped",
        "five": "Timetable > First > Grouped",
    }
    assert document.elements[-1].kind == "paragraph"


def test_footnotes_follow_the_paragraph_that_refers_to_them(read: Read) -> None:
    assert texts(
        read,
        r"One{\super\chftn{\footnote\pard\plain \s21{\super\chftn} Note of one.\par More of it.}} goes on."
        r"{\super\chftn {\footnote\ftnalt\pard\plain {\super\chftn }An endnote.}}\par Two.\par",
    ) == ["One goes on.", "Note of one.", "More of it.", "An endnote.", "Two."]


def test_headers_and_footers_are_read_once_at_the_start_and_the_end(read: Read) -> None:
    header = r"{\header \pard\plain \qc Railways{\field{\*\fldinst{ PAGE }}{\fldrslt{ 7}}}\par}"
    footer = r"{\footerf \pard First foot\par}{\footer \pard Foot\par}"
    text = texts(read, rf"{header}{footer}Body\par\sect\sectd{header}{footer}More\par")
    assert text == ["Railways 7", "Body", "More", "First foot", "Foot"]
    number = r"{\footer \pard - {\field{\*\fldinst{ PAGE }}{\fldrslt{7}}} -\par}{\header 2024\par}"
    assert texts(read, rf"{number}Body\par") == ["2024", "Body"]


def test_text_boxes_are_read_once(read: Read) -> None:
    new = r"{\*\shpinst\shpleft100{\sp{\sn shapeType}{\sv 202}}{\sp{\sn lineColor}{\sv 255}}{\shptxt \pard Box\par}}"
    old = r"{\shprslt{\*\do\dobxcolumn{\dptxbx{\dptxbxtext\pard Box\par}}\dpx100}}"
    assert texts(read, rf"Before {{\shp{new}{old}}}after\par end\par") == ["Before after", "Box", "end"]
    assert texts(read, rf"Before\par {{\shp{{\*\shpinst}}{old}}}after\par") == ["Before", "after", "Box"]
    group = rf"{{\shpgrp{{\*\shpinst{{\shp{new}}}}}{old}}}"
    assert texts(read, rf"{group}after\par") == ["after", "Box"]


def test_wordart_and_picture_descriptions_are_read(read: Read) -> None:
    art = r"{\shp{\*\shpinst{\sp{\sn gtextUNICODE}{\sv Closed}}{\sp{\sn wzName}{\sv WordArt 1}}}}"
    picture = r"{\*\picprop{\sp{\sn wzDescription}{\sv A map}}}\picw10 89504e470d0a"
    both = rf"{{\*\shppict{{\pict{picture}}}}}{{\nonshppict{{\pict{picture}}}}}"
    assert texts(read, rf"One{art}{both} two\par") == ["One two", "Closed", "A map"]


def test_comments_name_their_authors(read: Read) -> None:
    comment = (
        r"{\*\atrfstart 1}words{\*\atrfend 1}{\*\atnid AB}{\*\atnauthor Ann Bee}\chatn "
        r"{\*\annotation{\*\atnref 1}{\*\atndate 666}\pard\plain {\cs16\chatn }Check this.\par}"
    )
    assert texts(read, rf"Some {comment} here.\par") == ["Some words here.", "Comment by Ann Bee: Check this."]


def test_fields_show_their_results_or_their_defaults(read: Read) -> None:
    form = r"{\field{\*\fldinst{ FORMTEXT {\*\formfield{\fftype0{\*\ffname N}{\*\ffdeftext Vienna}}}}}{\fldrslt %s}}"
    choice = r"{\field{\*\fldinst FORMDROPDOWN{\*\formfield{\fftype2\ffres%d\ffdefres0{\*\ffl red}{\*\ffl blue}}}}}"
    box = r"{\field{\*\fldinst FORMCHECKBOX {\*\formfield{\fftype1\ffres25\ffdefres1}}}{\fldrslt }}"
    link = r'{\field{\*\fldinst HYPERLINK "http://x.example/"}{\fldrslt{\ul a link}}}'
    reading = (
        r'{\field{\*\fldinst EQ \\* jc2 \\* "Font:MS Mincho" \\* hps10 \\o\\ad(\\s\\up 9(kana),kanji)}{\fldrslt }}'
    )
    button = r"{\field{\*\fldinst MACROBUTTON NoMacro [Your name]}{\fldrslt }}"
    fields = [form % "Rome", form % r"\u8194 \u8194 ", choice % 25, choice % 1, box, link, reading, button]
    assert texts(read, ", ".join(fields)) == ["Rome, \u2002\u2002Vienna, red, blue, ☒, a link, kana kanji, [Your name]"]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (r"load 25{\super 3} kg, 40 m\super 2\nosupersub , 10{\up6 -6} g\par", "load 25³ kg, 40 m², 10⁻⁶ g"),
        (r"H{\sub 2}O, 1010{\dn4 2}\par", "H2O, 1010₂"),
        (r"is {\strike 30 {\b days}} {\striked1 45}\striked0  90\par", "is ~~30 days~~ ~~45~~ 90"),
        (r"seen \v hidden\v0 too {\v more}\par", "seen too"),
        (r"\trowd\cellx1\cellx2 item\cell {\strike 120} 135\cell\row", "item | ~~120~~ 135"),
    ],
)
def test_marks_of_struck_out_and_raised_text(read: Read, body: str, shown: str) -> None:
    assert shown in texts(read, body)[0]


def test_deleted_and_hidden_text_is_skipped(read: Read) -> None:
    body = (
        r"It costs {\deleted\revauthdel1 40}{\revised\revauth1 41}{\deleted\par} euros{\deleted{\footnote gone}}."
        r"{\mvf moved away}{\mvt moved here}{\v hidden}\deleted gone \plain there\par {\xe{\v index}}end\par"
    )
    assert texts(read, body) == ["It costs 41 euros.moved herethere", "end"]
    assert texts(read, r"One{\footnote kept\deleted gone}, two\deleted gone") == ["One, two", "kept"]


def test_lists_keep_their_numbers_and_lose_their_bullets(read: Read) -> None:
    body = (
        r"{\listtext\pard\plain\f0 1.2\tab}\s2 Heading\par\pard{\listtext\f3 \'b7\tab}bullet\par"
        r"{\pntext\f3\'B7\tab}{\*\pn\pnlvlblt{\pntxtb\'B7}}old\par {\listtext 2)\tab}two\par \pard\bullet \tab sign\par"
    )
    document = read("a.rtf", rtf(body))
    assert kinds_and_texts(document) == [
        ("heading", "1.2 Heading"), ("list_item", "bullet"), ("list_item", "old"), ("list_item", "2) two"),
        ("list_item", "sign"),
    ]  # fmt: skip


def test_tables_with_paragraphs_and_tables_in_their_cells(read: Read) -> None:
    nested = (
        r"\pard\intbl\itap2 a\nestcell b\nestcell{\*\nesttableprops\trowd\cellx1\cellx2\nestrow}{\nonesttables\par}"
        r"\pard\intbl\itap2 c\nestcell d\nestcell{\*\nesttableprops\trowd\nestrow}{\nonesttables\par}"
    )
    body = (
        r"Before\par\trowd\cellx100\cellx200\pard\intbl city\cell price\cell\row"
        r"\trowd\pard\intbl {Vienna\par Central}{\footnote The old one.}\cell 41\cell\row"
        rf"\pard\intbl {{x|y}}\cell {nested}\pard\intbl\itap1 tail\cell\row\pard after\par"
    )
    assert kinds_and_texts(read("a.rtf", rtf(body))) == [
        ("paragraph", "Before"),
        ("table", "city: price\nVienna Central: 41\nx|y: a, b; c, d tail"),
        ("paragraph", "The old one."),
        ("paragraph", "after"),
    ]


def test_charsets_and_special_characters(read: Read) -> None:
    assert texts(
        read,
        r"{\f1 \'93\'fa\'96{}\'96\{\'83A}{\loch\af0\dbch\f4 \'c4\'e3}{\f2\'cf\'ee}{\f5\'c3\'bc}{\f6\'fc}\'80",
    ) == ["日\ufffd本ア你Поüü€"]
    assert texts(read, r"\uc1\u8364?{\uc2\u12354\'82\'a0}{\uc0\u246}\u-10179?\u-8704?\u246\'f6\u128512?!") == [
        "€あö😀ö😀!"
    ]
    assert texts(read, r"a\tab b\emdash c\endash\lquote d\rquote\ldblquote e\rdblquote\~f\_g\-h\{\}\\\line i") == [
        "a\tb—c–‘d’“e”\xa0f-gh{}\\\ni"
    ]
    assert texts(read, "one\\\ntwo\\page three\\column four\\sect\nfi\r\nve") == ["one", "two", "three", "four", "five"]
    assert texts(read, r"{\upr{\'3f}{\*\ud\u26085?}}{\*\unknown gone{\par}}{\unknownword kept}") == ["日kept"]
    assert read("a.rtf", rb"{\rtf1\mac\'8a}").text == "ä"
    assert read("a.rtf", "{\\rtf1\\ansi\\ansicpg1250 žluť}".encode("cp1250")).text == "žluť"


def test_formulas_are_read(read: Read) -> None:
    fraction = r"{\*\mf{\*\mfPr{\*\mctrlPr\f1 }}{\*\mnum{\mr\mscr0 a}}{\*\mden{\mr b}}}"
    formula = rf"{{\mmath{{\*\moMath{fraction}}}{{\mmathPict{{\pict 00}}}}}}"
    assert texts(read, rf"x={formula}\par") == ["x=a/b"]


@pytest.mark.parametrize("bytes_of_picture", [b"}}}{{{\\par no", bytes(range(256))])
def test_pictures_are_skipped_whatever_their_bytes(read: Read, bytes_of_picture: bytes) -> None:
    binary = rb"\bin%d " % len(bytes_of_picture) + bytes_of_picture
    pictures = [rb"{\pict\wmetafile8" + binary + b"}", rb"{\*\objdata " + binary + b"}", rb"{\pict 0a0b}"]
    assert read("a.rtf", rb"{\rtf1 one" + b"".join(pictures) + rb" two\par}").text == "one two"


def test_a_surplus_brace_does_not_end_the_text_and_bytes_after_the_text_are_ignored(read: Read) -> None:
    assert read("a.rtf", rb"{\rtf1 one\par}}{\b two\par}}" + b"\0" * 9).text == "one\n\ntwo"
    assert read("a.rtf", rb"{\rtf1 one\par} signature").text == "one"


def test_a_truncated_file_is_read_up_to_its_end(read: Read) -> None:
    whole = rtf(r"{\header Head}One{\footnote A note}\par \trowd\pard\intbl a\cell {b\cell\row")
    start = whole.index(b"A note") + 3
    assert read("a.rtf", whole[:start]).text == "Head\n\nOne\n\nA n"
    assert read("a.rtf", whole).text.endswith("a | b")
    with pytest.raises(DocumentRejected, match="no text"):
        read("a.rtf", whole[:200])


PAGE = r"""{\rtf1\ansi\ansicpg1251\fromhtml1 \fbidis \deff0{\fonttbl{\f0\fswiss\fcharset204 Arial;}{\f1 Courier;}}
{\colortbl\red0\green0\blue0;}\uc1\pard\plain\deftab360 \f0\fs24
{\*\htmltag19 <html>}\htmlrtf{\htmlrtf0
{\*\htmltag34 <head>}{\*\htmltag241 <style>}{\*\htmltag241 <!--\par p \{margin:0cm;\}\par -->}{\*\htmltag249 </style>}
{\*\htmltag41 </head>}{\*\htmltag50 <body lang="EN-US">}\htmlrtf \lang1033 \htmlrtf0
{\*\htmltag148 <h1>}\htmlrtf {\b \htmlrtf0 Timetable\htmlrtf }\htmlrtf0{\*\htmltag156 </h1>}\htmlrtf \par\htmlrtf0
{\*\htmltag64 <p>}\htmlrtf {\htmlrtf0 \'cf\'ee\'e5\'e7\'e4 {\*\htmltag84 &lt;}\htmlrtf <\htmlrtf0 5 <i> &
 {\*\htmltag84 <b>}\htmlrtf {\b\htmlrtf0 bold\htmlrtf }\htmlrtf0{\*\htmltag92 </b>}{\*\htmltag116 <br>}\htmlrtf \line
\htmlrtf0 \u8364?\htmlrtf\par}\htmlrtf0{\*\htmltag72 </p>}{\*\mhtmltag84 <a href="x">}
{\*\htmltag64 <ul>}{\*\htmltag64 <li>}\htmlrtf{{\*\pn\pnlvlblt{\pntxtb\'B7}}{\pntext\'B7\tab}\htmlrtf0 item\htmlrtf }
\htmlrtf0{\*\htmltag72 </li></ul>}{\*\htmltag58 </body>}{\*\htmltag27 </html>}\htmlrtf }\htmlrtf0 }"""


def test_encapsulated_html_is_read_once(read: Read) -> None:
    document = read("a.rtf", PAGE.encode())
    assert kinds_and_texts(document) == [
        ("heading", "Timetable"), ("paragraph", "Поезд <5 <i> & bold\n€"), ("list_item", "item"),
    ]  # fmt: skip
    assert document.media_type == "application/rtf"
    assert document.elements[-1].section == "Timetable"


def test_rich_text_that_only_declares_html_is_read_as_rich_text(read: Read) -> None:
    assert (
        read("a.rtf", rb"{\rtf1\ansi\fromhtml1 {\*\htmltag64 <p>}\htmlrtf only here\htmlrtf0\par}").text == "only here"
    )
    assert read("a.rtf", rb"{\rtf1\ansi\fromtext one\par two\par}").text == "one\n\ntwo"


@pytest.mark.check
@pytest.mark.parametrize(
    "data",
    [
        b"{\\footnote a" * 100_000,
        b"{\\field{\\*\\fldinst a" * 50_000,
        b"{\\*\\x" * 200_000,
        b"}" * 1_000_000 + b"\\par",
        b"\\intbl\\itap9 a\\nestcell\\itap1 b\\cell " * 20_000,
        b"{\\shp" * 100_000,
        b"{\\pict " + b"89504e47" * 500_000 + b"}",
    ],
    ids=lambda data: data[:12].decode(),
)
def test_hostile_rich_text_is_read_in_bounded_time(read: Read, data: bytes) -> None:
    started = time.process_time()
    assert read("a.rtf", b"{\\rtf1 first " + data).text.startswith("first") or data.startswith(b"\\intbl")
    assert time.process_time() - started < 10
