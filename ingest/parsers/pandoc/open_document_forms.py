"""The text that the form controls of an OpenDocument file show."""

from __future__ import annotations

from lxml import etree

from ingest.parsers.pandoc.open_document_names import FIELD, FORM

_TICKED, _EMPTY = "☒", "☐"
_HIDDEN = frozenset(("password", "hidden"))


def control_text(control: etree._Element | None) -> str:
    """Return the label and the value of a form control."""
    if control is None:
        return ""
    kind = etree.QName(control).localname
    if kind in _HIDDEN:
        return ""
    label = control.get(f"{{{FORM}}}label") or ""
    if kind == "checkbox":
        return f"{_tick(_current(control, 'state') == 'checked')} {label}".strip()
    if kind == "radio":
        return f"{_tick(_current(control, 'selected') == 'true')} {label}".strip()
    if kind == "listbox":
        options = control.iterfind(f"{{{FORM}}}option")
        return ", ".join(each.get(f"{{{FORM}}}label") or "" for each in options if _current(each, "selected") == "true")
    value = _current(control, "value") or " ".join("".join(control.itertext()).split())
    return " ".join(filter(None, (label, value)))


def field_text(mark: etree._Element) -> str:
    """Return the text of a Word-style form field: a checkbox, or the selected entry of a drop-down list."""
    parameters = [(each.get(f"{{{FIELD}}}name") or "", each.get(f"{{{FIELD}}}value") or "") for each in mark]
    kind = mark.get(f"{{{FIELD}}}type") or ""
    if kind.endswith("FORMCHECKBOX"):
        return _tick(any(name == "Checkbox_Checked" and value == "true" for name, value in parameters))
    entries = [value for name, value in parameters if name == "Dropdown_ListEntry"]
    chosen = next((value for name, value in parameters if name == "Dropdown_Selected"), "0")
    return entries[int(chosen)] if chosen.isdecimal() and int(chosen) < len(entries) else ""


def _current(element: etree._Element, name: str) -> str | None:
    value: str | None = element.get(f"{{{FORM}}}current-{name}", element.get(f"{{{FORM}}}{name}"))
    return value


def _tick(is_ticked: bool) -> str:
    return _TICKED if is_ticked else _EMPTY
