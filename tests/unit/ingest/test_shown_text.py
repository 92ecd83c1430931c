"""Text as people see it: without what is hidden or commented out, with marks for what is struck out or raised."""

from __future__ import annotations

import pytest

from ingest.parsers.line_ends import join_words, unwrap
from tests.unit.ingest.support import Read, assert_elements_cover, kinds_and_texts

START = "<!doctype html><html><body>"


@pytest.mark.parametrize(
    "html",
    [
        "<div style='display:none'>{}</div>",
        "<div style='DISPLAY : none !important'><div>{}</div></div>",
        "<p style='visibility:hidden'>{}</p>",
        "<div hidden>{}</div>",
        "<span aria-hidden='true'>{}</span>",
        "<p style='font-size:0'>{}</p>",
        "<p style='opacity:0'>{}</p>",
        "<p style='color:#fff;background:#fff'>{}</p>",
        "<p style='color:white'>{}</p>",
        "<table bgcolor=#000000><tr><td><font color=black>{}</font></table>",
        "<p style='color:rgba(0,0,0,0)'>{}</p>",
        "<div style='position:absolute;left:-9999px'>{}</div>",
        "<div style='text-indent:-9999px'>{}</div>",
        "<span style='position:absolute;clip:rect(0,0,0,0)'>{}</span>",
        "<div style='max-height:0;overflow:hidden'>{}</div>",
        "<style>.x, p.y {{ display: none }}</style><p class='a y'>{}</p>",
        "<style>#z {{ color: #FFF; background-color: #fefefe }}</style><p id=z>{}</p>",
        "<noscript>{}</noscript>",
        "<input type=text value='{}' hidden>",
        "<ix:header><ix:hidden>{}</ix:hidden></ix:header>",
    ],
)
def test_text_that_nobody_sees_is_left_out(read: Read, html: str) -> None:
    page = f"{START}<p>Before</p>{html.format('Secret')}<p>After</p>"
    assert read("page.html", page.encode()).text == "Before\n\nAfter"


@pytest.mark.parametrize(
    "html",
    [
        "<details><summary>More</summary>{}</details>",
        "<div hidden='until-found'>{}</div>",
        "<div style='font-size:0'><p style='font-size:13px'>{}</p></div>",
        "<table><tr><td style='background:#000'><span style='color:#fff'>{}</span><tr><td>x</table>",
        "<style>body {{ background: #123 }}</style><p style='color:#fff'>{}</p>",
        "<table background=dark.png><tr><td><p style='color:#fff'>{}</p></table>",
        "<script>open()</script><style>.tab {{ display: none }}</style><p class=tab>{}</p>",
        "<style>.tab {{ display: none }} .tab:target {{ display: block }}</style><p class=tab>{}</p>",
        "<style>@media print {{ .x {{ display: none }} }}</style><p class=x>{}</p>",
        "<div style='display:none'><input></div><p>{}",
        "<div style='visibility:hidden'><p style='visibility:visible'>{}</p></div>",
        "<p>costs <ix:nonfraction scale=3>{}</ix:nonfraction></p>",
    ],
)
def test_text_that_is_seen_or_can_be_opened_is_read(read: Read, html: str) -> None:
    assert read("page.html", (START + html.format("Fact")).encode()).text.count("Fact") == 1


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("is <s>30</s> 90 days", "is ~~30~~ 90 days"),
        ("is <del>30 <b>long</b></del> <ins>90</ins>", "is ~~30 long~~ 90"),
        ("<span style='text-decoration: line-through'>6 <span>to</span> 9</span> 11", "~~6 to 9~~ 11"),
        ("<style>.old{text-decoration:line-through}</style><p class=old>gone", "~~gone~~"),
        ("<del><p>one</p><p>two</p></del>three", "~~one~~\n\n~~two~~\n\nthree"),
        ("<strike><s>x</s> y</strike>", "~~x y~~"),
        ("load 25<sup>3</sup> kg, 40 m<sup>2</sup>", "load 25³ kg, 40 m²"),
        ("10<sup>-6</sup> g, 10<sup>\u22125</sup>", "10⁻⁶ g, 10⁻⁵"),
        ("H<sub>2</sub>O, 1010<sub>2</sub>", "H2O, 1010₂"),
        ("the 1<sup>st</sup>, 2<sup>n</sup>, M<sup>me</sup>", "the 1st, 2^n, Mme"),
        ("word<sup>1,2</sup>, word<sup>[3]</sup>", "word[1,2], word[3]"),
        ("Room 12<sup><a href='#f'>1</a></sup>", "Room 12[1]"),
        ("Room 12<a href='#f'><sup>1</sup></a>", "Room 12[1]"),
        ("<a href='#f'>10<sup>5</sup></a>", "10⁵"),
        ("5<span style='vertical-align:super;font-size:8pt'>3</span>", "5³"),
        ("<math><msup><mn>10</mn><mrow><mo>-</mo><mn>5</mn></mrow></msup></math> Pa", "10^-5 Pa"),
        ("<math><msub><mi>x</mi><mn>2</mn></msub><mfrac><mn>1</mn><mn>3</mn></mfrac></math>", "x_21/3"),
        ("<ol><li>one<ul><li>x</ul><li><p>two</p><p>more</p></ol>", "1. one\nx\n2. two\nmore"),
        ("<ol type=I start=3><li>c<li value=9>i<li></li><li>k</ol>", "III. c\nIX. i\nXI. k"),
        ("<ol style='list-style: none'><li>home</ol>", "home"),
        ("暗証番\n 号は\nX です", "暗証番号は X です"),
    ],
)
def test_marks_of_a_page(read: Read, html: str, shown: str) -> None:
    assert read("page.html", (START + html).encode()).text == shown


