"""Types whose source is text: all text is read, wherever it is in the markup."""

from __future__ import annotations

import codecs
import json
import time

import pytest

from core.errors import DocumentRejected
from ingest.parsers import detection
from tests.unit.ingest.support import Read, kinds_and_texts, sections

ERROR = {"output_type": "error", "ename": "KeyError", "evalue": "'fare'"}


def test_plain_text_keeps_its_text_and_is_divided_at_blank_lines(read: Read) -> None:
    document = read("note.txt", b"First line\nsecond line.\r\n\r\n  - an item\n\n\n\nLast.")
    assert document.text == "First line\nsecond line.\n\n  - an item\n\n\n\nLast."
    assert kinds_and_texts(document) == [
        ("paragraph", "First line\nsecond line."), ("list_item", "- an item"), ("paragraph", "Last."),
    ]  # fmt: skip
    assert document.media_type == "text/plain"


def test_control_characters_are_removed(read: Read) -> None:
    assert read("note.txt", b"a\x07b\x1b[0mc" + b" text" * 100).text.startswith("abc text")


def test_markdown(read: Read) -> None:
    source = (
        b"# Guide\n\nIntro *here*\nand there.\n\nSetup\n-----\n\n- one\n- two\n  more\n\n"
        b"```sh\n# no heading\nrun\n```\n\n"
        b"| a | b |\n|---|---|\n| 1 | 2 |\n\n[ref]: http://example.com\n\n## Last\n\n> quoted\n"
    )
    document = read("guide.md", source)
    assert document.text == source.decode()
    assert kinds_and_texts(document) == [
        ("heading", "# Guide"),
        ("paragraph", "Intro *here*\nand there."),
        ("heading", "Setup\n-----"),
        ("list_item", "- one"),
        ("list_item", "- two\n  more"),
        ("code", "```sh\n# no heading\nrun\n```"),
        ("table", "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("paragraph", "[ref]: http://example.com"),
        ("heading", "## Last"),
        ("paragraph", "> quoted"),
    ]
    assert sections(document)["> quoted"] == "Guide > Last"
    assert sections(document)["- one"] == "Guide > Setup"


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("The **night** train", "The night train"), ("`make_run` and _why_", "make_run and why"),
        ("See [the guide](https://example.com) ![map](a.png)", "See the guide map"), ("2 ~~3~~ trains", "2 3 trains"),
    ],
)  # fmt: skip
def test_sections_of_markdown_are_named_as_their_headings_are_displayed(read: Read, heading: str, title: str) -> None:
    document = read("a.md", f"# {heading}\n\nwords\n".encode())
    assert [element.section for element in document.elements] == [title, title]
    assert heading in document.text


@pytest.mark.parametrize("mark", ["[a", "![]("])
def test_a_heading_of_very_many_links_is_read_in_bounded_time(read: Read, mark: str) -> None:
    started = time.process_time()
    assert read("a.md", f"# {mark * 100_000}\n".encode()).elements
    assert time.process_time() - started < 10


def test_html(read: Read) -> None:
    document = read(
        "page.html",
        b"<?xml version='1.0' encoding='utf-8'?><!DOCTYPE html><html><head><title>T</title><style>p{}</style></head>"
        b"<body><h1>Big</h1><p>Some <b>bold</b> text</p><h2>Sub</h2><ul><li>item</li></ul><table><tr><th>A</th>"
        b"<th colspan='2'>B|C</th></tr><tr><td>1</td><td>2</td><td>3</td></tr></table><pre>x\n  y</pre>"
        b"<script>alert(1)</script></body></html>",
    )
    assert kinds_and_texts(document) == [
        ("title", "T"),
        ("heading", "Big"),
        ("paragraph", "Some bold text"),
        ("heading", "Sub"),
        ("list_item", "item"),
        ("table", "A | B|C\nA: 1; B|C: 2; B|C: 3"),
        ("code", "x\n  y"),
    ]
    assert sections(document)["item"] == "Big > Sub"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("people.csv", b'name,age\n"Smith, Ann",41\nBob,\n'),
        ("people.csv", b"name;age\nSmith, Ann;41\nBob;\n"),
        ("people.csv", b"sep=;\nname;age\nSmith, Ann;41\nBob;\n"),
        ("people.tsv", b"name\tage\nSmith, Ann\t41\nBob\t\n"),
    ],
)
def test_tables_of_data_become_records(read: Read, name: str, data: bytes) -> None:
    document = read(name, data)
    assert kinds_and_texts(document) == [("table", "name | age\nname: Smith, Ann; age: 41\nname: Bob")]


