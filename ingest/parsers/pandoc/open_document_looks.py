"""Removes hidden text from an OpenDocument file, and marks paragraphs that their style strikes out.

pandoc marks struck-out, raised and lowered spans itself.
"""

from __future__ import annotations

from lxml import etree

from ingest.parsers.pandoc.open_document_names import CELL, DRAW, FO, PARAGRAPHS, SECTION, SPAN, STYLE, TEXT

_PROPERTIES = f"{{{STYLE}}}text-properties"
_STYLE_NAME = f"{{{TEXT}}}style-name"
_HIDDEN_TEXT, _HIDDEN_PARAGRAPH = f"{{{TEXT}}}hidden-text", f"{{{TEXT}}}hidden-paragraph"
_PAGE_PROPERTIES, _PARAGRAPH_PROPERTIES = (f"{{{STYLE}}}{name}-properties" for name in ("page-layout", "paragraph"))
_COLOUR, _BACKGROUND = f"{{{FO}}}color", f"{{{FO}}}background-color"
_NO_BACKGROUND = (None, "transparent", "#ffffff")
_MAX_PARENTS = 12

#: The styles of a file by their family and name.
_Styles = dict[tuple[str, str], etree._Element]


def apply_looks(text: etree._Element, content: etree._Element, styles: etree._Element) -> bool:
    """Remove text that nobody sees, mark struck-out paragraphs, and return whether anything was changed."""
    elements = {
        (style.get(f"{{{STYLE}}}family") or "", style.get(f"{{{STYLE}}}name") or ""): style
        for root in (styles, content)
        for style in root.iter(f"{{{STYLE}}}style")
    }
    hidden = {key for key in elements if _property(elements, key, f"{{{TEXT}}}display") == "none"}
    white = _white(elements) if _is_on_paper(text, styles) else set()
    struck = {key for key in elements if key[0] == "paragraph" and _is_struck(elements, key)}
    is_changed = False
    for element in list(text.iter(SPAN, SECTION, _HIDDEN_TEXT, _HIDDEN_PARAGRAPH, *PARAGRAPHS)):
        key = ("text" if element.tag == SPAN else "paragraph", element.get(_STYLE_NAME) or "")
        target = element
        if element.tag == _HIDDEN_PARAGRAPH:
            target = next(element.iterancestors(*PARAGRAPHS), element)
        if key in hidden or _is_hidden(element) or (key in white and _is_unseen(element, elements, white)):
            _empty(target)
            is_changed = True
        elif key in struck and element.tag in PARAGRAPHS and "".join(element.itertext()).strip():
            _strike(element)
            is_changed = True
    return is_changed


def _is_hidden(element: etree._Element) -> bool:
    if element.tag == SECTION:
        return bool(element.get(f"{{{TEXT}}}display") == "none")
    return element.tag in (_HIDDEN_TEXT, _HIDDEN_PARAGRAPH) and element.get(f"{{{TEXT}}}is-hidden") != "false"


def _is_on_paper(text: etree._Element, styles: etree._Element) -> bool:
    """Return whether nothing can be behind the text: no drawing, and no page with a background."""
    pages = (page.get(_BACKGROUND, "transparent") for page in styles.iter(_PAGE_PROPERTIES))
    return next(text.iter(f"{{{DRAW}}}*"), None) is None and set(pages) <= {"transparent", "#ffffff"}


def _white(elements: _Styles) -> set[tuple[str, str]]:
    """Return the styles with white letters on no background of their own."""
    return {
        key
        for key in elements
        if _property(elements, key, _COLOUR) == "#ffffff" and _property(elements, key, _BACKGROUND) in _NO_BACKGROUND
    }


def _is_unseen(element: etree._Element, elements: _Styles, white: set[tuple[str, str]]) -> bool:
    """Return whether an element with a white style is not in a cell or a paragraph that may be dark."""
    paragraph = element if element.tag in PARAGRAPHS else next(element.iterancestors(*PARAGRAPHS), element)
    key = ("paragraph", paragraph.get(_STYLE_NAME) or "")
    if _property(elements, key, _BACKGROUND, _PARAGRAPH_PROPERTIES) not in _NO_BACKGROUND:
        return False
    if next(element.iterancestors(CELL), None) is not None:
        return False
    inner = {("text", span.get(_STYLE_NAME) or "") for span in element.iter(SPAN)}
    return all(_property(elements, name, _COLOUR) is None for name in inner - white)


def _is_struck(elements: _Styles, key: tuple[str, str]) -> bool:
    kinds = (_property(elements, key, f"{{{STYLE}}}text-line-through-{name}") for name in ("style", "type"))
    return any(kind not in (None, "none") for kind in kinds)


def _property(elements: _Styles, key: tuple[str, str], name: str, kind: str = _PROPERTIES) -> str | None:
    """Return a property of a style, its own or that of the nearest parent that has it."""
    for _ in range(_MAX_PARENTS):
        style = elements.get(key)
        if style is None:
            return None
        properties = style.find(kind)
        value = properties.get(name) if properties is not None else None
        if value is not None:
            return str(value)
        key = (key[0], style.get(f"{{{STYLE}}}parent-style-name") or "")
    return None


def _empty(element: etree._Element) -> None:
    tail = element.tail
    for child in list(element):
        element.remove(child)
    element.text, element.tail = None, tail


def _strike(paragraph: etree._Element) -> None:
    paragraph.text = f"~~{paragraph.text or ''}"
    if len(paragraph):
        paragraph[-1].tail = f"{paragraph[-1].tail or ''}~~"
    else:
        paragraph.text += "~~"
