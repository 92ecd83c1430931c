"""XML: the text of the elements, with their names. Nothing outside the file is read.

No library tells which elements of an unknown vocabulary are records, paragraphs or titles.
"""

from __future__ import annotations

import re

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers import text
from ingest.parsers.charsets import decode_markup
from ingest.parsers.html.page import add_html, html_blocks
from ingest.parsers.line_ends import join_words
from ingest.parsers.raised import lowered, note_reference, raised, struck_out
from ingest.parsers.records import captions
from ingest.parsers.safe_xml import resolve_named_entities, xml_parser
from ingest.parsers.source import SourceFile

_TITLES = frozenset(("title", "head", "heading"))
#: Longer attribute values are data such as drawing paths, keys or pictures, unless they look like prose.
_MAX_DATA_ATTRIBUTE_CHARACTERS = 200
#: HTML that is escaped, or in a CDATA section.
_EMBEDDED_HTML = re.compile(
    r"<(?:p|br|div|span|a|b|i|u|em|strong|ul|ol|li|img|table|tr|td|h[1-6]|blockquote|pre|code|s|del|su[pb])\b[^<>]*>",
    re.I,
)
#: The elements of JATS, DocBook, TEI and others for raised, lowered and struck-out text, and for references to notes.
_RAISED = frozenset(("sup", "superscript", "super"))
_LOWERED = frozenset(("sub", "inf", "subscript"))
_STRUCK = frozenset(("strike", "s", "del", "strikethrough", "line-through"))
_STYLED = frozenset(("hi", "emphasis", "styled-content"))
_REFERENCES = frozenset(("xref", "footnoteref", "noteref"))
_WORD_NAMESPACE = re.compile(r"microsoft\.com/office/(?:word/|2006/xmlPackage)")
_MAX_WORD_CHARACTERS = 100
_MIN_LETTER_SHARE = 0.6


def parse(source: SourceFile) -> ParsedDocument:
    """Parse elements of text as lines `name: text`, elements of text and markup as paragraphs, and titles as headings.

    Broken XML is read as plain text.

    Raises:
        DocumentRejected: If the file's entities would expand without limit.
    """
    markup = decode_markup(source.path.read_bytes())
    try:
        root = _root(resolve_named_entities(markup).strip().encode())
    except etree.XMLSyntaxError as error:
        if error.code == etree.ErrorTypes.ERR_ENTITY_LOOP or "amplification" in error.msg:
            raise DocumentRejected("The XML is hostile: its entities would grow without end.") from error
        return text.parse(source)
    if _name(root) == "tt" and (speech := captions.parse_timed_text(root, source.media_type)) is not None:
        return speech
    reader = _Reader()
    if _name(root) == "html":
        # Comments before the page were too long for its type to be detected.
        builder = DocumentBuilder()
        add_html(builder, markup)
        return builder.build(source.media_type)
    if _WORD_NAMESPACE.search(etree.QName(root).namespace or ""):
        reader.read_paragraphs(root)
    else:
        reader.read(root, 0, is_first=True)
    return reader.finish(source.media_type)


def _root(data: bytes) -> etree._Element:
    """Parse XML and expand the entities that the file itself defines.

    If libxml2 refuses that, for example because of an external entity, all references are kept unexpanded.
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
        """Append the paragraphs of a Word document saved as XML, in which a word may be split over several elements."""
        for paragraph in root.iter("{*}p"):
            words = "".join(run.text or "" for run in paragraph.iter("{*}t"))
            self._builder.add(ElementKind.PARAGRAPH, words)

    def read(self, element: etree._Element, level: int, *, is_first: bool) -> None:
        """Append an element. The recursion is limited, because libxml2 refuses more than 256 levels.

        Args:
            element: The element.
            level: Its depth, which is the heading level of a title.
            is_first: Whether it is the first child of its parent.
        """
        children = list(element)
        name = _name(element)
        if children and not _is_mixed(element, children):
            if _name(children[0]) in _TITLES:
                self._flush()
            self._add_attributes(element, name)
            for number, child in enumerate(children):
                self.read(child, level + 1, is_first=not number)
            # The lines of one record become one element, so that they stay together.
            self._flush()
            return
        if not children and _EMBEDDED_HTML.search(element.text or ""):
            self._add_page(element, name, level)
            return
        words = join_words(_text(element))
        if name in _TITLES and (is_first or not self._lines) and words:
            # The title goes above the attributes of the element that it names.
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

    def _add_page(self, element: etree._Element, name: str, level: int) -> None:
        """Append the HTML that an element holds as text, as feeds do."""
        self._add_attributes(element, name)
        blocks = html_blocks(element.text or "")
        if len(blocks) == 1 and blocks[0].kind is ElementKind.PARAGRAPH:
            self._lines.append(f"{name}: {join_words(blocks[0].text)}")
            return
        self._flush()
        for block in blocks:
            self._builder.add(block.kind, block.text, level=level + block.level)

    def finish(self, media_type: str) -> ParsedDocument:
        self._flush()
        return self._builder.build(media_type)

    def _add_attributes(self, element: etree._Element, name: str) -> None:
        for key, value in element.attrib.items():
            if any(map(str.isalnum, value)) and (len(value) <= _MAX_DATA_ATTRIBUTE_CHARACTERS or _is_prose(value)):
                self._lines.append(f"{name} {etree.QName(key).localname}: {value}")

    def _flush(self) -> None:
        self._builder.add(ElementKind.TABLE, "\n".join(self._lines))
        self._lines.clear()


def _text(element: etree._Element) -> str:
    """Return the text in an element. Inner elements with no word or several words are set apart by spaces."""
    text = element.text or ""
    for child in element:
        inner = _text(child) if isinstance(child.tag, str) else child.text or ""
        text += _marked(child, inner, text) if len(inner.split()) == 1 else f" {_marked(child, inner, text)} "
        text += child.tail or ""
    return text


def _marked(element: etree._Element, inner: str, before: str) -> str:
    """Return the text of an inner element, marked if it is raised, lowered, struck out or refers to a note."""
    name = _name(element)
    look = str(element.get("rend") or element.get("role") or "") if name in _STYLED else name
    if look in _RAISED:
        is_reference = _name(element.getparent()) in _REFERENCES
        return inner if is_reference else raised(inner, before)
    if look in _LOWERED:
        return lowered(inner, before)
    if look in _STRUCK:
        return struck_out(inner)
    return note_reference(inner) if name in _REFERENCES and inner.strip().isdigit() else inner


def _is_prose(value: str) -> bool:
    letters = sum(map(str.isalpha, value)) + sum(map(str.isspace, value))
    return letters > _MIN_LETTER_SHARE * len(value) and max(map(len, value.split())) <= _MAX_WORD_CHARACTERS


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _is_mixed(element: etree._Element, children: list[etree._Element]) -> bool:
    """Return whether the element has text next to its children, or an unexpanded entity, whose name is its text."""
    if any(not isinstance(child.tag, str) for child in children):
        return True
    return bool((element.text or "").strip() or any((child.tail or "").strip() for child in children))
