"""Marks in the runs of a Word file that stand for text: font symbols, form fields, ruby and equations."""

from __future__ import annotations

from ingest.parsers.office.drawing_text import replace_element
from ingest.parsers.office.equations import EQUATION, EQUATIONS, equation_text
from ingest.parsers.office.open_xml import Element

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_SPACE = "{http://www.w3.org/XML/1998/namespace}space"
#: The private use area in which Word encodes the characters of symbol fonts.
_PRIVATE_START, _PRIVATE_END = 0xF000, 0xF0FF
#: The Greek letters of the font Symbol, by the Latin letters at whose codes they are.
_GREEK = dict(zip("ABCDEFGHIKLMNOPQRSTUWXYZ", "ΑΒΧΔΕΦΓΗΙΚΛΜΝΟΠΘΡΣΤΥΩΞΨΖ", strict=True)) | dict(
    zip("abcdefghijklmnopqrstuvwxyz", "αβχδεφγηιϕκλμνοπθρστυϖωξψζ", strict=True)
)
_SYMBOL = {
    0xA3: "≤", 0xA5: "∞", 0xAB: "↔", 0xAC: "←", 0xAD: "↑", 0xAE: "→", 0xAF: "↓", 0xB0: "°", 0xB1: "±", 0xB3: "≥",
    0xB4: "×", 0xB6: "∂", 0xB7: "•", 0xB8: "÷", 0xB9: "≠", 0xBA: "≡", 0xBB: "≈", 0xC5: "⊕", 0xC7: "∩", 0xC8: "∪",
    0xCE: "∈", 0xD1: "∇", 0xD5: "∏", 0xD6: "√", 0xD7: "⋅", 0xDB: "⇔", 0xDE: "⇒", 0xE5: "∑", 0xF2: "∫",
}  # fmt: skip
_WINGDINGS = {
    0x6C: "●", 0x6E: "■", 0x6F: "☐", 0x71: "☐", 0x76: "❖", 0xA7: "▪", 0xA8: "☐", 0xD8: "➢", 0xDF: "←", 0xE0: "→",
    0xE1: "↑", 0xE2: "↓", 0xE8: "➔", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑",
}  # fmt: skip


def text_element(text: str) -> Element:
    """Return a text element for a run."""
    from lxml import etree

    element = etree.Element(f"{W}t")
    element.text = text
    element.set(_SPACE, "preserve")
    return element


def run(text: str) -> Element:
    """Return a run with this text."""
    from lxml import etree

    element = etree.Element(f"{W}r")
    element.append(text_element(text))
    return element


def paragraph(text: str) -> Element:
    """Return a paragraph with this text, in the document's default style."""
    from lxml import etree

    element = etree.Element(f"{W}p")
    element.append(run(text))
    return element


def replace_marks(root: Element) -> None:
    """Replace symbols, form fields, ruby and equations by text, because python-docx reads only text elements."""
    for symbol in list(root.iter(f"{W}sym")):
        replace_element(symbol, [text_element(_symbol(symbol.get(f"{W}font") or "", symbol.get(f"{W}char") or ""))])
    for ruby in list(root.iter(f"{W}ruby")):
        base, reading = (_text(ruby.find(f"{W}{name}")) for name in ("rubyBase", "rt"))
        replace_element(ruby, [text_element(f"{base} ({reading})" if reading else base)])
    for field in list(root.iter(f"{W}ffData")):
        value = _field_value(field)
        # The value goes after the field's begin mark. Text fields have none here: their text is in later runs.
        if value and field.getparent() is not None:
            field.getparent().addnext(text_element(value))
    for equation in list(root.iter(EQUATIONS, EQUATION)):
        _replace_equation(equation)


def _replace_equation(equation: Element) -> None:
    parent = equation.getparent()
    if parent is None or parent.tag == EQUATIONS:
        return
    text = equation_text(equation)
    inline = parent.tag in (f"{W}p", f"{W}hyperlink")
    replace_element(equation, [run(text) if inline else paragraph(text)])


def _symbol(font: str, code: str) -> str:
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    if not _PRIVATE_START <= number <= _PRIVATE_END:
        return chr(number) if number < _PRIVATE_START else ""
    letter = number - _PRIVATE_START
    if font == "Symbol":
        return _SYMBOL.get(letter) or _GREEK.get(chr(letter)) or (chr(letter) if letter < 0x80 else "")
    return _WINGDINGS.get(letter, "") if font == "Wingdings" else ""


def _text(element: Element | None) -> str:
    return "" if element is None else "".join(text.text or "" for text in element.iter(f"{W}t"))


def _field_value(field: Element) -> str:
    """Return the selected entry of a drop-down field, or a box for a checkbox; text fields have no value here."""
    entries = field.findall(f"{W}ddList/{W}listEntry")
    if entries:
        chosen = _number(field, "ddList", "result", "default")
        return str(entries[chosen].get(f"{W}val") or "") if 0 <= chosen < len(entries) else ""
    if field.find(f"{W}checkBox") is not None:
        return "☒" if _number(field, "checkBox", "checked", "default") else "☐"
    return ""


def _number(field: Element, holder: str, *names: str) -> int:
    for name in names:
        found = field.find(f"{W}{holder}/{W}{name}")
        if found is not None:
            value = str(found.get(f"{W}val", "1")).lower()
            return {"true": 1, "on": 1, "false": 0, "off": 0}.get(value, int(value) if value.isdecimal() else 0)
    return 0
