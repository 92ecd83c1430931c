"""The annotations of a PDF: form values, comments and attached files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pypdfium2
from pypdfium2 import raw

from ingest.parsed_document import ElementKind
from ingest.parsers.attachments import MAX_ATTACHMENTS, Attachment
from ingest.parsers.lines import normalise_spaces
from ingest.parsers.pdf.boxes import Box
from ingest.parsers.pdf.forms import Field, field_lines, read_field, text_of
from ingest.parsers.pdf.graphics import Area
from ingest.parsers.pdf.page_layout import PageText, area_boxes
from ingest.parsers.pdf.segments import upright

#: Annotations without text of their own: it belongs to another annotation, or is the target of a link.
_WITHOUT_TEXT = frozenset((raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_WIDGET))
_MAX_ANNOTATIONS = 10_000


@dataclass(slots=True)
class PageAnnotations:
    """The annotations of a page."""

    #: The fields of forms as lines `label: value`.
    fields: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)

    def elements(self) -> list[tuple[ElementKind, str]]:
        """Return the fields as a table, and the comments as paragraphs."""
        table = [(ElementKind.TABLE, "\n".join(self.fields))] if self.fields else []
        return table + [(ElementKind.PARAGRAPH, comment) for comment in self.comments]


def read_annotations(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, layout: PageText) -> PageAnnotations:
    """Return the annotations of a page, without comments that only repeat a part of its text.

    `document.init_forms()` must have been called before the page was opened.
    """
    found = PageAnnotations()
    if not raw.FPDFPage_GetAnnotCount(page):
        return found
    known = normalise_spaces(layout.text)
    fields: list[Field] = []
    for annotation in _annotations(page):
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET and document.formenv is not None:
            area = upright(area_boxes([_rectangle(annotation)]), layout.direction)
            filled = read_field(document.formenv, annotation, Box(*area[0].tolist()))
            fields += [filled] if filled is not None else []
        if kind == raw.FPDF_ANNOT_FILEATTACHMENT and len(found.files) < MAX_ATTACHMENTS:
            found.files += _file(annotation)
        contents = "" if kind in _WITHOUT_TEXT else _string(annotation, b"Contents")
        if contents.strip() and normalise_spaces(contents) not in known:
            found.comments.append(contents if kind == raw.FPDF_ANNOT_FREETEXT else _comment(annotation, contents))
    found.fields = field_lines(fields, layout.segments)
    return found


def struck_areas(page: pypdfium2.PdfPage) -> list[Area]:
    """Return the rectangles of the annotations that strike text out."""
    if not raw.FPDFPage_GetAnnotCount(page):
        return []
    areas: list[Area] = []
    points = raw.FS_QUADPOINTSF()
    for annotation in _annotations(page):
        if raw.FPDFAnnot_GetSubtype(annotation) != raw.FPDF_ANNOT_STRIKEOUT:
            continue
        for index in range(min(raw.FPDFAnnot_CountAttachmentPoints(annotation), _MAX_ANNOTATIONS)):
            if raw.FPDFAnnot_GetAttachmentPoints(annotation, index, points):
                across = (points.x1, points.x2, points.x3, points.x4)
                upwards = (points.y1, points.y2, points.y3, points.y4)
                areas.append(Area(min(across), min(upwards), max(across), max(upwards)))
    return areas


def _rectangle(annotation: Any) -> Area:
    found = raw.FS_RECTF()
    raw.FPDFAnnot_GetRect(annotation, found)
    across, upwards = sorted((found.left, found.right)), sorted((found.bottom, found.top))
    return Area(across[0], upwards[0], across[1], upwards[1])


def embedded_files(document: pypdfium2.PdfDocument) -> Iterator[Attachment]:
    """Yield the files embedded in the PDF as a whole, as in portfolios and electronic invoices."""
    for index in range(document.count_attachments()):
        try:
            yield _attachment(document.get_attachment(index), is_read=index < MAX_ATTACHMENTS)
        except pypdfium2.PdfiumError as error:
            yield Attachment(f"file-{index + 1}", None, reason=f"It is broken: {error}")


def _annotations(page: pypdfium2.PdfPage) -> Iterator[Any]:
    for index in range(min(raw.FPDFPage_GetAnnotCount(page), _MAX_ANNOTATIONS)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if annotation:
            try:
                yield annotation
            finally:
                raw.FPDFPage_CloseAnnot(annotation)


def _comment(annotation: Any, contents: str) -> str:
    author = _string(annotation, b"T").strip()
    return f"Comment by {author}: {contents}" if author else f"Comment: {contents}"


def _file(annotation: Any) -> list[Attachment]:
    found = raw.FPDFAnnot_GetFileAttachment(annotation)
    return [_attachment(pypdfium2.PdfAttachment(found, None))] if found else []


def _attachment(attachment: pypdfium2.PdfAttachment, *, is_read: bool = True) -> Attachment:
    name = attachment.get_name() or "attachment"
    if not is_read:
        return Attachment(name, None)
    try:
        return Attachment(name, bytes(attachment.get_data()))
    except pypdfium2.PdfiumError as error:
        return Attachment(name, None, reason=f"It is broken: {error}")


def _string(annotation: Any, key: bytes) -> str:
    return text_of(lambda buffer, size: raw.FPDFAnnot_GetStringValue(annotation, key, buffer, size))
