"""Sitemaps and feeds: the pages that they list."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any
from urllib.parse import urldefrag, urljoin

from lxml import etree

#: The most bytes of a list, after decompression: what the protocol of sitemaps allows.
MAX_LIST_BYTES = 50 * 2**20
#: The most elements of one entry, which is held in memory.
MAX_ENTRY_ELEMENTS = 10_000
_GZIP = b"\x1f\x8b"


class ListKind(StrEnum):
    """What a list names: pages, or further lists."""

    PAGES = "pages"
    LISTS = "lists"


#: By the name of the outermost element: what is listed, and the elements of the entries.
_KINDS = {
    "urlset": (ListKind.PAGES, "url"),
    "sitemapindex": (ListKind.LISTS, "sitemap"),
    "rss": (ListKind.PAGES, "item"),
    "RDF": (ListKind.PAGES, "item"),
    "feed": (ListKind.PAGES, "entry"),
}


class BrokenList(Exception):
    """A list cannot be read to its end; the message says why."""


@dataclass(frozen=True)
class PageList:
    """The URLs that a sitemap or feed lists, in its order, each once and without fragments."""

    kind: ListKind
    urls: list[str]
    #: The number of entries that name no URL.
    nameless_count: int = 0


def read_list(path: Path, base_url: str) -> PageList | None:
    """Return what a sitemap or feed (RSS, RDF, Atom) lists, or None if the file is something else.

    `base_url` is its own URL, for relative ones in it. A file that is compressed with gzip is read too.

    Raises:
        BrokenList: it is not well-formed, or larger than MAX_LIST_BYTES.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        if not is_packed:
            return _read(_Limited(file), base_url)
        with closing(gzip.GzipFile(fileobj=file)) as unpacked:
            return _read(_Limited(unpacked), base_url)


def _read(file: _Limited, base_url: str) -> PageList | None:
    kind, entry_name = None, ""
    urls: dict[str, None] = {}
    nameless = 0
    inner_count: int | None = None  # elements of the present entry; None: outside of entries
    try:
        for event, element in _events(file):
            name = _local_name(element)
            if kind is None:
                if name not in _KINDS:
                    return None
                kind, entry_name = _KINDS[name]
            elif event == "start":
                inner_count = 1 if name == entry_name else inner_count and inner_count + 1
                if inner_count is not None and inner_count > MAX_ENTRY_ELEMENTS:
                    raise _TooLarge(f"an entry has more than {MAX_ENTRY_ELEMENTS} elements")
            elif name == entry_name:
                url = _url_of(element)
                if url is None:
                    nameless += 1
                else:
                    urls[urldefrag(urljoin(base_url, url)).url] = None
                inner_count = None
            if event == "end" and inner_count is None:
                _forget(element)
    except (etree.XMLSyntaxError, ValueError, EOFError, gzip.BadGzipFile) as error:
        if kind is None and not isinstance(error, _TooLarge):
            return None
        raise BrokenList(f"it cannot be read as a sitemap or feed: {error}"[:300]) from error
    return PageList(kind, list(urls), nameless) if kind is not None else None


def _events(file: _Limited) -> Iterator[tuple[str, Any]]:
    # No entity is replaced and nothing else is loaded, since others wrote the file.
    return iter(
        etree.iterparse(
            file, events=("start", "end"), resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True
        )
    )


def _url_of(entry: Any) -> str | None:
    """Return the URL that an entry names, or None: of a sitemap its `loc`, of a feed its link."""
    fallback = None
    for child in entry:
        name, text = _local_name(child), (child.text or "").strip()
        if name == "loc" and text:
            return text
        if name == "link":
            found = (child.get("href") or "").strip() or text
            if found and child.get("rel", "alternate") == "alternate":
                return found
        if name == "guid" and child.get("isPermaLink", "true") == "true" and text.startswith("http"):
            fallback = text
    return fallback


def _local_name(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _forget(element: Any) -> None:
    """Free the memory of an entry that was read."""
    element.clear()
    while element.getprevious() is not None:
        del element.getparent()[0]


class _TooLarge(ValueError):
    pass


class _Limited:
    """A file of which no more than MAX_LIST_BYTES can be read."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile) -> None:
        self._file = file
        self._size = 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._size += len(block)
        if self._size > MAX_LIST_BYTES:
            raise _TooLarge(f"it has more than {MAX_LIST_BYTES} bytes")
        return block
