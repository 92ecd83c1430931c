"""What lies on the pages of a PDF beside their text: values of forms, comments, and files."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pypdfium2
from pypdfium2 import raw

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.attachments import MAX_ATTACHMENTS, Attachment
from ingest.parsers.lines import words

#: Their text is that of another annotation, or a place to go to.
_WITHOUT_TEXT = frozenset((raw.FPDF_ANNOT_POPUP, raw.FPDF_ANNOT_LINK, raw.FPDF_ANNOT_WIDGET))
_SWITCHES = frozenset((raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON))
_CHOICES = frozenset((raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX))
_MAX_ANNOTATIONS = 10_000
_LONGEST_BYTES = 2**20

#: Calls of PDFium that fill a buffer of so many bytes with UTF-16, and return how many there are.
Fill = Callable[[Any, int], int]


@dataclass(slots=True)
class PageNotes:
    """What was added to a page."""

    #: Names and values of the fields that are filled in.
    fields: list[tuple[str, str]] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    files: list[Attachment] = field(default_factory=list)

    def add_to(self, builder: DocumentBuilder, page: int) -> None:
        """Appends the fields as lines `name: value`, and the comments as paragraphs."""
        lines = dict.fromkeys(f"{name}: {value}" if name else value for name, value in self.fields)
        builder.add(ElementKind.TABLE, "\n".join(lines), page=page)
        for comment in self.comments:
            builder.add(ElementKind.PARAGRAPH, comment, page=page)


def read_notes(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, text: str) -> PageNotes:
    """What was added to a page. A comment that only repeats a part of the page's `text` is left out.

    `document.init_forms()` must have been called before the page was opened.
    """
    notes = PageNotes()
    known = words(text)
    for annotation in _annotations(page):
        kind = raw.FPDFAnnot_GetSubtype(annotation)
        if kind == raw.FPDF_ANNOT_WIDGET and document.formenv is not None:
            notes.fields += _filled(document.formenv, annotation)
        if kind == raw.FPDF_ANNOT_FILEATTACHMENT and len(notes.files) < MAX_ATTACHMENTS:
            notes.files += _file(annotation)
        said = "" if kind in _WITHOUT_TEXT else _string(annotation, b"Contents")
        if said.strip() and words(said) not in known:
            notes.comments.append(said if kind == raw.FPDF_ANNOT_FREETEXT else _comment(annotation, said))
    return notes


def embedded_files(document: pypdfium2.PdfDocument) -> Iterator[Attachment]:
    """The files that a PDF carries with it as a whole, as portfolios and electronic invoices do."""
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


def _comment(annotation: Any, said: str) -> str:
    author = _string(annotation, b"T").strip()
    return f"Comment by {author}: {said}" if author else f"Comment: {said}"


def _filled(form: Any, annotation: Any) -> list[tuple[str, str]]:
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    # What people read beside a field is not in the file; programs that read pages aloud say the alternate name.
    name = _text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldAlternateName(form, annotation, buffer, size))
    name = name or _text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldName(form, annotation, buffer, size))
    if kind in _SWITCHES:
        value = ""
        if raw.FPDFAnnot_IsChecked(form, annotation):
            value = _text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldExportValue(form, annotation, buffer, size))
    elif kind in _CHOICES:
        value = ", ".join(_chosen(form, annotation)) or _value(form, annotation)
    else:
        value = _value(form, annotation)
    return [(name.strip(), value.strip())] if value.strip() else []


def _value(form: Any, annotation: Any) -> str:
    return _text(lambda buffer, size: raw.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, size))


def _chosen(form: Any, annotation: Any) -> Iterator[str]:
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


def _text(fill: Fill) -> str:
    """A string that PDFium gives as UTF-16 with a zero at its end."""
    size = min(fill(None, 0), _LONGEST_BYTES)
    if size <= 2:  # noqa: PLR2004 (the zero alone)
        return ""
    buffer = ctypes.create_string_buffer(size)
    fill(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[:size].decode("utf-16-le", errors="replace").rstrip("\0")
