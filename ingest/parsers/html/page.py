"""HTML: the text of a page that can be seen, in source order.

It is read here because pandoc ignores the styles that hide and strike out text, and libraries for articles drop what
they take for decoration.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.charsets import decode_markup
from ingest.parsers.html.marks import Marks
from ingest.parsers.html.style import PageStyle, Visibility
from ingest.parsers.html.tables import Block, Table
from ingest.parsers.line_ends import join_words
from ingest.parsers.ordinals import ordinal
from ingest.parsers.payloads import payloads_in_markup
from ingest.parsers.pictures import Pictures
from ingest.parsers.source import SourceFile

_INLINE_TAG_NAMES = (
    "a abbr acronym b bdi bdo big blink button cite code data del dfn em font i img input ins kbd label mark meter "
    "nobr o:p output picture progress q rb rt rp ruby s samp slot small source span strike strong sub sup time tt u "
    "var wbr math mi mn mo ms mrow mfrac msqrt mroot mstyle msub msup msubsup munder mover munderover mspace "
    "semantics tspan tref"
)
#: Tags within a line of text. All others, including unknown ones, begin a block.
_INLINE_TAGS = frozenset(_INLINE_TAG_NAMES.split())
#: The prefix of inline XBRL, whose tags mark values within a sentence.
_XBRL = "ix:"
#: Tags whose text is not shown. A `template` is for scripts, unless it is a declarative shadow root.
_HIDDEN_TAGS = frozenset(("script", "style", "template", "rp", "annotation-xml", "datalist", "ix:header"))
_HEADINGS = {f"h{level + 1}": level for level in range(6)}
_PREFORMATTED = frozenset(("pre", "xmp", "listing", "plaintext"))
_CELL_TAGS = frozenset(("td", "th"))
#: Inputs whose value is not text for the reader.
_INPUTS_WITHOUT_TEXT = frozenset(("hidden", "checkbox", "radio", "file", "image", "password", "range", "color"))
#: The kinds of numbers in lists, by the attribute `type`.
_LIST_KINDS = {"a": "alpha", "A": "alphaUc", "i": "roman", "I": "romanUc"}
_LINE_BREAK = "\0"


def parse(source: SourceFile) -> ParsedDocument:
    """Parse headings, paragraphs, lists, tables and code, and the page title unless a heading repeats it."""
    builder = DocumentBuilder()
    page = decode_markup(source.path.read_bytes())
    pictures = Pictures(source.options)
    add_html(builder, page, pictures)
    return builder.build(source.media_type, **payloads_in_markup(page), **pictures.properties)


def html_blocks(text: str) -> list[Block]:
    """Return the blocks of a page, or of a part of one."""
    return _read(text).blocks


def add_html(builder: DocumentBuilder, text: str, pictures: Pictures | None = None) -> None:
    """Append the text of a page. What `noscript` holds is read only if there is nothing else.

    Args:
        builder: The document to append to.
        text: The page.
        pictures: Reads the pictures that are within the page, if any is to be read.
    """
    reader = _read(text, pictures)
    if not reader.blocks and reader.has_noscript:
        reader = _read(text, pictures, with_noscript=True)
    title = reader.title
    if title and all(block.text != title for block in reader.blocks if block.kind is ElementKind.HEADING):
        builder.add(ElementKind.TITLE, title)
    for block in reader.blocks:
        builder.add(block.kind, block.text, level=block.level)


def _read(text: str, pictures: Pictures | None = None, *, with_noscript: bool = False) -> _Reader:
    reader = _Reader(PageStyle(text), pictures, with_noscript=with_noscript)
    # A parser target builds no tree, so deep nesting is no problem. Zeros are removed because they mark line breaks.
    parser = etree.HTMLParser(target=reader, encoding="utf-8", huge_tree=True, remove_comments=True, remove_pis=True)
    parser.feed(text.replace("\0", "").encode(errors="replace"))
    parser.close()
    return reader


@dataclass(slots=True)
class _Context:
    """The kind and level of the text inside an open tag."""

    tag: str
    kind: ElementKind
    level: int = 0


@dataclass(slots=True)
class _List:
    """An open list. `kind` is that of its numbers, or empty if it has none."""

    kind: str
    number: int

    @classmethod
    def of(cls, tag: str, attributes: Mapping[str, str]) -> _List:
        """Return the list that a tag opens."""
        style = attributes.get("style", "").replace(" ", "").lower()
        is_plain = tag == "ul" or "list-style:none" in style or "list-style-type:none" in style
        start = attributes.get("start", "")
        number = int(start) if re.fullmatch(r"-?\d{1,6}", start) else 1
        return cls("" if is_plain else attributes.get("type") or "1", number)

    def next_label(self, attributes: Mapping[str, str]) -> str:
        """Return the number of the next item with a full stop, or an empty string if it has none."""
        value = attributes.get("value", "")
        if value.isdecimal():
            self.number = int(value[:6])
        label = f"{ordinal(self.number, _LIST_KINDS.get(self.kind, ''))}. " if self.kind else ""
        self.number += 1
        return label


class _Reader:
    """Receives the events of libxml2's HTML parser, which also closes tags that are left open."""

    def __init__(self, style: PageStyle, pictures: Pictures | None, *, with_noscript: bool) -> None:
        self.title = ""
        self.blocks: list[Block] = []
        self.has_noscript = False
        self._with_noscript = with_noscript
        self._style = style
        self._pictures = pictures
        self._visibility = Visibility(style.paper)
        self._words: list[str] = []
        self._marks = Marks(self._words)
        self._contexts: list[_Context] = []
        self._open: Counter[str] = Counter()
        #: The open lists, and the number of the item that has begun, which goes before its first text.
        self._lists: list[_List] = []
        self._label = ""
        self._tables: list[Table] = []
        #: The open tag whose text is not shown, and how many tags of that name are open inside each other.
        self._hidden, self._hidden_depth = "", 0
        self._in_title = False

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """Handle a start tag."""
        if self._hidden:
            self._hidden_depth += tag == self._hidden
            return
        look = self._style.look_of(tag, attributes)
        self.has_noscript |= tag == "noscript"
        if look.is_hidden or self._is_hidden_tag(tag, attributes):
            if tag not in _INLINE_TAGS:
                self._flush()
            self._hidden, self._hidden_depth = tag, 1
            return
        self._visibility.start(tag, look)
        if tag == "title" and not self.title and not self.blocks and not self._open["svg"]:
            self._flush()
            self._in_title = True
        elif tag in _INLINE_TAGS or tag.startswith(_XBRL):
            self._begin_inline(tag, attributes)
            self._marks.start(tag, attributes, look)
        elif tag == "br":
            self._words.append(_LINE_BREAK)
        elif tag == "option":
            self._words.append(" ")
        else:
            self._flush()
            self._begin_block(tag, attributes)
            self._marks.start(tag, attributes, look)

    def _is_hidden_tag(self, tag: str, attributes: Mapping[str, str]) -> bool:
        if tag == "noscript":
            return not self._with_noscript
        return tag in _HIDDEN_TAGS and "shadowrootmode" not in attributes

    def end(self, tag: str) -> None:
        """Handle an end tag, written or implied."""
        if self._hidden:
            self._hidden_depth -= tag == self._hidden
            if not self._hidden_depth:
                self._hidden = ""
            return
        is_inline = tag in _INLINE_TAGS or tag.startswith(_XBRL)
        if is_inline:
            self._marks.end(tag)
        if tag == "title" and self._in_title:
            self.title = " ".join("".join(self._words).split())
            self._words.clear()
            self._in_title = False
        elif tag == "rt":
            self._words.append(")")
        elif not is_inline and tag not in ("br", "option"):
            self._flush()
            self._marks.end(tag)
            self._end_block(tag)
        self._visibility.end(tag)

    def data(self, text: str) -> None:
        """Handle a piece of text."""
        if not self._hidden and not self._visibility.is_unseen:
            self._words.append(text)

    def close(self) -> None:
        """Handle the end of the page."""
        self._flush()
        while self._tables:
            self._end_table()

    def _begin_inline(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag == "img":
            words = self._pictures.text_of_uri(attributes.get("src", "")) if self._pictures else ""
            self._words.append(f" {attributes.get('alt', '')} {words} ")
        elif tag == "input" and attributes.get("type", "").lower() not in _INPUTS_WITHOUT_TEXT:
            self._words.append(f" {attributes.get('value') or attributes.get('placeholder', '')} ")
        elif tag == "button":
            self._words.append(" ")
        elif tag == "rt":
            self._words.append("(")

    def _begin_block(self, tag: str, attributes: Mapping[str, str]) -> None:
        if tag in _HEADINGS:
            self._enter(tag, ElementKind.HEADING, _HEADINGS[tag])
        elif tag in ("ol", "ul"):
            self._lists.append(_List.of(tag, attributes))
            self._enter(tag, ElementKind.PARAGRAPH)
        elif tag in ("li", "dd"):
            self._label = self._lists[-1].next_label(attributes) if tag == "li" and self._lists else ""
            self._enter(tag, ElementKind.LIST_ITEM)
        elif tag in _PREFORMATTED:
            self._enter(tag, ElementKind.CODE)
        elif tag == "svg":
            self._enter(tag, ElementKind.PARAGRAPH)
        elif tag == "table":
            self._tables.append(Table(is_layout=attributes.get("role") in ("presentation", "none")))
            self._enter(tag, ElementKind.PARAGRAPH)
        elif tag == "tr" and self._tables:
            self._tables[-1].begin_row()
        elif tag in _CELL_TAGS and self._tables:
            spans = attributes.get("colspan", ""), attributes.get("rowspan", "")
            self._tables[-1].begin_cell(*spans, is_header=tag == "th")

    def _end_block(self, tag: str) -> None:
        if tag in _CELL_TAGS and self._tables:
            self._tables[-1].end_cell()
        elif tag == "table" and self._tables:
            self._end_table()
        elif tag == "li":
            self._label = ""
        elif tag in ("ol", "ul") and self._lists:
            self._lists.pop()
        if self._open[tag]:
            while (closed := self._contexts.pop().tag) != tag:
                self._open[closed] -= 1
            self._open[tag] -= 1

    def _end_table(self) -> None:
        for block in self._tables.pop().blocks():
            self._add(block)

    def _enter(self, tag: str, kind: ElementKind, level: int = 0) -> None:
        self._contexts.append(_Context(tag, kind, level))
        self._open[tag] += 1

    def _flush(self) -> None:
        if not self._words:
            return
        self._marks.divide()
        text, context = "".join(self._words), self._contexts[-1] if self._contexts else None
        self._words.clear()
        kind = context.kind if context else ElementKind.PARAGRAPH
        if kind is ElementKind.CODE:
            text = text.replace(_LINE_BREAK, "\n")
        elif _LINE_BREAK in text:
            text = "\n".join(map(join_words, text.split(_LINE_BREAK))).strip()
        else:
            text = join_words(text)
        if text.strip():
            text, self._label = self._label + text, ""
            self._add(Block(kind, text, context.level if context else 0))

    def _add(self, block: Block) -> None:
        if self._tables:
            self._tables[-1].add(block)
        else:
            self.blocks.append(block)
