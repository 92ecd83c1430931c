"""PowerPoint presentations, parsed with python-pptx. Each slide is a page and a section."""

from __future__ import annotations

from pptx import Presentation
from pptx.exc import PythonPptxError

from ingest.parsed_document import DocumentBuilder, ParsedDocument, title_property
from ingest.parsers.office.open_xml import Package, read_package
from ingest.parsers.office.slide_text import SlideText
from ingest.parsers.pictures import Pictures
from ingest.parsers.source import SourceFile


def parse(source: SourceFile) -> ParsedDocument:
    """Parse the titles, text, tables, drawings, notes and comments of the slides, in order.

    Raises:
        DocumentRejected: If the file is broken.
    """

    def read(package: Package) -> ParsedDocument:
        builder, pictures = DocumentBuilder(), Pictures(source.options)
        with package.file() as file:
            slides = SlideText(package, builder, pictures)
            for number, slide in enumerate(Presentation(file).slides, start=1):
                slides.add(slide, number)
        title = title_property(package.title, source.filename)
        return (builder if slides.has_text else DocumentBuilder()).build(
            source.media_type, **title, **slides.properties, **pictures.properties
        )

    return read_package(source.path, read, file_kind="presentation", errors=(PythonPptxError,))
