"""Word documents, through unstructured."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from docx.exceptions import PythonDocxError
from docx.opc.exceptions import OpcError

from core.errors import DocumentRejected
from ingest.parsed_document import DocumentBuilder, ParsedDocument
from ingest.parsers.attachments import MAX_DEPTH
from ingest.parsers.office.open_xml import Package, read_package
from ingest.parsers.office.unstructured_elements import add_elements, load_partition_docx
from ingest.parsers.office.word_xml import write_out
from ingest.parsers.source import SourceFile

partition_docx = load_partition_docx()


def parse(source: SourceFile) -> ParsedDocument:
    """Headings with their levels, paragraphs, lists and tables; pages where the file says so.

    Raises:
        DocumentRejected: the file is broken.
    """

    def read(package: Package) -> ParsedDocument:
        write_out(package, lambda name: _lines(package, name, source))
        builder = DocumentBuilder()
        with package.file() as file:
            add_elements(builder, partition_docx(file=file, languages=[""]))
        return builder.build(source.media_type)

    return read_package(source.path, read, called="Word document", errors=(OpcError, PythonDocxError))


def _lines(package: Package, name: str, source: SourceFile) -> list[str]:
    """The text of a web page or another file that is a part of the document, or why there is none."""
    from ingest.parsers import parse_unknown

    if source.depth >= MAX_DEPTH:
        return [f"This part was not read: it lies in {source.depth + 1} files; {MAX_DEPTH} are allowed."]
    with tempfile.NamedTemporaryFile(prefix="part-") as file:
        file.write(package.read(name))
        file.flush()
        try:
            document = parse_unknown(Path(file.name), PurePosixPath(name).name, source.options, depth=source.depth + 1)
        except DocumentRejected as rejection:
            return [f"This part was not read: {rejection.message}"]
    return [element.text for element in document.elements]
