"""What is in an e-mail: which of its parts are its text, and which are files that come with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import cast
from urllib.parse import unquote

from core.errors import DocumentRejected
from ingest.parsers.attachments import MAX_ATTACHMENTS, Attachment
from ingest.parsers.mail.attachments import attachment_of
from ingest.parsers.mail.body import Body, Form, best_of, plain_body
from ingest.parsers.mail.part import TOO_DEEP, Part
from ingest.parsers.mail.text import decoded, unflowed, uu_files

#: What a page needs, and nobody reads by itself.
_PAGE_PARTS = frozenset(("text/css", "text/javascript", "application/javascript", "application/x-javascript"))
#: Forms of a text for programs that know no better one.
_POOR_FORMS = frozenset(("text/x-amp-html", "text/watch-html", "text/enriched", "text/richtext"))
_SHOWN = re.compile(r"""\bcid:([^"'\s<>)]+)""", re.I)


@dataclass(slots=True)
class Content:
    """What is in a message."""

    bodies: list[Body] = field(default_factory=list)
    #: Each with the `Content-ID` by which a page may show it, empty for what is only attached.
    files: list[tuple[Attachment, str]] = field(default_factory=list)
    #: What the pages show within them, whether or not they are the form of the text that is read.
    shown: set[str] = field(default_factory=set)

    @property
    def attachments(self) -> list[Attachment]:
        """The files; pictures that a page shows are part of it."""
        return [attachment for attachment, content_id in self.files if not content_id or content_id not in self.shown]


def read_content(message: Part) -> Content:
    """The text of a message and its files, in their order.

    Raises:
        DocumentRejected: its parts are nested too deeply.
    """
    content = Content()
    try:
        _collect(message, content)
    except RecursionError as error:
        raise DocumentRejected(TOO_DEEP) from error
    return content


def _collect(part: Part, content: Content, *, in_page: bool = False) -> None:
    if part.is_multipart():
        _collect_parts(part, content)
    elif part.kind in ("text/plain", "text/html") and not part.is_attached and not part.filename:
        _collect_text(part, content)
    elif part.get_content_maintype() == "multipart":
        # It says that it has parts, and where they begin cannot be told.
        _collect_text(part, content)
    elif not (in_page and _belongs_to_page(part)):
        _collect_file(part, content)


def _collect_parts(part: Part, content: Content) -> None:
    parts = cast(list[Part], part.get_payload())
    if part.kind == "multipart/alternative":
        _collect_forms(parts, content)
    else:
        in_page = part.kind == "multipart/related" and parts[0].kind in ("text/html", "multipart/alternative")
        for inner in parts:
            _collect(inner, content, in_page=in_page)
    _add_bodies(content, Body(Form.PLAIN, part.text_below))


def _collect_forms(parts: list[Part], content: Content) -> None:
    """Forms of the same text: one of them is read. Files are in one of them, and come in any case."""
    forms: list[list[Body]] = []
    for inner in parts:
        if inner.kind not in _POOR_FORMS:
            one = Content([], content.files, content.shown)
            _collect(inner, one)
            forms.append(one.bodies)
    chosen = best_of(forms)
    content.bodies += chosen
    for inner in parts:
        if inner.kind in _POOR_FORMS and not chosen:
            _collect_file(inner, content)


def _collect_text(part: Part, content: Content) -> None:
    charset = part.charset
    data, below = part.content()
    if part.kind == "text/html":
        text = decoded(data, charset, is_html=True)
        content.shown.update(unquote(match[1]) for match in _SHOWN.finditer(text))
        _add_bodies(content, Body(Form.HTML, text))
    else:
        text = decoded(_without_files(data, content), charset)
        if part.parameter("format").lower() == "flowed":
            text = unflowed(text, delete_space=part.parameter("delsp").lower() == "yes")
        _add_bodies(content, plain_body(text))
    _add_bodies(content, Body(Form.PLAIN, decoded(below, charset)))


def _without_files(data: bytes, content: Content) -> bytes:
    """A text without the files that were written into it before there were parts."""
    position = 0
    texts: list[bytes] = []
    for file in islice(uu_files(data), MAX_ATTACHMENTS):
        texts.append(data[position : file.start])
        content.files.append((Attachment(file.name, file.content), ""))
        position = file.end
    return b"".join((*texts, data[position:]))


def _add_bodies(content: Content, body: Body) -> None:
    if body:
        content.bodies.append(body)


def _belongs_to_page(part: Part) -> bool:
    if part.is_attached:
        return False
    is_picture = part.get_content_maintype() in ("image", "font") and "Content-Location" in part
    return part.kind in _PAGE_PARTS or is_picture


def _collect_file(part: Part, content: Content) -> None:
    is_picture = part.get_content_maintype() == "image" and not part.is_attached
    content_id = str(part.get("Content-ID", "")).strip(" <>") if is_picture else ""
    content.files.append((attachment_of(part, len(content.files) + 1), content_id))