def test_a_table_without_column_names_is_its_values(read: Read) -> None:
    assert read("numbers.csv", b"1,2\n3,4\n").text == "1 | 2\n3 | 4"


def test_json_on_one_line_is_indented(read: Read) -> None:
    document = read("data.json", '{"name": "Zoë", "tags": ["a"]}'.encode())
    assert document.text == '{\n  "name": "Zoë",\n  "tags": [\n    "a"\n  ]\n}'
    assert document.media_type == "application/json"


def test_broken_json_is_text(read: Read) -> None:
    assert read("data.json", b'{"name": ').media_type == "text/plain"


def test_notebook(read: Read) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Study\n", "Why.\n", "\n", "## Data\n", "What."]},
        {"cell_type": "code", "source": "print(1)", "outputs": [{"text": ["1\n"]}]},
    ]
    document = read("study.ipynb", json.dumps({"cells": cells}).encode())
    assert kinds_and_texts(document) == [
        ("heading", "Study"), ("paragraph", "Why."), ("heading", "Data"), ("paragraph", "What."),
        ("code", "print(1)"), ("code", "1"),
    ]  # fmt: skip
    assert document.elements[-1].section == "Study > Data"


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (ERROR | {"traceback": ["\x1b[31mKeyError\x1b[0m: 'fare'"]}, "KeyError: 'fare'"),
        (ERROR | {"traceback": []}, "KeyError: 'fare'"),
        ({"data": {"text/html": "<table><tr><th>city<th>fare<tr><td>Vienna<td>41</table>"}}, "city: Vienna; fare: 41"),
        ({"data": {"text/html": "<b>fare</b>", "text/plain": ["<IPython.core.display.HTML object>"]}}, "fare"),
        ({"data": {"text/markdown": ["# Fares\n", "Vienna"], "text/plain": "<Markdown object>"}}, "Fares"),
        ({"data": {"text/latex": "$x^2$"}}, "$x^2$"),
        ({"data": {"application/json": {"fare": 41}}}, '"fare": 41'),
        ({"data": {"text/plain": "  city  fare\n0 Vienna 41", "text/html": "<div>no</div>"}}, "0 Vienna 41"),
        ({"output_type": "stream", "text": ["\x1b[32mgreen\x1b[0m"]}, "green"),
    ],
)  # fmt: skip
def test_outputs_of_notebook_cells_are_read(read: Read, output: dict[str, object], expected: str) -> None:
    cells = [{"cell_type": "code", "source": "run()", "outputs": [output]}]
    text = read("study.ipynb", json.dumps({"cells": cells}).encode()).text
    assert text.count(expected) == 1
    assert "\x1b" not in text and "no" not in text and "object" not in text


