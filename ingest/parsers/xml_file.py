"""XML: the text of its elements with their names. Nothing outside the file is read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers import text
from ingest.parsers.charsets import decode_marked_up
from ingest.parsers.safe_xml import xml_parser
from ingest.parsers.source import SourceFile

_TITLES = frozenset(("title", "head", "heading"))
#: Longer values of attributes are data, unless they read like sentences: paths of drawings, keys, pictures.
_LONGEST_ATTRIBUTE_CHARACTERS = 200
_WORD_NAMESPACE = re.compile(r"microsoft\.com/office/(?:word/|2006/xmlPackage)")
_LONGEST_WORD_CHARACTERS = 100
_FEWEST_LETTERS = 0.6


def parse(source: SourceFile) -> ParsedDocument:
    """Elements of text only as lines `name: text`, those of text and markup as paragraphs, titles as headings.

    XML that is broken is read as the text that it is.

    Raises:
        DocumentRejected: its entities would grow without end.
    """
    try:
        root = _root(decode_marked_up(source.path.read_bytes()).strip().encode())
    except etree.XMLSyntaxError as error:
        if error.code == etree.ErrorTypes.ERR_ENTITY_LOOP or "amplification" in error.msg:
            raise DocumentRejected("The XML is hostile: its entities would grow without end.") from error
        return text.parse(source)
    reader = _Reader()
    if _WORD_NAMESPACE.search(etree.QName(root).namespace or ""):
        reader.read_paragraphs(root)
    else:
        reader.read(root, 0, is_first=True)
    return reader.finish(source.media_type)


def _root(data: bytes) -> etree._Element:
    """The tree, with the entities that the file itself defines in it; libxml2 refuses those that would grow.

    Without them, if it has others or such as would grow: their names stand in the text.
    """
    try:
        return etree.fromstring(data, xml_parser(encoding="utf-8", entities="internal"))
    except etree.XMLSyntaxError:
        return etree.fromstring(data, xml_parser(encoding="utf-8"))


class _Reader:
    def __init__(self) -> None:
        self._builder = DocumentBuilder()
        self._lines: list[str] = []

    def read_paragraphs(self, root: etree._Element) -> None:
        """Appends the paragraphs of a Word document that was saved as XML: its words may be spread over elements."""
        for paragraph in root.iter("{*}p"):
            words = "".join(run.text or "" for run in paragraph.iter("{*}t"))
            self._builder.add(ElementKind.PARAGRAPH, words)

    def read(self, element: etree._Element, level: int, *, is_first: bool) -> None:
        """Appends an element. libxml2 refuses more than 256 levels, so this recursion ends.

        `is_first`: no element of its parent is before it.
        """
        children = list(element)
        name = _name(element)
        if children and not _is_mixed(element, children):
            if _name(children[0]) in _TITLES:
                self._flush()
            self._add_attributes(element, name)
            for number, child in enumerate(children):
                self.read(child, level + 1, is_first=not number)
            # What belongs together stays together: the lines of one record are one element.
            self._flush()
            return
        words = " ".join("".join(_texts(element)).split())
        if name in _TITLES and (is_first or not self._lines) and words:
            # The attributes of what it is the title of come below it.
            self._builder.add(ElementKind.HEADING, words, level=level)
            self._add_attributes(element, name)
        elif children:
            self._flush()
            self._builder.add(ElementKind.PARAGRAPH, words)
            for inner in element.iter(etree.Element):
                self._add_attributes(inner, _name(inner))
            self._flush()
        else:
            self._add_attributes(element, name)
            self._lines += [f"{name}: {words}"] if words else []

    def finish(self, media_type: str) -> ParsedDocument:
        self._flush()
        return self._builder.build(media_type)

    def _add_attributes(self, element: etree._Element, name: str) -> None:
        for key, value in element.attrib.items():
            if any(map(str.isalnum, value)) and (len(value) <= _LONGEST_ATTRIBUTE_CHARACTERS or _is_prose(value)):
                self._lines.append(f"{name} {etree.QName(key).localname}: {value}")

    def _flush(self) -> None:
        self._builder.add(ElementKind.TABLE, "\n".join(self._lines))
        self._lines.clear()


def _texts(element: etree._Element) -> Iterator[str]:
    """The texts within an element. Those of more than a word stand for themselves, and empty ones divide lines."""
    yield element.text or ""
    for child in element:
        inner = "".join(_texts(child)) if isinstance(child.tag, str) else child.text or ""
        yield f" {inner} " if len(inner.split()) != 1 else inner
        yield child.tail or ""


def _is_prose(value: str) -> bool:
    letters = sum(map(str.isalpha, value)) + sum(map(str.isspace, value))
    return letters > _FEWEST_LETTERS * len(value) and max(map(len, value.split())) <= _LONGEST_WORD_CHARACTERS


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _is_mixed(element: etree._Element, children: list[etree._Element]) -> bool:
    """Whether there is text beside the children, or an entity of another file, which has its name for a text."""
    if any(not isinstance(child.tag, str) for child in children):
        return True
    return bool((element.text or "").strip() or any((child.tail or "").strip() for child in children))
