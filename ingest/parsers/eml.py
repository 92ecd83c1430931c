"""E-mail files and mailboxes, by the standard library."""

from __future__ import annotations

import mailbox

from ingest.document import DocumentBuilder, ParsedDocument
from ingest.parsers.mail import Mail, add_mail
from ingest.parsers.mail_content import read_content
from ingest.parsers.mail_detection import MBOX
from ingest.parsers.mail_headers import MESSAGE_ID, people_headers
from ingest.parsers.mail_part import read_message
from ingest.parsers.source import SourceFile


def parse(source: SourceFile) -> ParsedDocument:
    """Headers, body and attachments of a message, or of each message of a mailbox.

    Raises:
        DocumentRejected: it has too many parts, or they are nested too deeply.
    """
    builder = DocumentBuilder()
    if source.media_type == MBOX:
        count = _add_mailbox(builder, source)
        return builder.build(source.media_type, messages=str(count))
    mail = _read_mail(source.path.read_bytes())
    add_mail(builder, mail, source)
    return builder.build(source.media_type, **mail.metadata)


def _add_mailbox(builder: DocumentBuilder, source: SourceFile) -> int:
    messages = mailbox.mbox(source.path, create=False)
    try:
        for key in messages.iterkeys():
            add_mail(builder, _read_mail(messages.get_bytes(key)), source)
        return len(messages)
    finally:
        messages.close()


def _read_mail(data: bytes) -> Mail:
    message = read_message(data)
    headers = people_headers(message, message.charset)
    message_id = " ".join(str(message.get(MESSAGE_ID, "")).split())
    content = read_content(message)
    return Mail(headers, message_id, content.bodies, content.attachments)
