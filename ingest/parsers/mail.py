"""What e-mail formats have in common: headers, a body, and attachments, which are files of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ElementKind
from ingest.parsers.html import add_html
from ingest.parsers.source import SourceFile
from ingest.parsers.text import add_paragraphs

#: In this order they stand above the body.
HEADERS = ("From", "To", "Cc", "Date", "Subject")
#: An e-mail in an e-mail in an e-mail is read; what lies deeper is named.
MAX_DEPTH = 3
MAX_ATTACHMENTS = 100
_NO_SUBJECT = "(no subject)"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in an e-mail."""

    filename: str
    #: None for what its format keeps in a form that cannot be read.
    data: bytes | None


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
    for number, attachment in enumerate(mail.attachments):
        _add_attachment(builder, attachment, number, source)


def _add_attachment(builder: DocumentBuilder, attachment: Attachment, number: int, source: SourceFile) -> None:
    builder.add(ElementKind.HEADING, f"Attachment: {attachment.filename}", level=1)
    try:
        _check_place(number, source)
        if attachment.data is None:
            raise DocumentRejected("It is an Outlook item within the message. Save it as a file of its own.")
        with tempfile.NamedTemporaryFile(prefix="attachment-") as file:
            file.write(attachment.data)
            file.flush()
            _add_file(builder, replace(source, path=Path(file.name), filename=attachment.filename))
    except DocumentRejected as rejection:
        # The rest of the e-mail is worth having; who searches for the attachment finds why it is not there.
        builder.add(ElementKind.PARAGRAPH, f"This attachment was not read: {rejection.message}")


def _check_place(number: int, source: SourceFile) -> None:
    if number >= MAX_ATTACHMENTS:
        raise DocumentRejected(f"The e-mail has more than {MAX_ATTACHMENTS} attachments.")
    if source.depth >= MAX_DEPTH:
        raise DocumentRejected(f"It lies in {source.depth + 1} e-mails; {MAX_DEPTH} are allowed.")


def _add_file(builder: DocumentBuilder, source: SourceFile) -> None:
    from ingest.parsers import parse_unknown

    document = parse_unknown(source.path, source.filename, source.options, depth=source.depth + 1)
    builder.add_document(document, level=2)
