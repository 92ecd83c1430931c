"""E-mail files and mailboxes, parsed with the standard library.

Ours is what mail programs get wrong, and the choice between the forms of a text, which no library makes.
"""

from __future__ import annotations

import re

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.archives import FILE_ERRORS
from ingest.parsers.charsets import utf16_as_utf8
from ingest.parsers.mail.content import read_content
from ingest.parsers.mail.detection import MBOX
from ingest.parsers.mail.headers import MESSAGE_ID, visible_headers
from ingest.parsers.mail.mbox import read_messages
from ingest.parsers.mail.message import Mail, add_mail
from ingest.parsers.mail.part import read_message
from ingest.parsers.source import SourceFile

_READ_ERRORS: tuple[type[Exception], ...] = (DocumentRejected, *FILE_ERRORS)
_APPLE_MAIL_LENGTH = re.compile(rb"(\d{1,12})[ ]*\r?\n")


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the headers, body and attachments of a message, or of each message of a mailbox.

    Raises:
        DocumentRejected: If a message that is not in a mailbox has too many parts, or they are nested too deeply.
    """
    builder = DocumentBuilder()
    if source.media_type == MBOX:
        count = _add_mailbox(builder, source)
        return builder.build(source.media_type, messages=str(count))
    mail = _read_mail(_message_bytes(utf16_as_utf8(source.path.read_bytes())))
    add_mail(builder, mail, source)
    return builder.build(source.media_type, **mail.metadata)


def _message_bytes(data: bytes) -> bytes:
    """Return the message in a file; Apple Mail writes the length of the message before it and other data after it."""
    length = _APPLE_MAIL_LENGTH.match(data)
    return data[length.end() :][: int(length[1])] if length else data


def _add_mailbox(builder: DocumentBuilder, source: SourceFile) -> int:
    count = 0
    for count, message in enumerate(read_messages(source.path), start=1):
        try:
            add_mail(builder, _read_mail(message), source)
        except _READ_ERRORS as error:
            # The other messages are still useful, and a search for this one finds the reason.
            reason = error.message if isinstance(error, DocumentRejected) else f"It is broken: {type(error).__name__}."
            builder.add(ElementKind.PARAGRAPH, f"E-mail {count} of this mailbox was not read: {reason}")
    return count


def _read_mail(data: bytes) -> Mail:
    message = read_message(data)
    headers = visible_headers(message, message.charset)
    message_id = " ".join(str(message.get(MESSAGE_ID, "")).split())
    content = read_content(message)
    return Mail(headers, message_id, content.bodies, content.attachments)
