"""Sorts the parts of an e-mail into its text and its attachments."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import cast
from urllib.parse import unquote

from core.errors import DocumentRejected
from ingest.parsers.attachments import MAX_ATTACHMENTS, Attachment
from ingest.parsers.detection import TNEF
from ingest.parsers.mail.attachments import attachment_of
from ingest.parsers.mail.body import Body, BodyFormat, bodies_not_in, choose_bodies, plain_body
from ingest.parsers.mail.part import TOO_DEEP, Part, read_message
from ingest.parsers.mail.signed import SIGNED, inner_name, is_mail, signed_content
from ingest.parsers.mail.text import decode_text, unwrap_flowed, uu_files
from ingest.parsers.mail.tnef import NO_TEXT, read_tnef

#: Resources of an HTML page that are not worth reading on their own.
_PAGE_PARTS = frozenset(("text/css", "text/javascript", "application/javascript", "application/x-javascript"))
#: Alternatives for special programs, read only if there is no other one.
_UNUSED_ALTERNATIVES = frozenset(("text/x-amp-html", "text/watch-html", "text/enriched", "text/richtext"))
_CID_LINK = re.compile(r"""\bcid:([^"'\s<>)]+)""", re.I)


@dataclass(slots=True)
class Content:
    """The content of a message."""

    bodies: list[Body] = field(default_factory=list)
    #: Each file with the `Content-ID` by which a page may show it, empty if it is only attached.
    files: list[tuple[Attachment, str]] = field(default_factory=list)
    #: The `Content-ID`s that pages show, including pages that are not the alternative that is read.
    inline_ids: set[str] = field(default_factory=set)

    @property
    def attachments(self) -> list[Attachment]:
        """The attached files, without pictures that a page shows, which are part of the page."""
        return [file for file, content_id in self.files if not content_id or content_id not in self.inline_ids]


def read_content(message: Part) -> Content:
    """Return the text and the files of a message, in order.

    Raises:
        DocumentRejected: If its parts are nested too deeply.
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
    elif part.declared_type in ("text/plain", "text/html") and not part.is_attachment and not part.filename:
        _collect_text(part, content)
    elif part.get_content_maintype() == "multipart":
        # It is declared as multipart, but the boundaries of its parts cannot be found.
        _collect_text(part, content)
    elif not (in_page and _belongs_to_page(part)):
        _collect_file(part, content)


def _collect_parts(part: Part, content: Content) -> None:
    parts = cast(list[Part], part.get_payload())
    if part.declared_type == "multipart/alternative":
        _collect_alternatives(parts, content)
    else:
        page_types = ("text/html", "multipart/alternative")
        in_page = part.declared_type == "multipart/related" and parts[0].declared_type in page_types
        for inner in parts:
            _collect(inner, content, in_page=in_page)
    _add_bodies(content, Body(BodyFormat.PLAIN, part.epilogue_text))


def _collect_alternatives(parts: list[Part], content: Content) -> None:
    """Collect one of the alternatives of the same text; attached files are collected from all of them."""
    alternatives: list[list[Body]] = []
    for inner in parts:
        if inner.declared_type not in _UNUSED_ALTERNATIVES:
            one = Content([], content.files, content.inline_ids)
            _collect(inner, one)
            alternatives.append(one.bodies)
    chosen = choose_bodies(alternatives)
    content.bodies += chosen
    for inner in parts:
        if inner.declared_type in _UNUSED_ALTERNATIVES and not chosen:
            _collect_file(inner, content)


def _collect_text(part: Part, content: Content) -> None:
    charset = part.charset
    data, below = part.content()
    if part.declared_type == "text/html":
        text = decode_text(data, charset, is_html=True)
        content.inline_ids.update(unquote(match[1]) for match in _CID_LINK.finditer(text))
        _add_bodies(content, Body(BodyFormat.HTML, text))
    else:
        text = decode_text(_extract_uu_files(data, content), charset)
        if part.parameter("format").lower() == "flowed":
            text = unwrap_flowed(text, delete_space=part.parameter("delsp").lower() == "yes")
        _add_bodies(content, plain_body(text))
    _add_bodies(content, Body(BodyFormat.PLAIN, decode_text(below, charset)))


def _extract_uu_files(data: bytes, content: Content) -> bytes:
    """Collect the uuencoded files of a text, an attachment format older than MIME, and return the rest of the text."""
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
    if part.is_attachment:
        return False
    is_picture = part.get_content_maintype() in ("image", "font") and "Content-Location" in part
    return part.declared_type in _PAGE_PARTS or is_picture


def _collect_file(part: Part, content: Content) -> None:
    is_picture = part.get_content_maintype() == "image" and not part.is_attachment
    content_id = str(part.get("Content-ID", "")).strip(" <>") if is_picture else ""
    file = attachment_of(part, len(content.files) + 1)
    if file.media_type in (TNEF, SIGNED) and file.data is not None:
        _collect_wrapped(file, file.data, content)
    elif not _is_repeated_calendar(file, content):
        content.files.append((file, content_id))


def _is_repeated_calendar(file: Attachment, content: Content) -> bool:
    """Return whether a calendar is the one of another part: programs send an invitation as a text and as a file."""
    if file.data is None or not file.data.lstrip().startswith(b"BEGIN:VCALENDAR"):
        return False
    words = file.data.split()
    return any(other.data is not None and other.data.split() == words for other, _ in content.files)


def _collect_wrapped(file: Attachment, data: bytes, content: Content) -> None:
    """Collect the text and the files that a mail program has wrapped, or the reason why they cannot be read."""
    try:
        if file.media_type == TNEF:
            mail = read_tnef(data)
            if not (mail.bodies or mail.attachments):
                raise DocumentRejected(NO_TEXT)
            content.bodies += bodies_not_in(mail.bodies, content.bodies)
            content.files += [(each, "") for each in mail.attachments]
            return
        inner = signed_content(data)
        if is_mail(inner):
            _collect(read_message(inner), content)
        else:
            content.files.append((Attachment(inner_name(file.filename), inner), ""))
    except DocumentRejected as rejection:
        content.files.append((Attachment(file.filename, None, reason=rejection.message), ""))
