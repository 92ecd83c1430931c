"""E-mail files and mailboxes, by the standard library."""

from __future__ import annotations

import mailbox
from email import policy
from email.message import EmailMessage, Message
from email.parser import BytesParser
from typing import Any, cast

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ParsedDocument
from ingest.parsers.attachments import Attachment
from ingest.parsers.charsets import decode
from ingest.parsers.detection import MBOX
from ingest.parsers.mail import HEADERS, Mail, add_mail
from ingest.parsers.source import SourceFile

#: The default policy without its check of lines that are too long to be sent.
_POLICY = policy.default.clone(raise_on_defect=False)
#: What the parser of headers raises on some that are no headers.
_BAD_HEADER = (ValueError, IndexError, KeyError, AttributeError, TypeError, LookupError)
#: Parts of a message, and of the messages in it.
_MAX_PARTS = 1000


def parse(source: SourceFile) -> ParsedDocument:
    """Headers, body and attachments of a message, or of each message of a mailbox.

    Raises:
        DocumentRejected: it is no message, or has too many parts.
    """
    builder = DocumentBuilder()
    if source.media_type == MBOX:
        count = _add_mailbox(builder, source)
        return builder.build(source.media_type, messages=str(count))
    with source.path.open("rb") as file:
        mail = _mail(_read_message(file))
    add_mail(builder, mail, source)
    return builder.build(source.media_type, **mail.metadata)


def _add_mailbox(builder: DocumentBuilder, source: SourceFile) -> int:
    messages = mailbox.mbox(source.path, factory=_read_message, create=False)
    count = 0
    try:
        for message in messages:
            add_mail(builder, _mail(cast(EmailMessage, message)), source)
            count += 1
    finally:
        messages.close()
    return count


def _read_message(file: Any) -> Any:
    return BytesParser(policy=_POLICY).parse(file)


def _mail(message: EmailMessage) -> Mail:
    _check_parts(message)
    headers = {name: _header(message, name) for name in (*HEADERS, "Message-ID")}
    body = message.get_body(preferencelist=("plain", "html"))
    is_html = body is not None and body.get_content_type() == "text/html"
    attachments = [_attachment(part, number) for number, part in enumerate(_attached(message, body), start=1)]
    return Mail(headers, _text(body) if body is not None else "", is_html, attachments)


def _check_parts(message: Message) -> None:
    try:
        for count, _ in enumerate(message.walk()):
            if count > _MAX_PARTS:
                raise DocumentRejected(f"The e-mail has more than {_MAX_PARTS} parts.")
    except RecursionError as error:
        raise DocumentRejected("The e-mail is broken: its parts are nested too deeply to be read.") from error


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except _BAD_HEADER:
        raw = next((value for key, value in message.raw_items() if key.lower() == name.lower()), "")
        return " ".join(str(raw).split())


def _attached(message: EmailMessage, body: Message | None) -> list[EmailMessage]:
    """The parts that are files. Pictures within an HTML body are none, and other forms of the body neither."""
    found: list[EmailMessage] = []
    waiting = [message]
    while waiting:
        part = waiting.pop(0)
        if part is body:
            continue
        kind = part.get_content_maintype()
        if kind == "multipart":
            waiting[:0] = [cast(EmailMessage, inner) for inner in part.iter_parts()]
        elif _filename(part) or part.is_attachment() or kind == "message":
            if not (part.get("Content-ID") and kind == "image"):
                found.append(part)
        elif part.get_content_subtype() not in ("plain", "html") or kind != "text":
            found.append(part)
    return found if message is not body else []


def _attachment(part: EmailMessage, number: int) -> Attachment:
    if part.get_content_maintype() == "message":
        inner: Any = part.get_payload()
        message: EmailMessage = inner[0] if isinstance(inner, list) and inner else part
        subject = _header(message, "Subject")
        return Attachment(_filename(part) or f"{subject or f'message-{number}'}.eml", message.as_bytes())
    data = part.get_payload(decode=True)
    return Attachment(_filename(part) or f"part-{number}", data if isinstance(data, bytes) else b"")


def _filename(part: EmailMessage) -> str:
    try:
        return part.get_filename() or ""
    except _BAD_HEADER:
        return ""


def _text(part: Message) -> str:
    """The text of a part, in the charset that it names if the bytes fit it."""
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes):
        return str(data or "")
    charset = part.get_param("charset")
    try:
        return data.decode(charset) if isinstance(charset, str) else decode(data)
    except (UnicodeDecodeError, LookupError):
        return decode(data)
