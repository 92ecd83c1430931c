"""What e-mail formats have in common: headers, a body and attachments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ingest.document import DocumentBuilder, ElementKind
from ingest.parsers.attachments import Attachment, add_attachments
from ingest.parsers.html import add_html
from ingest.parsers.source import SourceFile
from ingest.parsers.text import add_paragraphs

#: In this order they stand above the body.
HEADERS = ("From", "To", "Cc", "Date", "Subject")
_NO_SUBJECT = "(no subject)"


@dataclass(frozen=True, slots=True)
class Mail:
    """An e-mail as people see it."""

    headers: Mapping[str, str]
    body: str
    is_html: bool
    attachments: list[Attachment]

    @property
    def metadata(self) -> dict[str, str]:
        """Its headers by their names in lower case."""
        return {name.lower(): value for name, value in self.headers.items() if value}


def add_mail(builder: DocumentBuilder, mail: Mail, source: SourceFile) -> None:
    """Appends an e-mail: its subject as a heading, headers, body, and the text of each attachment as a section."""
    builder.add(ElementKind.HEADING, mail.headers.get("Subject") or _NO_SUBJECT)
    lines = [f"{name}: {mail.headers[name]}" for name in HEADERS if mail.headers.get(name)]
    builder.add(ElementKind.TABLE, "\n".join(lines))
    if mail.is_html:
        body = DocumentBuilder()
        add_html(body, mail.body)
        builder.add_document(body.build(source.media_type), level=1)
    else:
        add_paragraphs(builder, mail.body)
    add_attachments(builder, mail.attachments, source)
