"""Attachments of e-mails and PDFs. Each is read as a section of the document that it is attached to."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.archives import FILE_ERRORS
from ingest.parsers.source import SourceFile

#: Files are read up to this nesting depth; deeper ones are only named.
MAX_DEPTH = 3
MAX_ATTACHMENTS = 100


#: Replaces the text of an attachment that could not be read; the reason follows it.
NOT_READ = "This attachment was not read:"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file inside another file."""

    filename: str
    #: None if the file cannot be read.
    data: bytes | None
    #: Set if the enclosing file states the type reliably; otherwise the type is detected.
    media_type: str | None = None
    #: The parsed content, if the enclosing file does not hold the attachment as bytes of its own.
    document: ParsedDocument | None = None
    #: The reason for missing data.
    reason: str = "Its format cannot be read."


def add_attachments(
    builder: DocumentBuilder,
    attachments: Iterable[Attachment],
    source: SourceFile,
    *,
    level: int = 1,
    has_pages: bool = False,
) -> None:
    """Append each attachment as a section with its text, or with the reason why it could not be read.

    Args:
        builder: The document to append to.
        attachments: The attachments, in order.
        source: The file that they are attached to.
        level: The level of the headings with their names.
        has_pages: Whether the enclosing document has pages itself.
    """
    for number, attachment in enumerate(attachments):
        builder.add(ElementKind.HEADING, f"Attachment: {attachment.filename}", level=level)
        try:
            _check_limits(number, source)
            builder.add_document(_parse_attachment(attachment, source), level=level + 1, has_pages=has_pages)
        except DocumentRejected as rejection:
            # The rest is still useful, and a search for the attachment finds the reason.
            builder.add(ElementKind.PARAGRAPH, f"{NOT_READ} {rejection.message}")
        except FILE_ERRORS as error:
            log.warning("%s in %s cannot be read", attachment.filename, source.filename, exc_info=True)
            builder.add(ElementKind.PARAGRAPH, f"{NOT_READ} It is broken: {type(error).__name__}.")


def _check_limits(number: int, source: SourceFile) -> None:
    if number >= MAX_ATTACHMENTS:
        raise DocumentRejected(f"There are more than {MAX_ATTACHMENTS} attachments.")
    if source.depth >= MAX_DEPTH:
        raise DocumentRejected(f"It is nested in {source.depth + 1} files; {MAX_DEPTH} are allowed.")


def _parse_attachment(attachment: Attachment, source: SourceFile) -> ParsedDocument:
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
