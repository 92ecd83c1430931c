"""The text of an e-mail in its formats, and the choice between alternatives."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.html.page import add_html
from ingest.parsers.pictures import Pictures
from ingest.parsers.source import ParserOptions, SourceFile
from ingest.parsers.text import BLANK_LINES, add_paragraphs

_RTF = "application/rtf"
_PAGE = re.compile(r"\s*(?:<!doctype\s+html|<html[\s>])", re.I)
#: In scripts without spaces between words, each character counts as a word.
_WORD = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]|[^\W\u3040-\u9fff\uac00-\ud7af]+")
_LINK = re.compile(r"<?https?://\S+|<?mailto:\S+|<?www\.\S+", re.I)


class BodyFormat(Enum):
    """The format of a body."""

    PLAIN = "plain"
    HTML = "html"
    RTF = "rtf"


@dataclass(frozen=True, slots=True)
class Body:
    """A part of an e-mail's text. RTF is held as Latin-1, one character for each byte."""

    format: BodyFormat
    text: str

    def __bool__(self) -> bool:
        return bool(self.text.strip())


def plain_body(text: str) -> Body:
    """Return the body of a part declared as plain text; some programs declare HTML pages as such."""
    return Body(BodyFormat.HTML if _PAGE.match(text) else BodyFormat.PLAIN, text)


def choose_bodies(alternatives: Sequence[Sequence[Body]]) -> list[Body]:
    """Return the bodies to read out of the alternatives of one text; an alternative may have several bodies.

    This is the plain text if it has all words of the HTML page. Otherwise it is the page and, unless the plain text is
    much shorter than the page, those paragraphs of the plain text that have other words.
    """
    plain = [bodies for bodies in alternatives if bodies and all(body.format is BodyFormat.PLAIN for body in bodies)]
    rich = [bodies for bodies in alternatives if bodies and bodies not in plain]
    texts = [body for bodies in plain for body in bodies if body]
    pages = [body for body in rich[-1] if body] if rich else []
    if not texts or not pages:
        return texts or pages
    words, page_words = _words(texts), _words(pages)
    if page_words <= words:
        return texts
    if len(words) * 2 < len(page_words):
        # The plain text only says that there is a page.
        return pages
    others = [Body(BodyFormat.PLAIN, _paragraphs_not_in(body.text, page_words)) for body in texts]
    return [*pages, *filter(None, others)]


def bodies_not_in(bodies: Sequence[Body], others: Sequence[Body]) -> list[Body]:
    """Return the bodies that have words which the others lack."""
    words = _words(others)
    return [body for body in bodies if not _words([body]) <= words]


def _paragraphs_not_in(text: str, words: set[str]) -> str:
    """Return the paragraphs that have words not in `words`. URLs are ignored, because pages do not show them."""
    paragraphs = BLANK_LINES.split(text)
    without_links = ((each, Body(BodyFormat.PLAIN, _LINK.sub(" ", each))) for each in paragraphs)
    return "\n\n".join(each for each, body in without_links if not _words([body]) <= words)


def add_body(builder: DocumentBuilder, body: Body, source: SourceFile) -> None:
    """Append a body, or the reason why it cannot be read."""
    if body.format is BodyFormat.PLAIN:
        add_paragraphs(builder, body.text)
    elif body.format is BodyFormat.HTML:
        page = DocumentBuilder()
        add_html(page, body.text, Pictures(source.options))
        builder.add_document(page.build(source.media_type), level=1)
    else:
        _add_rtf(builder, body, source)


def _add_rtf(builder: DocumentBuilder, body: Body, source: SourceFile) -> None:
    try:
        document = _parse_rtf(body.text.encode("latin-1"), source.options)
    except DocumentRejected as rejection:
        builder.add(ElementKind.PARAGRAPH, f"The text of this e-mail was not read: {rejection.message}")
        return
    builder.add_document(document, level=1)


def rtf_text(data: bytes) -> str:
    """Return the text of RTF.

    Raises:
        DocumentRejected: If it is broken.
    """
    return _parse_rtf(data, ParserOptions()).text


def _parse_rtf(data: bytes, options: ParserOptions) -> ParsedDocument:
    from ingest.parsers.rtf import parser as rtf

    with tempfile.NamedTemporaryFile(prefix="body-") as file:
        file.write(data)
        file.flush()
        return rtf.parse(SourceFile(Path(file.name), "body.rtf", _RTF, options))


def _words(bodies: Sequence[Body]) -> set[str]:
    return {
        word.lower()
        for body in bodies
        for word in _WORD.findall(_visible_text(body.text) if body.format is BodyFormat.HTML else body.text)
    }


def _visible_text(page: str) -> str:
    """Return roughly the text that a page shows, which is enough to compare words."""
    # lxml refuses a str that declares an encoding, so this parses bytes.
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(page.encode("utf-8"), parser)
    except etree.XMLSyntaxError:
        return ""
    if root is None:
        return ""
    etree.strip_elements(root, "script", "style", "title", with_tail=False)
    return " ".join(root.itertext())
