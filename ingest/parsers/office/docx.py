"""Word documents, parsed with unstructured."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from docx.exceptions import PythonDocxError
from docx.opc.exceptions import OpcError

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument, title_property
from ingest.parsers.attachments import MAX_DEPTH
from ingest.parsers.office.open_xml import Package, read_package
from ingest.parsers.office.unstructured_elements import add_elements, load_partition_docx
from ingest.parsers.office.word_xml import expand_document
from ingest.parsers.pictures import Pictures
from ingest.parsers.source import SourceFile

partition_docx = load_partition_docx()


def parse(source: SourceFile) -> ParsedDocument:
    """Parse headings, paragraphs, lists and tables, with page numbers if the file records page breaks.

    Raises:
        DocumentRejected: If the file is broken.
    """

    def read(package: Package) -> ParsedDocument:
        pictures = Pictures(source.options)
        expand_document(package, lambda name: _paragraphs_of_part(package, name, source), pictures)
        builder = DocumentBuilder()
        with package.file() as file:
            add_elements(builder, partition_docx(file=file, languages=[""]))
        title = title_property(package.title, source.filename)
        return builder.build(source.media_type, **title, **pictures.properties)

    return read_package(source.path, read, file_kind="Word document", errors=(OpcError, PythonDocxError))


def _paragraphs_of_part(package: Package, name: str, source: SourceFile) -> list[str]:
    """Return the paragraphs of a file that is a part of the document, such as a web page, or why it was not read."""
    from ingest.parsers import parse_unknown

    if source.depth >= MAX_DEPTH:
        return [f"This part was not read: it is nested in {source.depth + 1} files; {MAX_DEPTH} are allowed."]
    with tempfile.NamedTemporaryFile(prefix="part-") as file:
        file.write(package.read(name))
        file.flush()
        try:
            document = parse_unknown(Path(file.name), PurePosixPath(name).name, source.options, depth=source.depth + 1)
        except DocumentRejected as rejection:
            return [f"This part was not read: {rejection.message}"]
    return [element.text for element in document.elements]
