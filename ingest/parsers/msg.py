"""Outlook's messages, through python-oxmsg."""

from __future__ import annotations

import struct
from typing import Any

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ParsedDocument
from ingest.parsers.attachments import Attachment
from ingest.parsers.mail import Mail, add_mail
from ingest.parsers.mail_body import Body, Form
from ingest.parsers.mail_headers import HEADERS, MESSAGE_ID
from ingest.parsers.mail_text import header_text
from ingest.parsers.source import SourceFile


def parse(source: SourceFile) -> ParsedDocument:
    """Headers, body and attachments.

    Raises:
        DocumentRejected: it is broken.
    """
    from oxmsg import Message

    try:
        mail = _mail(Message.load(str(source.path)))
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        AssertionError,
        struct.error,
    ) as error:
        raise DocumentRejected(f"The Outlook message is broken: {error}".rstrip(".") + ".") from error
    builder = DocumentBuilder()
    add_mail(builder, mail, source)
    return builder.build(source.media_type, **mail.metadata)


def _mail(message: Any) -> Mail:
    sent = {name.lower(): header_text(value) for name, value in message.message_headers.items()}
    headers = {name: " ".join(sent.get(name.lower(), "").split()) for name in (*HEADERS, MESSAGE_ID)}
    headers["From"] = headers["From"] or header_text(message.sender or "")
    headers["Subject"] = message.subject or headers["Subject"]
    headers["To"] = headers["To"] or ", ".join(_recipient(each) for each in message.recipients)
    if not headers["Date"] and message.sent_date is not None:
        headers["Date"] = message.sent_date.isoformat()
    html = message.body is None and message.html_body is not None
    body = (message.html_body if html else message.body) or ""
    message_id = headers.pop(MESSAGE_ID)
    attachments = [_attachment(each, n) for n, each in enumerate(message.attachments, start=1)]
    shown = [(name, value) for name, value in headers.items() if value]
    return Mail(shown, message_id, [Body(Form.HTML if html else Form.PLAIN, body)], attachments)


def _recipient(recipient: Any) -> str:
    name, address = recipient.name or "", recipient.email_address or ""
    return f"{name} <{address}>" if name and address and name != address else name or address


def _attachment(attachment: Any, number: int) -> Attachment:
    # There are no bytes of a message within the message.
    return Attachment(attachment.file_name or f"attachment-{number}", attachment.file_bytes)
