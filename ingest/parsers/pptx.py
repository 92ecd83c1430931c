"""PowerPoint presentations: each slide a page and a section. Needs python-pptx."""

from __future__ import annotations

import zipfile
import zlib
from typing import Any

from core.errors import DocumentRejected
from ingest.document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers.source import SourceFile
from ingest.parsers.tables import markdown_table


def parse(source: SourceFile) -> ParsedDocument:
    """Titles, text, tables and notes of the slides, in their order.

    Raises:
        DocumentRejected: a part of the file is broken.
    """
    from pptx import Presentation
    from pptx.exc import PythonPptxError

    builder = DocumentBuilder()
    try:
        for number, slide in enumerate(Presentation(str(source.path)).slides, start=1):
            _add_slide(builder, slide, number)
    # lxml's XMLSyntaxError is a SyntaxError.
    except (
        PythonPptxError,
        AttributeError,
        SyntaxError,
        KeyError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DocumentRejected(f"The presentation is broken: {error}".rstrip(".") + ".") from error
    return builder.build(source.media_type)


def _add_slide(builder: DocumentBuilder, slide: Any, number: int) -> None:
    title = slide.shapes.title
    name = title.text_frame.text if title is not None else ""
    builder.add(ElementKind.HEADING, name or f"Slide {number}", page=number)
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            _add_shape(builder, shape, number)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        builder.add(ElementKind.PARAGRAPH, slide.notes_slide.notes_text_frame.text, page=number)


def _add_shape(builder: DocumentBuilder, shape: Any, number: int) -> None:
    if getattr(shape, "shapes", None) is not None:
        for inner in shape.shapes:
            _add_shape(builder, inner, number)
    elif shape.has_text_frame:
        for paragraph in shape.text_frame.paragraphs:
            builder.add(ElementKind.PARAGRAPH, paragraph.text, page=number)
    elif getattr(shape, "has_table", False):
        rows = [[cell.text for cell in row.cells] for row in shape.table.rows]
        builder.add(ElementKind.TABLE, markdown_table(rows), page=number)
