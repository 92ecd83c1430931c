"""HTML pages as people save and send them: all visible text is read once."""

from __future__ import annotations

import time

import pytest

from core.errors import DocumentRejected
from ingest.parsers import detection
from tests.unit.ingest.files import FACT
from tests.unit.ingest.support import Read, kinds_and_texts, sections

START = "<!doctype html><html><body>"
ROWS = "<tr><td>Vienna</td><td>41</td></tr><tr><td>Rome</td><td>57</td></tr>"


@pytest.mark.parametrize(
    "html",
    [
        "<details><summary>More</summary>{}</details>",
        "<details><summary>{}</summary>More</details>",
        "<figure><img src='a.png'><figcaption>{}</figcaption></figure>",
        "<table><caption>{}</caption><tr><th>city<th>price<tr><td>Vienna<td>41</table>",
        "<dialog open>{}</dialog>",
        "<nav><a href='/'>{}</a></nav>",
        "<form><label>{} <input type=checkbox></label></form>",
        "<textarea>{}</textarea>",
        "<select><option>{}</option><option>Rome</option></select>",
        "<button>{}</button>",
        "<input type='text' value='{}'>",
        "<input placeholder='{}'>",
        "<img src='a.png' alt='{}'>",
        "<object data='a.swf'>{}</object>",
        "<video controls>{}</video>",
        "<noscript>{}</noscript>",
        "<svg><title>{}</title></svg>",
        "<svg><text x='1'>{}</text></svg>",
        "<math><mtext>{}</mtext></math>",
        "<fieldset><legend>{}</legend></fieldset>",
        "<my-element>{}</my-element>",
        "<my-element><template shadowrootmode=open>{}</template></my-element>",
        "<dl><dt>Train<dd>{}</dl>",
        "<blockquote>{}</blockquote>",
        "<marquee>{}</marquee>",
        "<p><del>{}</del></p>",
        "<td>{}</td>",
        "</div></span>{}",
    ],
)
def test_visible_text_is_read_once(read: Read, html: str) -> None:
    document = read("page.html", (START + html.format(FACT)).encode())
    assert document.text.count(FACT) == 1


@pytest.mark.parametrize(
    "html",
    [
        "<script>var a = '{}'</script>",
        "<style>/* {} */</style>",
        "<template><p>{}</p></template>",
        "<!-- {} -->",
        "<input type=hidden value='{}'>",
        "<svg><style>/* {} */</style></svg>",
    ],
)
def test_invisible_text_is_skipped(read: Read, html: str) -> None:
    document = read("page.html", f"{START}<p>Before</p>{html.format(FACT)}<p>After</p>".encode())
    assert document.text == "Before\n\nAfter"


def test_the_page_title_is_read_unless_a_heading_repeats_it(read: Read) -> None:
    page = "<html><head><title>Timetable</title></head><body>{}<p>Vienna</p></body></html>"
    assert kinds_and_texts(read("a.html", page.format("").encode())) == [
        ("title", "Timetable"), ("paragraph", "Vienna"),
    ]  # fmt: skip
    assert kinds_and_texts(read("a.html", page.format("<h1>Timetable</h1>").encode()))[0] == ("heading", "Timetable")
    document = read("a.html", page.format("<h2>Trains</h2>").encode())
    assert sections(document)["Vienna"] == "Timetable > Trains"


def test_line_breaks_and_blocks_separate_words(read: Read) -> None:
    document = read("a.html", f"{START}<p>Main Street 1<br>Vienna</p><div>one</div><div>two</div>th<b>re</b>e".encode())
    assert [text for _, text in kinds_and_texts(document)] == ["Main Street 1\nVienna", "one", "two", "three"]


def test_data_tables_stay_tables(read: Read) -> None:
    head = "<tr><th rowspan=2>city<th colspan=2>price</tr><tr><th>adult<th>child</tr>"
    document = read("a.html", f"{START}<table>{head}<tr><td>Vienna<td>41<td>20</table>".encode())
    assert document.text == (
        "city | price adult | price child\ncity: Vienna; price adult: 41; price child: 20"
    )  # fmt: skip


def test_layout_tables_become_blocks(read: Read) -> None:
    inner = f"<table>{ROWS}</table>"
    page = f"{START}<table><tr><td><h1>News</h1><p>{FACT}</p></td><td>{inner}</td></tr></table>"
    assert kinds_and_texts(read("a.html", page.encode())) == [
        ("heading", "News"),
        ("paragraph", FACT),
        ("table", "Vienna: 41\nRome: 57"),
    ]
    page = f"{START}<table role=presentation>{ROWS}</table>"
    assert [text for _, text in kinds_and_texts(read("a.html", page.encode()))] == ["Vienna", "41", "Rome", "57"]


def test_ruby_does_not_split_words(read: Read) -> None:
    ruby = "<ruby>漢字<rp>(</rp><rt>かんじ</rt><rp>)</rp></ruby>"
    assert read("a.html", f"{START}{ruby}".encode()).text == "漢字(かんじ)"


def test_footnote_references_are_separated_from_words(read: Read) -> None:
    mark = '<a href="#fn1" class="footnote-ref"><sup>1</sup></a>'
    assert read("a.html", f"{START}<p>lanterns{mark} and <a href='#x'>more</a></p>".encode()).text == (
        "lanterns[1] and more"
    )  # fmt: skip


def test_a_page_of_comments_is_empty(read: Read) -> None:
    with pytest.raises(DocumentRejected, match="there is no text in it"):
        read("a.html", b"<!doctype html><!-- nothing -->")


def test_a_tag_with_very_many_attributes_is_read(read: Read) -> None:
    attributes = " ".join(f"a{number}=1" for number in range(300_000))
    assert read("a.html", f"{START}<p {attributes}>{FACT}</p>".encode()).text == FACT


@pytest.mark.parametrize("name", ["page.php", "page.html", "page"])
@pytest.mark.parametrize("code", ["<?php echo 'fare'; ?>", "<?= $fare ?>", "<%= fare %>", "<%@ page fare %>"])
def test_pages_with_template_code_are_source_code(read: Read, name: str, code: str) -> None:
    document = read(name, f"<!DOCTYPE html>\n<html><body><p>{FACT}</p>{code}</body></html>".encode())
    assert document.media_type == detection.CODE
    assert code in document.text and FACT in document.text


def test_a_second_title_is_text(read: Read) -> None:
    document = read(
        "a.html", b"<html><head><title>One</title><title>Two</title></head><body><p>Three</p></body></html>"
    )
    assert [text for _, text in kinds_and_texts(document)] == ["One", "Two", "Three"]


@pytest.mark.check
def test_wide_cells_and_deep_lists_are_read_in_bounded_time_and_memory(read: Read) -> None:
    wide = "<tr>" + "<td colspan=100>x" * 300 + "</tr>"
    document = read("a.html", f"{START}<table>{wide}{'<tr><td>city<td>price</tr>' * 3000}</table>".encode())
    assert len(document.text) < 1_000_000 and document.text.count("city | price") == 3000
    lists = "<ul><li>" * 20_000 + "<div>word</div>" * 20_000
    started = time.process_time()
    assert read("a.html", f"{START}{lists}".encode()).text.count("word") == 20_000
    assert time.process_time() - started < 10
