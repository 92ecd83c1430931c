"""Files within files: those of e-mails and PDFs. Each is read as a section of the document that it comes with."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.archives import BROKEN_FILE
from ingest.parsers.source import SourceFile

#: A file in a file in a file is read; what lies deeper is named.
MAX_DEPTH = 3
MAX_ATTACHMENTS = 100


#: Stands in the text instead of that of an attachment, with the reason.
NOT_READ = "This attachment was not read:"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a file."""

    filename: str
    #: None for what cannot be read.
    data: bytes | None
    #: What it is, where the file that it comes with knows it for sure.
    media_type: str | None = None
    #: What it says, where the file that it comes with has no bytes of it.
    document: ParsedDocument | None = None
    #: Why there are no data.
    reason: str = "It is kept in a form that cannot be read."


def add_attachments(
    builder: DocumentBuilder,
    attachments: Iterable[Attachment],
    source: SourceFile,
    *,
    level: int = 1,
    has_pages: bool = False,
) -> None:
    """Appends each attachment as a section with its text, or with the reason why it has none.

    Args:
        level: of the headings with their names.
        has_pages: what they come with has pages itself.
    """
    for number, attachment in enumerate(attachments):
        builder.add(ElementKind.HEADING, f"Attachment: {attachment.filename}", level=level)
        try:
            _check_place(number, source)
            builder.add_document(_document(attachment, source), level=level + 1, has_pages=has_pages)
        except DocumentRejected as rejection:
            # The rest is worth having; who searches for the attachment finds why it is not there.
            builder.add(ElementKind.PARAGRAPH, f"{NOT_READ} {rejection.message}")
        except BROKEN_FILE as error:
            log.warning("%s in %s cannot be read", attachment.filename, source.filename, exc_info=True)
            builder.add(ElementKind.PARAGRAPH, f"{NOT_READ} It is broken: {type(error).__name__}.")


def _check_place(number: int, source: SourceFile) -> None:
    if number >= MAX_ATTACHMENTS:
        raise DocumentRejected(f"There are more than {MAX_ATTACHMENTS} attachments.")
    if source.depth >= MAX_DEPTH:
        raise DocumentRejected(f"It lies in {source.depth + 1} files; {MAX_DEPTH} are allowed.")


def _document(attachment: Attachment, source: SourceFile) -> ParsedDocument:
    from ingest.parsers import parse_file, parse_unknown

    if attachment.document is not None:
        return attachment.document
    if attachment.data is None:
        raise DocumentRejected(attachment.reason)
    with tempfile.NamedTemporaryFile(prefix="attachment-") as file:
        file.write(attachment.data)
        file.flush()
        path, name, depth = Path(file.name), attachment.filename, source.depth + 1
        if attachment.media_type is None:
            return parse_unknown(path, name, source.options, depth=depth)
        return parse_file(SourceFile(path, name, attachment.media_type, source.options, depth))
