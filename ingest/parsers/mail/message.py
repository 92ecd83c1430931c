"""An e-mail in any format: headers, bodies and attachments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.attachments import Attachment, add_attachments
from ingest.parsers.mail.body import Body, add_body
from ingest.parsers.mail.headers import HEADERS, MESSAGE_ID, Headers, first_value
from ingest.parsers.source import SourceFile

_NO_SUBJECT = "(no subject)"


@dataclass(frozen=True, slots=True)
class Mail:
    """A decoded e-mail."""

    headers: Headers
    message_id: str
    bodies: Sequence[Body]
    attachments: Sequence[Attachment]

    @property
    def metadata(self) -> dict[str, str]:
        """The usual headers and the message id, by their names in lower case."""
        found = {name.lower(): first_value(self.headers, name) for name in HEADERS}
        return {name: value for name, value in (*found.items(), (MESSAGE_ID.lower(), self.message_id)) if value}


def add_mail(builder: DocumentBuilder, mail: Mail, source: SourceFile) -> None:
    """Append an e-mail: its subject as a heading, its headers and bodies, and each attachment as a section."""
    builder.add(ElementKind.HEADING, first_value(mail.headers, "Subject") or _NO_SUBJECT)
    builder.add(ElementKind.TABLE, "\n".join(f"{name}: {value}" for name, value in mail.headers))
    for body in mail.bodies:
        add_body(builder, body, source)
    add_attachments(builder, mail.attachments, source)
