"""Joins the lines of a page, as they are laid out, into paragraphs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ingest.parsed_document import DocumentBuilder, ElementKind

#: PDFium marks a hyphen at the end of a line with one of these.
_SOFT_HYPHEN = re.compile("[\x02\ufffe\u00ad]\r?\n?")
_LINE_END_HYPHEN = re.compile(r"(?<=[^\W\d_])-\n(?=[a-zà-öø-ÿ])")
LIST_ITEM = re.compile(r"(?:[•●▪◦‣∙·–*-]|\d{1,3}[.)]|\([a-z0-9]{1,3}\))\s+\S")
SENTENCE_ENDS = (".", "!", "?", ":", "。", "！", "？")
#: A line that ends a sentence and is shorter than this share of the page's longest line ends its paragraph.
_SHORT_LINE_SHARE = 0.8
_NO_TITLES: Mapping[str, int] = {}


def normalise_spaces(text: str) -> str:
    """Return the text on one line, with single spaces. The keys of `titles` in `add_page` have this form."""
    return " ".join(text.split())


def add_page(builder: DocumentBuilder, text: str, page: int, titles: Mapping[str, int] = _NO_TITLES) -> None:
    """Append the paragraphs of a page. Lines that are keys of `titles` become headings of the given level."""
    text = _SOFT_HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.strip() for line in _LINE_END_HYPHEN.sub("", text).split("\n")]
    width = max(map(len, lines), default=0)
    paragraph: list[str] = []

    def flush() -> None:
        joined = " ".join(paragraph)
        kind = ElementKind.LIST_ITEM if LIST_ITEM.match(joined) else ElementKind.PARAGRAPH
        builder.add(kind, joined, page=page)
        paragraph.clear()

    for line in lines:
        level = titles.get(normalise_spaces(line))
        if level is not None or not line or LIST_ITEM.match(line):
            flush()
        if level is not None:
            builder.add(ElementKind.HEADING, line, page=page, level=level)
        elif line:
            paragraph.append(line)
            if line.endswith(SENTENCE_ENDS) and len(line) < _SHORT_LINE_SHARE * width:
                flush()
    flush()
