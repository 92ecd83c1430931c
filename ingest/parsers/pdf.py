"""PDF: the text layer, page by page, with the headings that its outline names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pypdfium2
from pypdfium2 import raw

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.archives import ENCRYPTED
from ingest.parsers.source import SourceFile

#: Titles of the outline by page index, each with its level.
Outline = Mapping[int, Mapping[str, int]]

#: PDFium marks a hyphen at the end of a line with one of these.
_SOFT_HYPHEN = re.compile("[\x02\ufffe\u00ad]\r?\n?")
_HYPHEN = re.compile(r"(?<=[^\W\d_])-\n(?=[a-zà-öø-ÿ])")
_LIST_ITEM = re.compile(r"(?:[•●▪◦‣∙·–*-]|\d{1,3}[.)]|\([a-z0-9]{1,3}\))\s+\S")
_SENTENCE_ENDS = (".", "!", "?", ":", "。", "！", "？")
#: A line that ends this much before the longest one of its page ends its paragraph.
_SHORT_LINE = 0.8


def parse(source: SourceFile) -> ParsedDocument:
    """Paragraphs with their page numbers.

    Raises:
        DocumentRejected: it is broken or encrypted, or its pages are images.
    """
    document = _open(source)
    builder = DocumentBuilder()
    try:
        outline = _outline(document)
        count = len(document)
        for index in range(count):
            _add_page(builder, _page_text(document, index), index, outline.get(index, {}))
    finally:
        document.close()
    parsed = builder.build(source.media_type, pages=str(count))
    if not parsed.elements:
        raise DocumentRejected("The PDF has no text layer: scanned pages need OCR first (for example with OCRmyPDF).")
    return parsed


def _open(source: SourceFile) -> pypdfium2.PdfDocument:
    try:
        document = pypdfium2.PdfDocument(source.path)
    except pypdfium2.PdfiumError as error:
        if error.err_code in (raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY):
            raise DocumentRejected(ENCRYPTED) from error
        raise DocumentRejected("The PDF is broken: it cannot be opened. It may have been cut off.") from error
    if len(document) == 0:
        document.close()
        raise DocumentRejected("The PDF is broken: it has no pages.")
    return document


def _page_text(document: pypdfium2.PdfDocument, index: int) -> str:
    """The text of a page; empty for a page that cannot be read: the others are worth having."""
    try:
        page = document[index]
    except pypdfium2.PdfiumError:
        return ""
    text_page = page.get_textpage()
    try:
        return str(text_page.get_text_range())
    finally:
        text_page.close()
        page.close()


def _outline(document: pypdfium2.PdfDocument) -> dict[int, dict[str, int]]:
    titles: dict[int, dict[str, int]] = {}
    try:
        for mark in document.get_toc():
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            if index is not None:
                titles.setdefault(index, {})[_words(mark.get_title())] = mark.level
    except (pypdfium2.PdfiumError, UnicodeDecodeError):
        # The outline is a help, not the text: without a whole one the headings are paragraphs.
        return {}
    return titles


def _words(text: str) -> str:
    return " ".join(text.split())


def _add_page(builder: DocumentBuilder, text: str, index: int, titles: Mapping[str, int]) -> None:
    text = _SOFT_HYPHEN.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    lines = [line.strip() for line in _HYPHEN.sub("", text).split("\n")]
    width = max(map(len, lines), default=0)
    paragraph: list[str] = []

    def flush() -> None:
        joined = " ".join(paragraph)
        kind = ElementKind.LIST_ITEM if _LIST_ITEM.match(joined) else ElementKind.PARAGRAPH
        builder.add(kind, joined, page=index + 1)
        paragraph.clear()

    for line in lines:
        level = titles.get(_words(line))
        if level is not None or not line or _LIST_ITEM.match(line):
            flush()
        if level is not None:
            builder.add(ElementKind.HEADING, line, page=index + 1, level=level)
        elif line:
            paragraph.append(line)
            if line.endswith(_SENTENCE_ENDS) and len(line) < _SHORT_LINE * width:
                flush()
    flush()
