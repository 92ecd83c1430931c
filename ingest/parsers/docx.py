"""Word documents, through unstructured."""

from __future__ import annotations

from docx.exceptions import PythonDocxError
from docx.opc.exceptions import OpcError

from ingest.document import DocumentBuilder, ParsedDocument
from ingest.parsers.open_xml import Package, read_package
from ingest.parsers.source import SourceFile
from ingest.parsers.unstructured_elements import add_elements, partitioner
from ingest.parsers.word_xml import write_out

partition_docx = partitioner("docx")


def parse(source: SourceFile) -> ParsedDocument:
    """Headings with their levels, paragraphs, lists and tables; pages where the file says so.

    Raises:
        DocumentRejected: the file is broken.
    """

    def read(package: Package) -> ParsedDocument:
        write_out(package)
        builder = DocumentBuilder()
        with package.file() as file:
            add_elements(builder, partition_docx(file=file, languages=[""]))
        return builder.build(source.media_type)

    return read_package(source.path, read, called="Word document", errors=(OpcError, PythonDocxError))
