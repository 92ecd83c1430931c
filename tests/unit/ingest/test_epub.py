"""EPUB books: every page of the spine is read, in order, as an e-book reader shows it."""

from __future__ import annotations

import pytest

from core.errors import DocumentRejected
from tests.unit.ingest.support import Read, kinds_and_texts, sections, zip_bytes

CONTAINER = b'<container xmlns="urn:x"><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
XHTML = "application/xhtml+xml"
HEAD = (
    '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" "http://www.w3.org/x.dtd">'
    '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"><head><title/></head><body>'
)
TITLE = "<dc:title>The book</dc:title><dc:creator>Ann Bee</dc:creator>"


def page(content: str) -> bytes:
    return f"{HEAD}{content}</body></html>".encode()


def book(
    *pages: tuple[str, bytes], attributes: str = "", types: dict[str, str] | None = None, **more: bytes | str
) -> bytes:
    """Return a book with these pages, by path. `attributes` belong to the second page in the spine."""
    types = types or {}
    items = "".join(
        f'<item id="i{n}" href="{path.replace(" ", "%20")}" media-type="{types.get(path, XHTML)}"'
        f"{more.get(f'item{n}', '')}/>"
        for n, (path, _) in enumerate(pages)
    )
    spine = "".join(f'<itemref idref="i{n}"{attributes if n == 1 else ""}/>' for n in range(len(pages)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"{more.get('title', TITLE)}</metadata><manifest>{items}</manifest><spine>{more.get('spine', spine)}</spine>"
        "</package>"
    )
    files = {f"OEBPS/{path}": data for path, data in pages if data}
    protected = more.get("encryption", b"")
    return zip_bytes(
        {
            "mimetype": b"application/epub+zip",
            "META-INF/container.xml": CONTAINER,
            "OEBPS/book.opf": package.encode(),
            **({"META-INF/encryption.xml": protected} if isinstance(protected, bytes) and protected else {}),
            **files,
        }
    )


def test_all_pages_of_the_spine_are_read_in_order(read: Read) -> None:
    data = book(
        ("cover.xhtml", page("<p>Cover&nbsp;words&eacute;</p>")),
        ("notes.xhtml", page("<section epub:type='endnotes'><h1>Notes</h1><aside epub:type='footnote'><p>A far note</p>"
                             "</aside></section>")),
        ("sub dir/one.xhtml", page("<section><h1>One</h1><h2>Part</h2><p>Words.</p></section>")),
        ("old.html", b"<html><body><p>Never closed<br>line<p>More</body></html>"),
        ("page.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><title>A map</title><text>of words</text></svg>'),
        attributes=' linear="no"', types={"old.html": "text/html", "page.svg": "image/svg+xml"},
    )  # fmt: skip
    document = read("a.epub", data)
    assert [text for _, text in kinds_and_texts(document)] == [
        "The book", "Ann Bee", "Cover wordsé", "Notes", "A far note", "One", "Part", "Words.", "Never closed\nline",
        "More", "A map", "of words",
    ]  # fmt: skip
    assert sections(document)["Words."] == "The book > One > Part"
    assert sections(document)["A far note"] == "The book > Notes"


def test_notes_definitions_ruby_tables_and_formulas_are_read(read: Read) -> None:
    symbols = "<mi>x</mi><mo>=</mo><mn>1</mn><annotation>x=1</annotation>"
    formula = f'<math xmlns="http://www.w3.org/1998/Math/MathML">{symbols}</math>'
    switch = (
        "<epub:switch><epub:case required-namespace='x'><p>case</p></epub:case>"
        "<epub:default><p>shown</p></epub:default></epub:switch>"
    )
    content = (
        "<h1>One</h1><p>Text<a epub:type='noteref' href='#n'>1</a> and<a role='doc-noteref' href='#m'><sup>2</sup></a> "
        f"so {formula}.</p><aside epub:type='footnote' id='n'><p>A note</p></aside><aside>Beside</aside>"
        "<dl><dt>Term</dt><dd>Meaning</dd></dl><p><ruby>kanji<rp>(</rp><rt>kana</rt><rp>)</rp></ruby> end</p>"
        f"<table><tr><th>city</th></tr><tr><td>Vienna<table><tr><td>inner</td></tr></table></td></tr></table>{switch}"
    )
    text = read("a.epub", book(("one.xhtml", page(content)))).text
    for words in (
        "Text[1] and[2] so x = 1.",
        "A note",
        "Beside",
        "Term",
        "Meaning",
        "kanji(kana) end",
        "inner",
        "shown",
    ):
        assert words in text
    assert "case" not in text


def test_pages_without_headings_get_titles_from_the_table_of_contents(read: Read) -> None:
    contents = page(
        "<nav epub:type='toc'><h1>Contents</h1><ol><li><a href='one.xhtml#start'>Chapter <i>one</i></a></li><li>"
        "<a href='one.xhtml#later'>Later</a></li><li><a href='two.xhtml'>Named</a></li></ol></nav>"
    )
    pages = ("one.xhtml", page("<p>Words of one.</p>")), ("two.xhtml", page("<h1>Two</h1><p>Words of two.</p>"))
    document = read("a.epub", book(("nav.xhtml", contents), *pages, item0=' properties="nav"'))
    assert sections(document)["Words of one."] == "The book > Chapter one"
    assert sections(document)["Words of two."] == "The book > Two"
    assert sections(document)["Contents"] == "The book"
    ncx = (
        b'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>First</text></navLabel>'
        b'<content src="one.xhtml"/></navPoint></navMap></ncx>'
    )
    spine = '<itemref idref="i1"/><itemref idref="i1"/>'
    data = book(("toc.ncx", ncx), *pages, types={"toc.ncx": "application/x-dtbncx+xml"}, spine=spine)
    assert [text for _, text in kinds_and_texts(read("a.epub", data))] == [
        "The book",
        "Ann Bee",
        "First",
        "Words of one.",
    ]


def test_a_page_that_cannot_be_read_is_named(read: Read) -> None:
    data = book(
        ("one.xhtml", page("<p>Words.</p>")), ("gone.xhtml", b""), ("a.jpg", b"\xff\xd8"), types={"a.jpg": "image/jpeg"}
    )
    text = read("a.epub", data).text
    assert "Words." in text
    assert "The page i1 was not read: it is missing or not text." in text and "The page i2 was not read" in text
    fallback = book(("a.pdf", b"%PDF"), ("one.xhtml", page("<p>Words.</p>")), types={"a.pdf": "application/pdf"},
                    item0=' fallback="i1"', spine='<itemref idref="i0"/>', title="")  # fmt: skip
    assert read("a.epub", fallback).text == "Words."
    endless = book(("a.pdf", b"%PDF"), types={"a.pdf": "application/pdf"}, item0=' fallback="i0"')
    assert "i0 was not read" in read("a.epub", endless).text


def test_encrypted_pages_are_refused_and_encrypted_fonts_are_not(read: Read) -> None:
    encryption = '<encryption><CipherData><CipherReference URI="OEBPS/{}"/></CipherData></encryption>'
    one = ("one.xhtml", page("<p>Words.</p>"))
    assert "Words." in read("a.epub", book(one, encryption=encryption.format("a.otf").encode())).text
    with pytest.raises(DocumentRejected, match="digital rights management"):
        read("a.epub", book(one, encryption=encryption.format("one.xhtml").encode()))


@pytest.mark.parametrize(
    ("part", "data"),
    [("META-INF/container.xml", b"<container/>"), ("META-INF/container.xml", b"<container"), ("OEBPS/book.opf", b"<a")],
)
def test_a_broken_book_is_refused(read: Read, part: str, data: bytes) -> None:
    parts = {"mimetype": b"application/epub+zip", "META-INF/container.xml": CONTAINER, part: data}
    with pytest.raises(DocumentRejected, match="The book is broken"):
        read("a.epub", zip_bytes(parts))


def test_entities_are_not_expanded(read: Read) -> None:
    entities = b'<!DOCTYPE html [<!ENTITY a SYSTEM "file:///etc/passwd"><!ENTITY b "lol">]>'
    data = entities + b"<html><body><p>One &a; &b;</p></body></html>"
    text = read("a.epub", book(("one.xhtml", data))).text
    assert "One" in text and "root:" not in text and "lol" not in text


def test_a_book_of_pictures_alone_is_empty(read: Read) -> None:
    with pytest.raises(DocumentRejected, match="there is no text in it"):
        read("a.epub", book(("one.xhtml", page("<p><img src='1.jpg' alt=''/></p>"))))


@pytest.mark.parametrize("broken", ["<!-- never closed", "<script>", "<style>", "<title>"])
def test_a_broken_page_does_not_hide_the_others(read: Read, broken: str) -> None:
    pages = [("1.html", page("<p>One</p>")), ("2.html", f"<html><body><p>Two{broken}</body>".encode()),
             ("3.html", page("<p>Three</p>"))]  # fmt: skip
    text = read("a.epub", book(*pages)).text
    assert "One" in text and "Two" in text and "Three" in text


def test_a_book_with_a_broken_table_of_contents_is_read(read: Read) -> None:
    pages = [("one.xhtml", page("<p>One</p>")), ("toc.ncx", b"<ncx>Tom & Jerry</ncx>")]
    data = book(*pages, types={"toc.ncx": "application/x-dtbncx+xml"}, spine='<itemref idref="i0"/>')
    assert "One" in read("a.epub", data).text
