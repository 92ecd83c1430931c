"""The fields of a PDF form: their values with the labels that are printed beside them."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pypdfium2 import raw

from ingest.parsers.pdf.boxes import Box, Line

_CHOICES = frozenset((raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX))
_KINDS_WITHOUT_VALUE = frozenset((raw.FPDF_FORMFIELD_PUSHBUTTON, raw.FPDF_FORMFIELD_SIGNATURE))
_MAX_OPTIONS = 10_000
_MAX_STRING_BYTES = 2**20
#: The flag of fields whose values are not shown, and those of annotations that are not.
_PASSWORD = 1 << 13
_HIDDEN, _NO_VIEW = 1 << 1, 1 << 5
#: Labels are at most this far from their field, in points: on the same line to the left, beside a box, and above.
_MAX_LEFT, _MAX_BESIDE, _MAX_ABOVE = 320.0, 40.0, 14.0
_LEVEL_SHARE = 0.4

#: A PDFium call that fills a buffer of the given size in bytes with UTF-16, and returns the string's size in bytes.
FillBuffer = Callable[[Any, int], int]


class FieldKind(Enum):
    """What people do with a field."""

    TEXT = "text"
    CHECKBOX = "checkbox"
    RADIO = "radio"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form, at one place."""

    kind: FieldKind
    #: The rectangle, upright as the text of the page.
    box: Box
    name: str
    #: What programs say in place of the name; empty if there is nothing.
    description: str
    value: str
    is_checked: bool = False


def read_field(form: Any, annotation: Any, box: Box) -> Field | None:
    """Return the field of an annotation, or None if it has no value or people do not see it."""
    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in _KINDS_WITHOUT_VALUE or raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & _PASSWORD:
        return None
    if raw.FPDFAnnot_GetFlags(annotation) & (_HIDDEN | _NO_VIEW):
        return None
    name = text_of(lambda buffer, size: raw.FPDFAnnot_GetFormFieldName(form, annotation, buffer, size)).strip()
    description = text_of(
        lambda buffer, size: raw.FPDFAnnot_GetFormFieldAlternateName(form, annotation, buffer, size)
    ).strip()
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        is_checked = bool(raw.FPDFAnnot_IsChecked(form, annotation))
        value = text_of(lambda buffer, size: raw.FPDFAnnot_GetFormFieldExportValue(form, annotation, buffer, size))
        switch = FieldKind.CHECKBOX if kind == raw.FPDF_FORMFIELD_CHECKBOX else FieldKind.RADIO
        return Field(switch, box, name, description, value.strip(), is_checked)
    value = ", ".join(_selected_options(form, annotation)) if kind in _CHOICES else ""
    value = value or text_of(lambda buffer, size: raw.FPDFAnnot_GetFormFieldValue(form, annotation, buffer, size))
    return Field(FieldKind.TEXT, box, name, description, value.strip()) if value.strip() else None


def field_lines(fields: Sequence[Field], labels: Sequence[Line]) -> list[str]:
    """Return the fields as lines `label: value`, in their order. A box that is not ticked is a line `label: no`.

    Args:
        fields: The fields of a page.
        labels: The pieces of text that are printed on it.
    """
    groups: dict[str, list[Field]] = defaultdict(list)
    for each in fields:
        if each.kind is FieldKind.RADIO:
            groups[each.name].append(each)
    lines: list[str] = []
    for each in fields:
        if each.kind is FieldKind.RADIO:
            lines += _choice(each, groups[each.name], labels)
        elif each.kind is FieldKind.CHECKBOX:
            label = _nearest(_beside(each.box, labels)) or _nearest(_left(each.box, labels, fields))
            name = label or each.description or each.name
            lines.append(_line(name, "yes" if each.is_checked else "no", each.description))
        else:
            label = _nearest(_left(each.box, labels, fields)) or _nearest(_above(each.box, labels))
            lines.append(_line(label or each.description or each.name, each.value, each.description))
    return list(dict.fromkeys(lines))


def _line(label: str, value: str, description: str) -> str:
    label = label.strip().rstrip(":").rstrip(" ._\u2026").strip()
    known = f"{label} {value}".lower()
    extra = f" ({description})" if description and description.lower() not in known and label != description else ""
    return f"{label}: {value}{extra}" if label else f"{value}{extra}"


def _choice(field: Field, group: Sequence[Field], labels: Sequence[Line]) -> list[str]:
    """Return the line of a radio button that is chosen."""
    if not field.is_checked:
        return []
    own = {id(label) for each in group for label in _beside(each.box, labels).values()}
    choice = _nearest(_beside(field.box, labels)) or field.value
    first = min(group, key=lambda each: (each.box.top, each.box.left))
    others = [label for label in labels if id(label) not in own]
    name = _nearest(_left(first.box, others, ())) or _nearest(_above(first.box, others))
    return [_line(name or field.description or field.name, choice, "" if name else field.description)]


def _nearest(found: dict[float, Line]) -> str:
    return found[min(found)].text.strip() if found else ""


def _is_level(box: Box, label: Box) -> bool:
    common = min(box.bottom, label.bottom) - max(box.top, label.top)
    return common >= _LEVEL_SHARE * min(label.height, box.height)


def _beside(box: Box, labels: Iterable[Line]) -> dict[float, Line]:
    """Return the nearest label on each side of a small box that is near enough, by its distance; at most one."""
    near: dict[float, Line] = {}
    for label in labels:
        if _is_level(box, label):
            right, left = label.left - box.right, box.left - label.right
            if -2 <= right <= _MAX_BESIDE:
                near[max(right, 0.0)] = label
            elif -2 <= left <= _MAX_BESIDE:
                # A label to the right is the usual one.
                near[max(left, 0.0) + _MAX_BESIDE / 4] = label
    return {min(near): near[min(near)]} if near else {}


def _left(box: Box, labels: Iterable[Line], fields: Iterable[Field]) -> dict[float, Line]:
    """Return the labels to the left on the same line, by their distance, unless another field is between."""
    edges = [
        each.box.right
        for each in fields
        if _is_level(box, Line(*each.box.bounds(), "")) and each.box.right <= box.left + 2
    ]
    nearest_field = max(edges, default=float("-inf"))
    found = {box.left - label.right: label for label in labels if _is_level(box, label)}
    return {
        distance: label
        for distance, label in found.items()
        if -2 <= distance <= _MAX_LEFT and label.right > nearest_field - 2
    }


def _above(box: Box, labels: Iterable[Line]) -> dict[float, Line]:
    """Return the labels directly above, by their distance."""
    return {
        box.top - label.bottom: label
        for label in labels
        if -3 <= box.top - label.bottom <= _MAX_ABOVE and label.left < box.right and label.right > box.left
    }


def _selected_options(form: Any, annotation: Any) -> Iterator[str]:
    for index in range(min(max(raw.FPDFAnnot_GetOptionCount(form, annotation), 0), _MAX_OPTIONS)):
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, index):
            yield _option(form, annotation, index)


def _option(form: Any, annotation: Any, index: int) -> str:
    return text_of(lambda buffer, size: raw.FPDFAnnot_GetOptionLabel(form, annotation, index, buffer, size))


def text_of(fill: FillBuffer) -> str:
    """Return a string that PDFium writes as zero-terminated UTF-16."""
    size = min(fill(None, 0), _MAX_STRING_BYTES)
    if size <= 2:  # noqa: PLR2004 (only the terminating zero)
        return ""
    buffer = ctypes.create_string_buffer(size)
    fill(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[:size].decode("utf-16-le", errors="replace").rstrip("\0")
