"""EPUB books: the pages of their spine, in order, as one page of HTML."""

from __future__ import annotations

import html
import logging
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import html5
from urllib.parse import unquote

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.archives import BROKEN_ARCHIVE
from ingest.parsers.charsets import decode_marked_up
from ingest.parsers.html.page import add_html
from ingest.parsers.safe_xml import xml_parser
from ingest.parsers.source import SourceFile

log = logging.getLogger(__name__)

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_OPS = "{http://www.idpf.org/2007/ops}"
_FORMULA = "{http://www.w3.org/1998/Math/MathML}math"
_NCX = "application/x-dtbncx+xml"
_ENTITY = re.compile(r"&(\w+;)")
#: Those that XML itself knows.
_XML_ENTITIES = frozenset(("amp;", "apos;", "gt;", "lt;", "quot;"))
_HEADING = re.compile(r"h([1-6])")
#: More formats than a page is ever given in.
_MOST_FALLBACKS = 8
_PROTECTED = "The book has digital rights management: it cannot be read."


@dataclass(frozen=True, slots=True)
class _Item:
    """A file of the book; `path` is that in the archive."""

    path: str
    media_type: str
    fallback: str
    is_contents: bool


def parse(source: SourceFile) -> ParsedDocument:
    """The title and the authors, and then what the pages say, those outside of the usual order too.

    A page that has no heading gets the one that the table of contents has for it.

    Raises:
        DocumentRejected: it is broken, or encrypted.
    """
    builder = DocumentBuilder()
    try:
        with zipfile.ZipFile(source.path) as archive:
            book = _Book(archive)
            front, pages = "".join(book.front()), list(book.pages())
    except BROKEN_ARCHIVE as error:
        raise DocumentRejected(f"The book is broken: its archive cannot be read ({error}).") from error
    add_html(builder, f"<html><body>{front}</body></html>")
    length = builder.length
    for page in pages:
        # Each by itself: what one leaves open hides nothing of the next.
        add_html(builder, f"<html><body>{page}</body></html>")
    # A title alone, above pages of pictures, is no text.
    return (builder if builder.length > length else DocumentBuilder()).build(source.media_type)


