"""The annotations of a PDF: form values, comments and attached files."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pypdfium2
from pypdfium2 import raw

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.attachments import MAX_ATTACHMENTS, Attachment
from ingest.parsers.lines import normalise_spaces

#: Annotations without text of their own: it belongs to another annotation, or is the target of a link.
_WITHOUT_TEXT = frozenset((raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_WIDGET))
_SWITCHES = frozenset((raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON))
_CHOICES = frozenset((raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX))
_MAX_ANNOTATIONS = 10_000
_MAX_STRING_BYTES = 2**20

#: A PDFium call that fills a buffer of the given size in bytes with UTF-16, and returns the string's size in bytes.
FillBuffer = Callable[[Any, int], int]


@dataclass(slots=True)
class PageAnnotations:
    """The annotations of a page."""

    #: The names and values of the form fields that are filled in.
    fields: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)

    def add_to(self, builder: DocumentBuilder, page: int) -> None:
        """Append the fields as lines `name: value`, and the comments as paragraphs."""
        lines = dict.fromkeys(f"{name}: {value}" if name else value for name, value in self.fields)
        builder.add(ElementKind.TABLE, "\n".join(lines), page=page)
        for comment in self.comments:
            builder.add(ElementKind.PARAGRAPH, comment, page=page)


def read_annotations(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, text: str) -> PageAnnotations:
    """Return the annotations of a page, without comments that only repeat a part of the page's `text`.

    `document.init_forms()` must have been called before the page was opened.
    """
    found = PageAnnotations()
    known = normalise_spaces(text)
    for annotation in _annotations(page):
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET and document.formenv is not None:
            found.fields += _filled_field(document.formenv, annotation)
        if kind == raw.FPDF_ANNOT_FILEATTACHMENT and len(found.files) < MAX_ATTACHMENTS:
            found.files += _file(annotation)
        contents = "" if kind in _WITHOUT_TEXT else _string(annotation, b"Contents")
        if contents.strip() and normalise_spaces(contents) not in known:
            found.comments.append(contents if kind == raw.FPDF_ANNOT_FREETEXT else _comment(annotation, contents))
    return found


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


def _filled_field(form: Any, annotation: Any) -> list[tuple[str, str]]:
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    # The label next to a field is not linked to it in the file; the alternate name is what screen readers say.
    name = _text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldAlternateName(form, annotation, buffer, size))
    name = name or _text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldName(form, annotation, buffer, size))
    if kind in _SWITCHES:
        value = ""
        if raw.FPDFAnnot_IsChecked(form, annotation):
            value = _text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldExportValue(form, annotation, buffer, size))
    elif kind in _CHOICES:
        value = ", ".join(_selected_options(form, annotation)) or _value(form, annotation)
    else:
        value = _value(form, annotation)
    return [(name.strip(), value.strip())] if value.strip() else []


def _value(form: Any, annotation: Any) -> str:
    return _text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, size))


def _selected_options(form: Any, annotation: Any) -> Iterator[str]:
    for index in range(min(max(raw.FPDFAnnot_GetOptionCount(form, annotation), 0), _MAX_ANNOTATIONS)):
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, index):
            yield _option(form, annotation, index)


def _option(form: Any, annotation: Any, index: int) -> str:
    return _text(lambda buffer, size: raw.FPDFAnnot_GetOptionLabel(form, annotation, index, buffer, size))


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
    return _text(lambda buffer, size: raw.FPDFAnnot_GetStringValue(annotation, key, buffer, size))


def _text(fill: FillBuffer) -> str:
    """Return a string that PDFium writes as zero-terminated UTF-16."""
    size = min(fill(None, 0), _MAX_STRING_BYTES)
    if size <= 2:  # noqa: PLR2004 (only the terminating zero)
        return ""
    buffer = ctypes.create_string_buffer(size)
    fill(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[:size].decode("utf-16-le", errors="replace").rstrip("\0")
