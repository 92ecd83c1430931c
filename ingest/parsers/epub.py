"""EPUB books: the pages of the spine, in order, read as HTML.

They are read here because pandoc loses titles of chapters, the text after an unclosed tag, and a book of which one page
is missing.
"""

from __future__ import annotations

import html
import logging
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.archives import ARCHIVE_ERRORS
from ingest.parsers.charsets import decode_markup
from ingest.parsers.html.page import add_html
from ingest.parsers.pictures import Pictures
from ingest.parsers.safe_xml import resolve_named_entities, xml_parser
from ingest.parsers.source import SourceFile

log = logging.getLogger(__name__)

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_OPS = "{http://www.idpf.org/2007/ops}"
_MATHML = "{http://www.w3.org/1998/Math/MathML}math"
_NCX = "application/x-dtbncx+xml"
_HEADING = re.compile(r"h([1-6])")
#: The longest chain of fallback formats that is followed; real books have far fewer.
_MAX_FALLBACKS = 8
_PROTECTED = "The book is protected by digital rights management and cannot be read."


@dataclass(frozen=True, slots=True)
class _Item:
    """A file of the book. `path` is its path in the archive."""

    path: str
    media_type: str
    fallback: str
    is_navigation: bool


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the title, the authors and all pages of the spine, including non-linear ones.

    A page without a heading gets its title from the table of contents.

    Raises:
        DocumentRejected: If the book is broken or encrypted.
    """
    builder = DocumentBuilder()
    try:
        with zipfile.ZipFile(source.path) as archive:
            book = _Book(archive, Pictures(source.options))
            front_matter, pages = "".join(book.front_matter()), list(book.pages())
    except ARCHIVE_ERRORS as error:
        raise DocumentRejected(f"The book is broken: its archive cannot be read ({error}).") from error
    add_html(builder, f"<html><body>{front_matter}</body></html>")
    length = builder.length
    for page in pages:
        # Pages are read separately, so that an unclosed tag in one does not hide the text of the next.
        add_html(builder, f"<html><body>{page}</body></html>")
    # A book of pictures counts as empty even if it has a title.
    is_read = builder.length > length
    return (builder if is_read else DocumentBuilder()).build(source.media_type, **book.pictures.properties)


class _Book:
    def __init__(self, archive: zipfile.ZipFile, pictures: Pictures) -> None:
        self._archive = archive
        self.pictures = pictures
        self._names = frozenset(archive.namelist())
        container = self._xml(_CONTAINER)
        path = next((each.get("full-path") for each in _elements(container, "rootfile")), None)
        self._package = self._xml(unquote(path or ""))
        self._folder = posixpath.dirname(path or "")
        self._items = {each.get("id"): self._item(each) for each in _elements(self._package, "item")}
        self._titles = self._read_titles()

    def front_matter(self) -> Iterator[str]:
        """Yield the titles and authors as HTML."""
        for number, title in enumerate(_texts(self._package, "title")):
            yield f"<p>{html.escape(title)}</p>" if number else f"<h1>{html.escape(title)}</h1>"
        for author in _texts(self._package, "creator"):
            yield f"<p>{html.escape(author)}</p>"

    def pages(self) -> Iterator[str]:
        """Yield the pages as HTML, in order."""
        # Each page is read once, because a small book could list a large page many times.
        spine = list(dict.fromkeys(each.get("idref") or "" for each in _elements(self._package, "itemref")))
        self._refuse_protected({item.path for item in map(self._items.get, spine) if item is not None})
        for name in spine:
            item = self._readable_item(self._items.get(name))
            missing = f"<p>The page {html.escape(name)} was not read: it is missing or not text.</p>"
            yield self._page(item) if item is not None else missing

    def _item(self, element: etree._Element) -> _Item:
        properties = (element.get("properties") or "").split()
        path = _resolve(self._folder, element.get("href") or "")
        return _Item(path, element.get("media-type") or "", element.get("fallback") or "", "nav" in properties)

    def _readable_item(self, item: _Item | None) -> _Item | None:
        """Return the item, or its first fallback that is text; images may be pages of the spine."""
        for _ in range(_MAX_FALLBACKS):
            if item is None or item.path in self._names and _is_page(item):
                return item
            item = self._items.get(item.fallback)
        return None

    def _page(self, item: _Item) -> str:
        text = decode_markup(self._archive.read(item.path))
        try:
            root = _parse_xml(text)
        except etree.XMLSyntaxError:
            # The page is not XML; the lenient HTML parser reads it unchanged.
            return f"<div>{text}</div>"
        headings = [each for each in root.iter("{*}*") if _HEADING.fullmatch(_local_name(each))]
        title = "" if headings else self._titles.get(item.path, "")
        for heading in headings:
            level = int(_local_name(heading)[1]) + 1
            heading.tag = "p" if item.is_navigation else f"h{min(level, 6)}"
        self._read_pictures(root, posixpath.dirname(item.path))
        _xhtml_to_html(root)
        bodies = _elements(root, "body") or [root]
        shown = "".join(etree.tostring(body, method="html", encoding="unicode", with_tail=False) for body in bodies)
        # Without the body tag, because the caller adds one.
        return f"<h2>{html.escape(title)}</h2>{_inner_html(shown)}" if title else _inner_html(shown)

    def _read_pictures(self, root: etree._Element, folder: str) -> None:
        """Add the text in the pictures of a page to their descriptions."""
        for element in root.iter("{*}img", "{*}image") if self.pictures.are_read else ():
            links = (element.get(name) for name in ("src", "href", "{http://www.w3.org/1999/xlink}href"))
            path = _resolve(folder, next(filter(None, links), ""))
            if path in self._names and (words := self.pictures.text_of(self._archive.read(path))):
                element.set("alt", f"{element.get('alt') or ''} {words}".strip())
                element.tag = "img"

    def _read_titles(self) -> dict[str, str]:
        """Return the title of each file by its path, from the first entry for it in the table of contents."""
        titles: dict[str, str] = {}
        for item in self._items.values():
            if item.path not in self._names or not (item.is_navigation or item.media_type == _NCX):
                continue
            try:
                root, folder = self._xml(item.path), posixpath.dirname(item.path)
            except DocumentRejected as rejection:
                log.warning("the table of contents of a book cannot be read, headings may be missing: %s",
                            rejection.message)  # fmt: skip
                continue
            for link in _elements(root, "a"):
                titles.setdefault(_resolve(folder, link.get("href") or ""), " ".join("".join(link.itertext()).split()))
            for point in _elements(root, "navPoint"):
                label, content = point.find("{*}navLabel/{*}text"), point.find("{*}content")
                if label is not None and content is not None:
                    titles.setdefault(_resolve(folder, content.get("src") or ""), " ".join((label.text or "").split()))
        return titles

    def _refuse_protected(self, pages: set[str]) -> None:
        # Encrypted fonts do not matter: that only prevents copying them.
        if _ENCRYPTION in self._names:
            references = _elements(self._xml(_ENCRYPTION), "CipherReference")
            if pages & {unquote(each.get("URI") or "") for each in references}:
                raise DocumentRejected(_PROTECTED)

    def _xml(self, name: str) -> etree._Element:
        if name not in self._names:
            raise DocumentRejected(f"The book is broken: {name or 'its list of files'} is missing.")
        try:
            return _parse_xml(decode_markup(self._archive.read(name)))
        except etree.XMLSyntaxError as error:
            raise DocumentRejected(f"The book is broken: {name} cannot be read ({error}).") from error


def _parse_xml(text: str) -> etree._Element:
    return etree.fromstring(resolve_named_entities(text).strip().encode(), xml_parser(encoding="utf-8"))


def _xhtml_to_html(root: etree._Element) -> None:
    """Turn XHTML into HTML: remove the namespaces from names and flatten formulas to text."""
    for element in list(root.iter("{*}*")):
        if element.tag == f"{_OPS}case" and element.getparent() is not None:
            # The `default` element next to it has the same content for readers without support for the format.
            element.getparent().remove(element)
        elif element.tag == _MATHML:
            _flatten_formula(element)
        else:
            if f"{_OPS}type" in element.attrib:
                element.set("class", f"{element.get('class', '')} {element.attrib.pop(f'{_OPS}type')}")
            element.tag = _local_name(element)
    etree.cleanup_namespaces(root)


def _flatten_formula(element: etree._Element) -> None:
    """Replace a formula by one line of text, its author's alternative text if it has one."""
    for source in list(element.iter("{*}annotation", "{*}annotation-xml")):
        if source.getparent() is not None:
            source.getparent().remove(source)
    text, tail = element.get("alttext") or " ".join(" ".join(element.itertext()).split()), element.tail
    element.clear()
    element.tag, element.text, element.tail = "span", text, tail


def _is_page(item: _Item) -> bool:
    return item.media_type.endswith(("xml", "html"))


def _inner_html(body: str) -> str:
    return re.sub(r"^<body[^>]*>|</body>\s*$", "", body)


def _resolve(folder: str, reference: str) -> str:
    """Return the path in the archive that a link points to."""
    return posixpath.normpath(posixpath.join(folder, unquote(reference.partition("#")[0])))


def _elements(root: etree._Element, name: str) -> list[etree._Element]:
    return list(root.iter(f"{{*}}{name}"))


def _local_name(element: etree._Element) -> str:
    return str(etree.QName(element).localname)


def _texts(root: etree._Element, name: str) -> list[str]:
    texts = (" ".join("".join(each.itertext()).split()) for each in _elements(root, name))
    return [text for text in texts if text]
