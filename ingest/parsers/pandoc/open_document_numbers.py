"""Writes the automatic numbers of headings and lists of an OpenDocument file into their text."""

from __future__ import annotations

from lxml import etree

from ingest.parsers.ordinals import ordinal
from ingest.parsers.pandoc.open_document_names import OFFICE, STYLE, TEXT, XML, H, P

_LIST, _ITEM, _HEADER = f"{{{TEXT}}}list", f"{{{TEXT}}}list-item", f"{{{TEXT}}}list-header"
_CHANGES = f"{{{TEXT}}}tracked-changes"
_LEVEL = f"{{{TEXT}}}outline-level"
_BULLETS = "bullets-in-place-of-numbers"
_KINDS = {"a": "alpha", "A": "alphaUc", "i": "roman", "I": "romanUc"}
#: Numbers begin anew below a heading or item of a higher level; deeper ones than this share a level.
_MAX_LEVEL = 10


class _Numbering:
    """The numbers of one list, or of all headings."""

    def __init__(self, levels: dict[int, etree._Element]) -> None:
        self._levels = levels
        self._counts: dict[int, int] = {}

    def next(self, level: int, start: str | None) -> str:
        """Return the label of the next item of a level, or an empty string if the level has no numbers."""
        style = self._levels.get(level)
        self._counts = {depth: count for depth, count in self._counts.items() if depth <= level}
        first = start or (style.get(f"{{{TEXT}}}start-value") if style is not None else None) or "1"
        before = self._counts.get(level) if start is None else None
        self._counts[level] = before + 1 if before is not None else int(first) if first.isdecimal() else 1
        if style is None or not style.get(f"{{{STYLE}}}num-format"):
            return ""
        shown = style.get(f"{{{TEXT}}}display-levels") or "1"
        depths = range(max(level - (int(shown) if shown.isdecimal() else 1) + 1, 1), level + 1)
        number = ".".join(self._written(depth) for depth in depths if depth in self._counts)
        return f"{style.get(f'{{{STYLE}}}num-prefix') or ''}{number}{style.get(f'{{{STYLE}}}num-suffix') or ''}"

    def _written(self, level: int) -> str:
        style = self._levels.get(level)
        kind = style.get(f"{{{STYLE}}}num-format") if style is not None else None
        return ordinal(self._counts[level], _KINDS.get(kind or "", ""))


def write_numbers(text: etree._Element, content: etree._Element, styles: etree._Element) -> bool:
    """Put the numbers of headings and list items before their text, and return whether there are any.

    Lists that get their numbers here get bullets instead, so that pandoc does not number them again.
    """
    named = {_name(style): style for root in (styles, content) for style in root.iter(f"{{{TEXT}}}list-style")}
    outline = next(styles.iter(f"{{{TEXT}}}outline-style"), None)
    headings = _Numbering(_levels(outline)) if outline is not None else _Numbering({})
    is_changed = False
    for heading in text.iter(H):
        is_numbered = heading.get(f"{{{TEXT}}}is-list-header") != "true"
        if is_numbered and next(heading.iterancestors(_LIST, _CHANGES), None) is None:
            label = headings.next(_number(heading.get(_LEVEL), 1), heading.get(f"{{{TEXT}}}start-value"))
            is_changed |= _prefix(heading, label)
    last: dict[str, _Numbering] = {}
    for top in [each for each in text.iter(_LIST) if next(each.iterancestors(_LIST, _CHANGES), None) is None]:
        name = top.get(f"{{{TEXT}}}style-name") or ""
        continues = top.get(f"{{{TEXT}}}continue-numbering") == "true" or top.get(f"{{{TEXT}}}continue-list")
        levels = _levels(named[name]) if name in named else {}
        if any(level.get(f"{{{STYLE}}}num-format") for level in levels.values()):
            if not continues or name not in last:
                last[name] = _Numbering(levels)
            _write_items(top, 1, last[name])
        elif name in named:
            continue
        # pandoc numbers lists without a style.
        top.set(f"{{{TEXT}}}style-name", _BULLETS)
        is_changed = True
    if is_changed:
        _add_bullets(content)
    return is_changed


def _add_bullets(content: etree._Element) -> None:
    """Add a style of lists with bullets."""
    holder = content.find(f"{{{OFFICE}}}automatic-styles")
    if holder is None:
        holder = etree.Element(f"{{{OFFICE}}}automatic-styles")
        content.insert(0, holder)
    style = etree.SubElement(holder, f"{{{TEXT}}}list-style", {f"{{{STYLE}}}name": _BULLETS})
    for level in range(1, _MAX_LEVEL + 1):
        mark = {f"{{{TEXT}}}level": str(level), f"{{{TEXT}}}bullet-char": "\u2022"}
        etree.SubElement(style, f"{{{TEXT}}}list-level-style-bullet", mark)


def _write_items(items: etree._Element, level: int, numbering: _Numbering) -> None:
    for item in items:
        if item.tag not in (_ITEM, _HEADER):
            continue
        content = [child for child in item if child.tag in (P, H, _LIST)]
        if item.tag == _ITEM and content and content[0].tag != _LIST:
            label = numbering.next(min(level, _MAX_LEVEL), item.get(f"{{{TEXT}}}start-value"))
            _prefix(content[0], label)
        for inner in content:
            if inner.tag == _LIST:
                _write_items(inner, level + 1, numbering)
    for name in ("style-name", "continue-numbering", "continue-list"):
        items.attrib.pop(f"{{{TEXT}}}{name}", None)


def _prefix(paragraph: etree._Element, label: str) -> bool:
    # An item without text, such as one that only holds a picture, shows no number that says anything.
    if not label or not "".join(paragraph.itertext()).strip():
        return False
    paragraph.text = f"{label} {paragraph.text or ''}"
    return True


def _levels(style: etree._Element) -> dict[int, etree._Element]:
    return {_number(each.get(f"{{{TEXT}}}level"), 1): each for each in style if isinstance(each.tag, str)}


def _number(value: str | None, default: int) -> int:
    return int(value) if value and value.isdecimal() else default


def _name(style: etree._Element) -> str:
    return style.get(f"{{{STYLE}}}name") or style.get(f"{{{XML}}}id") or ""