def test_source_code_keeps_its_indentation_and_is_divided_at_definitions(read: Read) -> None:
    document = read("tool.py", b"import os\n\n\ndef one():\n    return 1\ndef two():\n    return 2\n")
    assert kinds_and_texts(document) == [
        ("code", "import os"), ("code", "def one():\n    return 1"), ("code", "def two():\n    return 2"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("page.txt", b"<!-- c --><html><body><p>hello</p></body></html>", detection.HTML),
        ("README", b"words", detection.PLAIN),
        ("report.pdf", b"really only text", detection.PLAIN),
        ("about.txt", b"A file that begins with %PDF-1.7 is a PDF.", detection.PLAIN),
        ("config", b'{"a": 1}', detection.JSON),
        ("NOTES.MD", b"# hi", detection.MARKDOWN),
        ("Makefile", b"all:\n\techo", detection.CODE),
        ("note.md", codecs.BOM_UTF16_LE + "# hi".encode("utf-16-le"), detection.MARKDOWN),
    ],
)
def test_the_type_is_detected_from_content_then_from_the_name(
    read: Read, name: str, data: bytes, media_type: str
) -> None:
    assert read(name, data).media_type == media_type


def test_byte_order_marks_inside_a_text_are_removed(read: Read) -> None:
    assert read("a.txt", codecs.BOM_UTF8 * 2 + b"one\n" + codecs.BOM_UTF8 + b"two").text == "one\ntwo"


def test_control_characters_that_separate_words_still_do(read: Read) -> None:
    text = read("a.txt", b"alpha\x0bbeta\x0cgamma\x1fdelta\x1eend" + b" text" * 100).text
    assert text.split()[:5] == ["alpha", "beta", "gamma", "delta", "end"]


def test_a_table_with_decimal_commas_below_other_lines_is_split_at_its_semicolons(read: Read) -> None:
    data = (
        'Statement\nIBAN: AT12, Bank\n\n"day";"text";"fare"\n1.1.;"Vienna\nand back";-41,50\n2.1.;Rome, one way;57,00\n'
    )
    assert kinds_and_texts(read("bank.csv", data.encode())) == [
        ("paragraph", "Statement\nIBAN: AT12, Bank"),
        ("table", "day | text | fare\nday: 1.1.; text: Vienna and back; fare: -41,50\n"
                  "day: 2.1.; text: Rome, one way; fare: 57,00"),
    ]  # fmt: skip


def test_a_first_row_with_a_time_or_a_date_is_not_a_header(read: Read) -> None:
    assert (
        read("a.csv", b"12:30,Meeting,Room 4\n13:45,Lunch,Canteen\n").text
        == "12:30 | Meeting | Room 4\n13:45 | Lunch | Canteen"
    )
    assert read("a.csv", b"2024-05-03,Vienna\n2024-05-04,Rome\n").text == "2024-05-03 | Vienna\n2024-05-04 | Rome"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b",name,age\n0,Ann,41\n1,Bob,57\n", "0; name: Ann; age: 41"),
        (b"name;age;\nAnn;41;\nBob;57;\n", "name: Ann; age: 41"),
        (b"region;2020;2021\nNorth;1,5;1,6\nSouth;2;3\n", "region: North; 2020: 1,5; 2021: 1,6"),
        (b"Vienna,41\nRome,57\n", "Vienna | 41"),
        (b"Vienna,2024\nRome,2025\n", "Vienna | 2024"),
        (b"Ann,,Vienna\nBob,x,Rome\n", "Ann |  | Vienna"),
    ],
)
def test_columns_have_the_names_of_the_first_row_if_it_has_names(read: Read, data: bytes, line: str) -> None:
    assert line in read("a.csv", data).text.split("\n")


def test_xml_attributes_with_text_are_read(read: Read) -> None:
    sentence = "The night train to Vienna leaves at nine. " * 8
    drawing = "M 10 10 L 20 20 " * 20
    document = read(
        "a.xml", f'<a><n note="{sentence}" d="{drawing}"/><p who="Ann">see <b>Rome</b> too</p></a>'.encode()
    )
    assert sentence.strip() in document.text and "M 10" not in document.text
    assert "see Rome too" in document.text and "p who: Ann" in document.text


