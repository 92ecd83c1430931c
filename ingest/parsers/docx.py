"""Word documents, through unstructured."""

from __future__ import annotations

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ParsedDocument
from ingest.parsers.source import SourceFile
from ingest.parsers.unstructured_elements import add_elements, partitioner

partition_docx = partitioner("docx")


def parse(source: SourceFile) -> ParsedDocument:
    """Headings with their levels, paragraphs, lists and tables; pages where the file says so.

    Raises:
        DocumentRejected: a part of the file is broken.
    """
    import zipfile
    import zlib

    from docx.opc.exceptions import OpcError

    builder = DocumentBuilder()
    try:
        with source.path.open("rb") as file:
            add_elements(builder, partition_docx(file=file, languages=[""]))
    # lxml's XMLSyntaxError is a SyntaxError.
    except (
        OpcError,
        AttributeError,
        SyntaxError,
        KeyError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
    ) as error:
        raise DocumentRejected(f"The Word document is broken: {error}".rstrip(".") + ".") from error
    return builder.build(source.media_type)
