"""The text of an e-mail in the forms that it is sent in, and which of them to read."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from lxml import etree

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.html.page import add_html
from ingest.parsers.source import SourceFile
from ingest.parsers.text import BLANK_LINES, add_paragraphs

_RTF = "application/rtf"
_PAGE = re.compile(r"\s*(?:<!doctype\s+html|<html[\s>])", re.I)
#: Writing without spaces between words counts by its characters.
_WORD = re.compile(r"[\u3040-\u9fff\uac00-\ud7af]|[^\W\u3040-\u9fff\uac00-\ud7af]+")
_LINK = re.compile(r"<?https?://\S+|<?mailto:\S+|<?www\.\S+", re.I)


class Form(Enum):
    """How a text is written."""

    PLAIN = "plain"
    HTML = "html"
    RTF = "rtf"


@dataclass(frozen=True, slots=True)
class Body:
    """A stretch of an e-mail's text. Bytes of RTF are the characters of Latin-1."""

    form: Form
    text: str

    def __bool__(self) -> bool:
        return bool(self.text.strip())


def plain_body(text: str) -> Body:
    """A text that says it is plain; some programs say so of pages."""
    return Body(Form.HTML if _PAGE.match(text) else Form.PLAIN, text)


def best_of(forms: Sequence[Sequence[Body]]) -> list[Body]:
    """What is to be read of the forms of one text; each may consist of several stretches.

    Plain text, if it has all the words of the page; else the page, and those paragraphs of a plain text of some length
    that say something else.
    """
    plain = [form for form in forms if form and all(body.form is Form.PLAIN for body in form)]
    rich = [form for form in forms if form and form not in plain]
    texts = [body for form in plain for body in form if body]
    pages = [body for body in rich[-1] if body] if rich else []
    if not texts or not pages:
        return texts or pages
    words, page_words = _words(texts), _words(pages)
    if page_words <= words:
        return texts
    if len(words) * 2 < len(page_words):
        # It only says that there is a page.
        return pages
    others = [Body(Form.PLAIN, _paragraphs_beside(body.text, page_words)) for body in texts]
    return [*pages, *filter(None, others)]


def _paragraphs_beside(text: str, words: set[str]) -> str:
    """The paragraphs that have other words, but for addresses of links, which pages do not show."""
    paragraphs = BLANK_LINES.split(text)
    return "\n\n".join(each for each in paragraphs if not _words([Body(Form.PLAIN, _LINK.sub(" ", each))]) <= words)


def add_body(builder: DocumentBuilder, body: Body, source: SourceFile) -> None:
    """Appends a text, or the reason why it cannot be read."""
    if body.form is Form.PLAIN:
        add_paragraphs(builder, body.text)
    elif body.form is Form.HTML:
        page = DocumentBuilder()
        add_html(page, body.text)
        builder.add_document(page.build(source.media_type), level=1)
    else:
        _add_rtf(builder, body, source)


def _add_rtf(builder: DocumentBuilder, body: Body, source: SourceFile) -> None:
    from ingest.parsers.rtf import parser as rtf

    with tempfile.NamedTemporaryFile(prefix="body-") as file:
        file.write(body.text.encode("latin-1"))
        file.flush()
        try:
            document = rtf.parse(SourceFile(Path(file.name), source.filename, _RTF, source.options, source.depth))
        except DocumentRejected as rejection:
            builder.add(ElementKind.PARAGRAPH, f"The text of this e-mail was not read: {rejection.message}")
            return
    builder.add_document(document, level=1)


def _words(bodies: Sequence[Body]) -> set[str]:
    return {
        word.lower()
        for body in bodies
        for word in _WORD.findall(_shown(body.text) if body.form is Form.HTML else body.text)
    }


def _shown(page: str) -> str:
    """About what a page shows: enough to compare it."""
    # Bytes, as lxml refuses a str that declares an encoding of its own.
    parser = etree.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(page.encode("utf-8"), parser)
    except etree.XMLSyntaxError:
        return ""
    if root is None:
        return ""
    etree.strip_elements(root, "script", "style", "title", with_tail=False)
    return " ".join(root.itertext())
