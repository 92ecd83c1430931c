"""What e-mail formats have in common: headers, a body and attachments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.attachments import Attachment, add_attachments
from ingest.parsers.mail.body import Body, add_body
from ingest.parsers.mail.headers import HEADERS, MESSAGE_ID, Headers, first
from ingest.parsers.source import SourceFile

_NO_SUBJECT = "(no subject)"


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail as people see it."""

    headers: Headers
    message_id: str
    bodies: Sequence[Body]
    attachments: Sequence[Attachment]

    @property
    def metadata(self) -> dict[str, str]:
        """The usual headers, by their names in lower case."""
        found = {name.lower(): first(self.headers, name) for name in HEADERS}
        return {name: value for name, value in (*found.items(), (MESSAGE_ID.lower(), self.message_id)) if value}


def add_mail(builder: DocumentBuilder, mail: Mail, source: SourceFile) -> None:
    """Appends an e-mail: its subject as a heading, headers, body, and the text of each attachment as a section."""
    builder.add(ElementKind.HEADING, first(mail.headers, "Subject") or _NO_SUBJECT)
    builder.add(ElementKind.TABLE, "\n".join(f"{name}: {value}" for name, value in mail.headers))
    for body in mail.bodies:
        add_body(builder, body, source)
    add_attachments(builder, mail.attachments, source)
