"""XML as publishers and feeds write it, and XHTML: without a declaration, with named entities, and with HTML inside."""

from __future__ import annotations

import pytest

from ingest.parsers import detection
from tests.unit.ingest.support import Read, kinds_and_texts

ARTICLE = """<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) v1.2//EN" "JATS-archivearticle1.dtd">
<article><front><article-title>Caf&eacute;s &amp; M&uuml;ller&mdash;1</article-title></front>
<body><p>At 10<sup>5</sup> Pa, H<sub>2</sub>O boils<xref><sup>3</sup></xref>, see <xref>2</xref> and
<strike>old</strike> new.</p></body></article>"""
FEED = """<rss version="2.0"><channel><title>News</title><item><title>Trains</title><description><![CDATA[<p>From Vienna
&nbsp;to <b>Rome</b>.</p><ul><li>41 euros</li></ul>]]></description><pubDate>Mon</pubDate></item>
<item><title>Buses</title><description>&lt;b&gt;Slow&lt;/b&gt; &amp;amp; cheap</description></item></channel></rss>"""


@pytest.mark.parametrize("name", ["a.xml", "a.nxml", "article"])
def test_an_article_without_a_declaration_is_xml_with_its_entities(read: Read, name: str) -> None:
    document = read(name, ARTICLE.encode())
    assert document.media_type == detection.XML
    assert document.text == (
        "article-title: Cafés & Müller—1\n\nAt 10⁵ Pa, H2O boils[3], see [2] and ~~old~~ new."
    )  # fmt: skip


def test_html_in_a_feed_is_read_as_a_page(read: Read) -> None:
    document = read("feed", FEED.encode())
    assert kinds_and_texts(document) == [
        ("table", "rss version: 2.0"), ("heading", "News"), ("heading", "Trains"),
        ("paragraph", "From Vienna to Rome."), ("list_item", "41 euros"),
        ("table", "pubDate: Mon"), ("heading", "Buses"), ("table", "description: Slow & cheap"),
    ]  # fmt: skip


@pytest.mark.parametrize("comment", ["<!-- made by a program -->", f"<!-- {'long ' * 2000} -->", "<?xml-stylesheet?>"])
def test_a_page_with_comments_after_its_declaration_is_read_as_html(read: Read, comment: str) -> None:
    page = (
        f"<?xml version='1.0' encoding='utf-8'?>\n{comment}\n<html xmlns='http://www.w3.org/1999/xhtml' "
        "xmlns:ix='http://www.xbrl.org/2013/inlineXBRL'><body>"
        "<div style='display:none'><ix:header>Secret</ix:header></div>"
        "<p>Sales of <ix:nonFraction contextRef='c1' scale='6'>41</ix:nonFraction> million.</p></body></html>"
    )
    for name in ("report.xhtml", "report.xml", "report"):
        assert read(name, page.encode()).text == "Sales of 41 million."


def test_names_of_entities_in_character_data_and_of_the_file_itself_stay(read: Read) -> None:
    text = '<!DOCTYPE a [<!ENTITY uuml "own">]><a><b>&uuml; &auml;</b><c><![CDATA[&auml;]]></c></a>'
    assert read("a.xml", text.encode()).text == "b: own ä\nc: &auml;"
