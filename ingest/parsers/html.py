"""HTML, through unstructured: what a reader of the page sees, without scripts and styles."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from lxml import etree

from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.charsets import decode_marked_up
from ingest.parsers.source import SourceFile
from ingest.parsers.unstructured_elements import add_elements, partitioner

partition_html = partitioner("html")

_HEADING = re.compile(r"h([1-6])")
_WITHIN_LINES = frozenset(  # fmt: skip
    (
        "a",
        "abbr",
        "b",
        "bdi",
        "bdo",
        "cite",
        "code",
        "data",
        "dfn",
        "em",
        "font",
        "i",
        "kbd",
        "mark",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "time",
        "u",
        "var",
        "wbr",
    )
)
_NOT_SHOWN = frozenset(("script", "style", "template", "noscript", "title"))


def parse(source: SourceFile) -> ParsedDocument:
    """Headings with their levels, paragraphs, lists, tables and code."""
    builder = DocumentBuilder()
    add_html(builder, decode_marked_up(source.path.read_bytes()))
    return builder.build(source.media_type)


def add_html(builder: DocumentBuilder, text: str) -> None:
    """Appends what a page shows."""
    text = _without_declaration(text)
    if not text.strip():
        return
    if _is_too_deep(text):
        _FlatReader(builder).read(text)
    else:
        add_elements(builder, partition_html(text=text, languages=[""]))


def _without_declaration(text: str) -> str:
    """The text without `<?xml …?>`: lxml refuses a str that declares an encoding of its own."""
    start = text.lstrip()
    return start.partition("?>")[2] if start.startswith("<?xml") else text


def _is_too_deep(text: str) -> bool:
    """Whether libxml2 leaves out what is nested deeper than it goes, which it only tells in its log."""
    parser = etree.HTMLParser(remove_comments=True)
    etree.fromstring(text, parser)
    return any("depth" in entry.message for entry in parser.error_log)


class _FlatReader(HTMLParser):
    """Reads a page without building a tree: headings and paragraphs, at any depth."""

    def __init__(self, builder: DocumentBuilder) -> None:
        super().__init__(convert_charrefs=True)
        self._builder = builder
        self._words: list[str] = []
        self._level: int | None = None
        self._hidden = ""

    def read(self, text: str) -> None:
        self.feed(text)
        self.close()
        self._flush()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 (HTMLParser calls it so)
        if tag in _NOT_SHOWN:
            self._hidden = self._hidden or tag
        elif tag not in _WITHIN_LINES:
            self._flush()
            heading = _HEADING.fullmatch(tag)
            self._level = int(heading[1]) - 1 if heading else None

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""
        elif tag not in _WITHIN_LINES:
            self._flush()

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._words.append(data)

    def _flush(self) -> None:
        kind = ElementKind.PARAGRAPH if self._level is None else ElementKind.HEADING
        self._builder.add(kind, " ".join("".join(self._words).split()), level=self._level or 0)
        self._words.clear()
        self._level = None
