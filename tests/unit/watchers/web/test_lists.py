"""Sitemaps and feeds, and what is neither."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from watchers.web import lists
from watchers.web.lists import BrokenList, ListKind, PageList, read_list

SITEMAP = "<urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>{}</urlset>"
RDF = "xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://purl.org/rss/1.0/'"
URL = "https://example.org/lists/one.xml"


def read(folder: Path, content: str | bytes) -> PageList | None:
    path = folder / "list"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_list(path, URL)


def urls(folder: Path, content: str | bytes) -> list[str]:
    found = read(folder, content)
    assert found is not None and found.kind is ListKind.PAGES
    return found.urls


def test_a_sitemap_lists_its_pages_once_and_without_fragments(tmp_path: Path) -> None:
    entries = "<url><loc> /a#part </loc><lastmod>2024-01-01</lastmod></url><url><loc>b?c=1&amp;d=2</loc></url>"
    expected = ["https://example.org/a", "https://example.org/lists/b?c=1&d=2"]
    assert urls(tmp_path, SITEMAP.format(entries * 2)) == expected
    assert urls(tmp_path, gzip.compress(SITEMAP.format(entries).encode())) == expected
    assert urls(tmp_path, SITEMAP.format("")) == []


def test_a_sitemap_of_sitemaps_lists_lists(tmp_path: Path) -> None:
    found = read(tmp_path, "<sitemapindex><sitemap><loc>/two.xml.gz</loc></sitemap></sitemapindex>")
    assert found == PageList(ListKind.LISTS, ["https://example.org/two.xml.gz"])


@pytest.mark.parametrize(
    "feed",
    [
        "<rss version='2.0'><channel><link>/</link><item><title>A</title><link>/a</link></item></channel></rss>",
        "<rss><channel><item><guid>https://example.org/a</guid></item></channel></rss>",
        f"<rdf:RDF {RDF}><channel><items/></channel><item><link>https://example.org/a</link></item></rdf:RDF>",
        "<feed xmlns='http://www.w3.org/2005/Atom'><link rel='self' href='/f'/><entry><link rel='edit' href='/e'/>"
        "<link rel='alternate' href='/a'/></entry></feed>",
        "<feed xmlns='http://www.w3.org/2005/Atom'><entry><link href='/a'/><link href='/b'/></entry></feed>",
    ],
)
def test_a_feed_lists_the_links_of_its_entries(tmp_path: Path, feed: str) -> None:
    assert urls(tmp_path, feed) == ["https://example.org/a"]


def test_entries_without_a_link_are_counted(tmp_path: Path) -> None:
    found = read(tmp_path, "<rss><channel><item><guid isPermaLink='false'>7</guid></item><item/></channel></rss>")
    assert found == PageList(ListKind.PAGES, [], nameless_count=2)


@pytest.mark.parametrize(
    "page",
    ["<!DOCTYPE html><html><body><p>text<br></body></html>", "<html xmlns='x'/>", "plain", "", b"\x1f\x8bno", "%PDF-1"],
)
def test_what_is_no_list_is_a_page(tmp_path: Path, page: str | bytes) -> None:
    assert read(tmp_path, page) is None


def test_a_list_that_is_cut_is_broken(tmp_path: Path) -> None:
    with pytest.raises(BrokenList, match="cannot be read as a sitemap or feed"):
        read(tmp_path, "<urlset><url><loc>/a</loc></url>")


def test_a_list_is_read_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_LIST_BYTES", 100_000)
    monkeypatch.setattr(lists, "MAX_ENTRY_ELEMENTS", 10)
    with pytest.raises(BrokenList, match="it has more than 100000 bytes"):
        read(tmp_path, gzip.compress(SITEMAP.format(" " * 1_000_000).encode()))
    with pytest.raises(BrokenList, match="more than 10 elements"):
        read(tmp_path, SITEMAP.format("<url>" + "<x/>" * 20 + "</url>"))


def test_entities_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    entity = f"<!DOCTYPE u [<!ENTITY e SYSTEM 'file://{tmp_path}/secret'><!ENTITY f 'text'>]>"
    entries = "<url><loc>&e;</loc></url><url><loc>&f;</loc></url>"
    assert urls(tmp_path, entity + SITEMAP.format(entries)) == []