def test_internal_entities_of_xml_are_expanded_and_external_ones_are_not(read: Read) -> None:
    own = '<!DOCTYPE a [<!ENTITY co "Trains Ltd">]>'
    assert read("a.xml", f"{own}<a><b>By &co;</b></a>".encode()).text == "b: By Trains Ltd"
    other = '<!DOCTYPE a [<!ENTITY co SYSTEM "/etc/passwd">]>'
    assert "&co;" in read("a.xml", f"{other}<a><b>By &co;</b></a>".encode()).text


def test_a_title_in_xml_is_the_heading_of_its_parent_element(read: Read) -> None:
    chapter = '<chapter id="one"><title>Vienna</title><para>By night</para></chapter>'
    document = read("a.xml", f'<book version="5"><title>Trains</title>{chapter}</book>'.encode())
    assert sections(document)["chapter id: one\npara: By night"] == "Trains > Vienna"
    assert sections(document)["book version: 5"] == "Trains"


def test_words_of_a_word_document_saved_as_xml_are_not_split(read: Read) -> None:
    runs = "<w:p><w:r><w:t>The night tr</w:t></w:r><w:r><w:t>ain</w:t></w:r></w:p>"
    namespace = "http://schemas.microsoft.com/office/word/2003/wordml"
    xml = f'<?xml version="1.0"?><w:wordDocument xmlns:w="{namespace}"><w:body>{runs}</w:body></w:wordDocument>'
    assert read("a.xml", xml.encode()).text == "The night train"


def test_notes_and_line_breaks_inside_a_paragraph_of_xml_separate_words(read: Read) -> None:
    xml = "<a><p>It was <b>ver</b>y late.<lb/>Anchors<note>were counted</note></p></a>"
    assert read("a.xml", xml.encode()).text == "It was very late. Anchors were counted"


def test_xml_whose_entities_multiply_is_refused(read: Read) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    with pytest.raises(DocumentRejected, match="entities would grow"):
        read("a.xml", f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><a>&e9;</a>'.encode())


def test_json_keeps_numbers_and_repeated_keys_as_they_are_written(read: Read) -> None:
    data = b'{"fare": 1.10, "city": "Vienna", "city": "Rome [ ]", "stops": [], "seats": 12345678901234567890123}'
    assert read("a.json", data).text == (
        '{\n  "fare": 1.10,\n  "city": "Vienna",\n  "city": "Rome [ ]",\n  "stops": [],\n'
        '  "seats": 12345678901234567890123\n}'
    )
    assert read("a.jsonl", data).text == (
        "fare: 1.10; city: Vienna; city: Rome [ ]; seats: 12345678901234567890123"
    )  # fmt: skip


def test_escaped_letters_of_json_are_read_as_letters(read: Read) -> None:
    document = read("a.json", json.dumps({"name": "Größe", "other": ["Брузовец", 1]}, indent=2).encode("ascii"))
    assert "Größe" in document.text and "Брузовец" in document.text
    written = '{\n  "a": 1,\n\n  "b": 2\n}'
    assert read("b.json", written.encode()).text == written


def test_a_line_that_is_nested_too_deeply_is_kept_unchanged(read: Read) -> None:
    deep = "[" * 5000 + "]" * 5000
    lines = "\n".join(['{"a": 1}'] * 6 + [deep, '{"b": 2}'])
    assert read("a.jsonl", lines.encode()).text.endswith("]\nb: 2")


def test_comments_of_asciidoc_are_left_out(read: Read) -> None:
    written = """= Guide
// the limit is 9000 kg
The limit is 90 kg.
////
old: 9000 kg

still old
////

----
// kept, since it is code
----
[comment]
another draft,
of two lines

[comment]
--
a third

draft
--
See http://x.org // and here.
"""
    shown = "= Guide\nThe limit is 90 kg.\n\n----\n// kept, since it is code\n----\n\nSee http://x.org // and here.\n"
    assert read("a.adoc", written.encode()).text == shown
    assert read("a.txt", written.encode()).text == written
    assert read("b.asciidoc", b"One\n\n////\nnever closed").text.strip() == "One"