def test_comments_in_markdown_are_left_out(read: Read) -> None:
    text = """# Crane <!-- a --> limits

It is 700 kg `<!-- code -->`.

[//]: # (Hidden 1)
[note]: <> (Hidden 2
over lines)
[real]: http://x.y "title"

```html
<!-- shown -->
```

{/* Hidden 3 */}

<!--
Hidden 4

```
Hidden 5
```
-->

%%
Hidden 6
%%

<div hidden>
Hidden 7
</div>

    <!-- indented -->

end
"""
    for name in ("notes.md", "notes.mdx"):
        document = read(name, text.encode())
        assert_elements_cover(document)
        assert "Hidden" not in document.text
        assert [text for kind, text in kinds_and_texts(document)] == [
            "# Crane  limits", "It is 700 kg `<!-- code -->`.", '[real]: http://x.y "title"',
            "```html\n<!-- shown -->\n```", "    <!-- indented -->", "end",
        ]  # fmt: skip


def test_marks_of_markdown(read: Read) -> None:
    text = "25<sup>3</sup> kg, 10^5^ Pa, <del>30</del> ~~40~~ 90 <span style='text-decoration:line-through'>x</span>"
    assert read("a.md", text.encode()).text == "25³ kg, 10⁵ Pa, ~~30~~ ~~40~~ 90 ~~x~~"
    assert read("a.md", b"`25<sup>3</sup>`").text == "`25<sup>3</sup>`"


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("the dia-\nphragm pump", "the diaphragm\npump"),
        ("an X-\nray of AB-\n1207", "an X-ray\nof AB-1207"),
        ("a self-\nadjusting, state-of-\nthe-art valve", "a self-adjusting,\nstate-of-the-art\nvalve"),
        ("24-\nhour service", "24-hour\nservice"),
        ("re-\ncover it, re-cover", "re-cover\nit, re-cover"),
        ("in Baden-\nBaden\nnow", "in Baden-Baden\nnow"),
        ("Ver-\nant-\nwortung", "Verant-\nwortung"),
        ("a -\nb\n- c-\n- d", "a -\nb\n- c-\n- d"),
        ("北京市朝阳区的供水公司今天宣布暗証番\n号は八三六一です。\n次の行", None),
    ],
)
def test_words_are_whole_at_line_ends(text: str, joined: str | None) -> None:
    assert unwrap(text) == (joined or "北京市朝阳区的供水公司今天宣布暗証番号は八三六一です。\n次の行")


def test_only_chinese_and_japanese_lines_are_joined_without_a_space() -> None:
    assert join_words("暗証番\n号は word\nnext 한국\n어") == "暗証番号は word next 한국 어"


@pytest.mark.parametrize("name", ["a.txt", "a.md"])
def test_text_files_have_whole_words(read: Read, name: str) -> None:
    document = read(name, b"The dia-\nphragm of the X-\nray unit.\n\nNext para-\n\ngraph.\n")
    assert "diaphragm\nof the X-ray\nunit." in document.text
    assert [kind for kind, _ in kinds_and_texts(document)] == ["paragraph"] * 3
