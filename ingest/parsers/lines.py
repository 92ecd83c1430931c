"""From the lines of a page, as they are set, to its paragraphs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ingest.parsed_document import DocumentBuilder, ElementKind

#: PDFium marks a hyphen at the end of a line with one of these.
_SOFT_HYPHEN = re.compile("[\x02\ufffe\u00ad]\r?\n?")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-\n(?=[a-zà-öø-ÿ])")
_LIST_ITEM = re.compile(r"(?:[•●▪◦‣∙·–*-]|\d{1,3}[.)]|\([a-z0-9]{1,3}\))\s+\S")
_SENTENCE_ENDS = (".", "!", "?", ":", "。", "！", "？")
#: A line that ends this much before the longest one of its page ends its paragraph.
_SHORT_LINE = 0.8
_NO_TITLES: Mapping[str, int] = {}


def words(text: str) -> str:
    """The text on one line, as `titles` of `add_page` has it."""
    return " ".join(text.split())


def add_page(builder: DocumentBuilder, text: str, page: int, titles: Mapping[str, int] = _NO_TITLES) -> None:
    """Appends the paragraphs of a page; lines that are `titles` become headings of the level given there."""
    text = _SOFT_HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.strip() for line in _HYPHEN.sub("", text).split("\n")]
    width = max(map(len, lines), default=0)
    paragraph: list[str] = []

    def flush() -> None:
        joined = " ".join(paragraph)
        kind = ElementKind.LIST_ITEM if _LIST_ITEM.match(joined) else ElementKind.PARAGRAPH
        builder.add(kind, joined, page=page)
        paragraph.clear()

    for line in lines:
        level = titles.get(words(line))
        if level is not None or not line or _LIST_ITEM.match(line):
            flush()
        if level is not None:
            builder.add(ElementKind.HEADING, line, page=page, level=level)
        elif line:
            paragraph.append(line)
            if line.endswith(_SENTENCE_ENDS) and len(line) < _SHORT_LINE * width:
                flush()
    flush()