class _Book:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._names = frozenset(archive.namelist())
        container = self._xml(_CONTAINER)
        path = next((each.get("full-path") for each in _named(container, "rootfile")), None)
        self._package = self._xml(unquote(path or ""))
        self._folder = posixpath.dirname(path or "")
        self._items = {each.get("id"): self._item(each) for each in _named(self._package, "item")}
        self._titles = self._read_titles()

    def front(self) -> Iterator[str]:
        """Titles and authors, as HTML."""
        for number, title in enumerate(_texts(self._package, "title")):
            yield f"<p>{html.escape(title)}</p>" if number else f"<h1>{html.escape(title)}</h1>"
        for author in _texts(self._package, "creator"):
            yield f"<p>{html.escape(author)}</p>"

    def pages(self) -> Iterator[str]:
        """HTML, in order."""
        # Each page once: a small book could repeat a large one.
        spine = list(dict.fromkeys(each.get("idref") or "" for each in _named(self._package, "itemref")))
        self._refuse_protected({item.path for item in map(self._items.get, spine) if item is not None})
        for name in spine:
            item = self._readable(self._items.get(name))
            missing = f"<p>The page {html.escape(name)} was not read: it is missing, or is no text.</p>"
            yield self._page(item) if item is not None else missing

    def _item(self, element: etree._Element) -> _Item:
        properties = (element.get("properties") or "").split()
        path = _joined(self._folder, element.get("href") or "")
        return _Item(path, element.get("media-type") or "", element.get("fallback") or "", "nav" in properties)

    def _readable(self, item: _Item | None) -> _Item | None:
        """The item, or what stands for it: pictures may be pages."""
        for _ in range(_MOST_FALLBACKS):
            if item is None or item.path in self._names and _is_page(item):
                return item
            item = self._items.get(item.fallback)
        return None

    def _page(self, item: _Item) -> str:
        text = decode_marked_up(self._archive.read(item.path))
        try:
            root = _parsed(text)
        except etree.XMLSyntaxError:
            # A page as browsers read it: it is given on as it is.
            return f"<div>{text}</div>"
        headings = [each for each in root.iter("{*}*") if _HEADING.fullmatch(_name(each))]
        title = "" if headings else self._titles.get(item.path, "")
        for heading in headings:
            level = int(_name(heading)[1]) + 1
            heading.tag = "p" if item.is_contents else f"h{min(level, 6)}"
        _prepare(root)
        bodies = _named(root, "body") or [root]
        shown = "".join(etree.tostring(body, method="html", encoding="unicode", with_tail=False) for body in bodies)
        # Only what is in it: there is one body already.
        return f"<h2>{html.escape(title)}</h2>{_inner(shown)}" if title else _inner(shown)

    def _read_titles(self) -> dict[str, str]:
        """What the table of contents calls the files, each by its first entry."""
        titles: dict[str, str] = {}
        for item in self._items.values():
            if item.path not in self._names or not (item.is_contents or item.media_type == _NCX):
                continue
            try:
                root, folder = self._xml(item.path), posixpath.dirname(item.path)
            except DocumentRejected as rejection:
                log.warning("pages of a book have no headings from its table of contents: %s", rejection.message)
                continue
            for link in _named(root, "a"):
                titles.setdefault(_joined(folder, link.get("href") or ""), " ".join("".join(link.itertext()).split()))
            for point in _named(root, "navPoint"):
                label, content = point.find("{*}navLabel/{*}text"), point.find("{*}content")
                if label is not None and content is not None:
                    titles.setdefault(_joined(folder, content.get("src") or ""), " ".join((label.text or "").split()))
        return titles

    def _refuse_protected(self, pages: set[str]) -> None:
        # Fonts alone may be encrypted: that only keeps them from being copied.
        if _ENCRYPTION in self._names:
            references = _named(self._xml(_ENCRYPTION), "CipherReference")
            if pages & {unquote(each.get("URI") or "") for each in references}:
                raise DocumentRejected(_PROTECTED)

    def _xml(self, name: str) -> etree._Element:
        if name not in self._names:
            raise DocumentRejected(f"The book is broken: {name or 'its list of files'} is missing.")
        try:
            return _parsed(decode_marked_up(self._archive.read(name)))
        except etree.XMLSyntaxError as error:
            raise DocumentRejected(f"The book is broken: {name} cannot be read ({error}).") from error


def _parsed(text: str) -> etree._Element:
    return etree.fromstring(_ENTITY.sub(_character, text).strip().encode(), xml_parser(encoding="utf-8"))


def _character(match: re.Match[str]) -> str:
    """HTML's named characters, which XML does not know."""
    return match[0] if match[1] in _XML_ENTITIES else html5.get(match[1], match[0])


def _prepare(root: etree._Element) -> None:
    """Makes HTML of XHTML: names without namespaces, and formulas in one line."""
    for element in list(root.iter("{*}*")):
        if element.tag == f"{_OPS}case" and element.getparent() is not None:
            # What stands beside it is for readers that do not know its format.
            element.getparent().remove(element)
        elif element.tag == _FORMULA:
            _write_formula(element)
        else:
            if f"{_OPS}type" in element.attrib:
                element.set("class", f"{element.get('class', '')} {element.attrib.pop(f'{_OPS}type')}")
            element.tag = _name(element)
    etree.cleanup_namespaces(root)


def _write_formula(element: etree._Element) -> None:
    """A formula in one line, in the words of its author if there are some."""
    for source in list(element.iter("{*}annotation", "{*}annotation-xml")):
        if source.getparent() is not None:
            source.getparent().remove(source)
    text, tail = element.get("alttext") or " ".join(" ".join(element.itertext()).split()), element.tail
    element.clear()
    element.tag, element.text, element.tail = "span", text, tail


def _is_page(item: _Item) -> bool:
    return item.media_type.endswith(("xml", "html"))


def _inner(body: str) -> str:
    return re.sub(r"^<body[^>]*>|</body>\s*$", "", body)


def _joined(folder: str, reference: str) -> str:
    """The path in the archive that a link leads to."""
    return posixpath.normpath(posixpath.join(folder, unquote(reference.partition("#")[0])))


def _named(root: etree._Element, name: str) -> list[etree._Element]:
    return list(root.iter(f"{{*}}{name}"))


def _name(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def _texts(root: etree._Element, name: str) -> list[str]:
    texts = (" ".join("".join(each.itertext()).split()) for each in _named(root, name))
    return [text for text in texts if text]
