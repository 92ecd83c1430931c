"""How runs of a Word file look: hidden runs lose their text, struck-out and raised ones get marks."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from ingest.parsers.office.open_xml import Element, Package
from ingest.parsers.raised import lowered, raised

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_RUN, _PARAGRAPH, _TEXT, _PROPERTIES = f"{W}r", f"{W}p", f"{W}t", f"{W}rPr"
_STYLE = f"{W}style"
_LOOK_TAGS = tuple(f"{W}{name}" for name in ("vanish", "strike", "dstrike", "vertAlign"))
_MARKS = re.compile(rb"<(?:\w+:)?(?:vanish|d?strike|vertAlign)[\s/>]")
_LOOKS = re.compile(_MARKS.pattern + rb"|<(?:\w+:)?color [^>]*val=[\"'](?i:ffffff)")
_OFF = frozenset(("0", "false", "off", "none"))
_SHIFTS = {"superscript": 1, "subscript": -1}
#: The children of a run that are not content: properties, and the marks of fields and pages.
_KEPT = frozenset(f"{W}{name}" for name in ("rPr", "fldChar", "instrText", "lastRenderedPageBreak"))
_WHITE = "FFFFFF"
#: Around white text, these may be dark.
_BACKGROUNDS = (f"{W}tc", f"{W}txbxContent")


@dataclass(frozen=True, slots=True)
class _Look:
    is_hidden: bool = False
    is_struck: bool = False
    #: 1 is raised, -1 is lowered.
    shift: int = 0


_PLAIN = _Look()


class RunLooks:
    """The looks that the styles of a file give, and how to apply them to its parts."""

    def __init__(self, package: Package, main: str) -> None:
        self._package = package
        self._parts = [name for name in package.related(main, "styles") if name in package]
        self._styles: dict[str, _Look] = {}
        for name in self._parts:
            if _MARKS.search(package.read(name)):
                self._styles |= _styles(package.tree(name))
        names = "|".join(map(re.escape, self._styles))
        self._uses = re.compile(rf"Style [^>]*val=[\"'](?:{names})[\"']".encode()) if names else None

    @cached_property
    def _shaded(self) -> set[str]:
        return {style for name in self._parts for style in _shaded(self._package.tree(name))}

    def matter_in(self, data: bytes) -> bool:
        """Return whether a part has runs that look otherwise than plain text."""
        return bool(_LOOKS.search(data) or (self._uses and self._uses.search(data)))

    def apply(self, root: Element) -> None:
        """Remove hidden text from a part, and write the marks of struck-out and raised text as text."""
        has_paper = _is_on_white(root)
        for paragraph in root.iter(_PARAGRAPH):
            runs = [run for run in paragraph.iter(_RUN) if next(run.iterancestors(_PARAGRAPH)) is paragraph]
            style = paragraph.find(f"{W}pPr/{W}pStyle")
            below = self._styles.get(style.get(f"{W}val", ""), _PLAIN) if style is not None else _PLAIN
            looks = [(run, self._look_of(run, below, has_paper)) for run in runs]
            if all(look == _PLAIN for _, look in looks):
                continue
            for run, look in looks:
                if look.is_hidden:
                    _empty(run)
            _shift([(run, look) for run, look in looks if not look.is_hidden])
            for is_struck, group in groupby(looks, lambda pair: pair[1].is_struck):
                if is_struck:
                    _strike([run for run, _ in group])

    def _look_of(self, run: Element, below: _Look, has_paper: bool) -> _Look:
        properties = run.find(_PROPERTIES)
        if properties is None:
            return below
        style = properties.find(f"{W}rStyle")
        look = self._styles.get(style.get(f"{W}val", ""), below) if style is not None else below
        look = _with_properties(look, properties)
        if has_paper and not look.is_hidden and _is_white(properties) and not self._has_background(run, properties):
            return replace(look, is_hidden=True)
        return look

    def _has_background(self, run: Element, properties: Element) -> bool:
        if properties.find(f"{W}shd") is not None or properties.find(f"{W}highlight") is not None:
            return True
        paragraph = next(run.iterancestors(_PARAGRAPH))
        if paragraph.find(f"{W}pPr/{W}shd") is not None or next(run.iterancestors(*_BACKGROUNDS), None) is not None:
            return True
        style = paragraph.find(f"{W}pPr/{W}pStyle")
        return style is not None and style.get(f"{W}val") in self._shaded


def _styles(root: Element) -> dict[str, _Look]:
    """Return the looks of the styles that have one, with what they inherit."""
    # Looks of single parts of tables, which are deeper in a style, are not those of its text.
    if not any(mark.getparent().getparent().tag == _STYLE for mark in root.iter(*_LOOK_TAGS)):
        return {}
    elements = {style.get(f"{W}styleId") or "": style for style in root.iter(_STYLE)}
    found: dict[str, _Look] = {}
    for name in elements:
        look = _PLAIN
        for style in reversed(_chain(elements, name)):
            properties = style.find(_PROPERTIES)
            look = _with_properties(look, properties) if properties is not None else look
        if look != _PLAIN:
            found[name] = look
    return found


def _chain(elements: dict[str, Element], name: str) -> list[Element]:
    """Return a style and those that it is based on."""
    chain: list[Element] = []
    base: str | None = name
    while base in elements and len(chain) < 12:
        chain.append(elements[base])
        link = elements[base].find(f"{W}basedOn")
        base = link.get(f"{W}val") if link is not None else None
    return chain


def _with_properties(look: _Look, properties: Element) -> _Look:
    hidden = _toggle(properties, "vanish", look.is_hidden)
    struck = _toggle(properties, "strike", look.is_struck) or _toggle(properties, "dstrike", False)
    align = properties.find(f"{W}vertAlign")
    shift = look.shift if align is None else _SHIFTS.get(align.get(f"{W}val", ""), 0)
    return _Look(hidden, struck, shift)


def _toggle(properties: Element, name: str, inherited: bool) -> bool:
    mark = properties.find(f"{W}{name}")
    return inherited if mark is None else mark.get(f"{W}val", "1").lower() not in _OFF


def _is_on_white(root: Element) -> bool:
    """Return whether nothing in the part can be behind its text: no background, and no drawing behind text."""
    if root.find(f"{W}background") is not None:
        return False
    anchors = root.iter("{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}anchor", f"{W}pict")
    return next(anchors, None) is None


def _shaded(root: Element) -> set[str]:
    """Return the styles of paragraphs with a background, also with that of a style below."""
    elements = {style.get(f"{W}styleId") or "": style for style in root.iter(_STYLE)}
    chains = {name: _chain(elements, name) for name in elements}
    return {name for name, chain in chains.items() if any(next(one.iter(f"{W}shd"), None) is not None for one in chain)}


def _is_white(properties: Element) -> bool:
    colour = properties.find(f"{W}color")
    return colour is not None and (colour.get(f"{W}val") or "").upper() == _WHITE and not colour.get(f"{W}themeColor")


def _empty(run: Element) -> None:
    for child in list(run):
        if child.tag not in _KEPT:
            run.remove(child)


def _texts(runs: list[Element]) -> list[Element]:
    return [text for run in runs for text in run.iterfind(_TEXT)]


def _shift(looks: list[tuple[Element, _Look]]) -> None:
    """Write raised and lowered runs so that they stay apart from the text before them."""
    before = ""
    for shift, group in groupby(looks, lambda pair: pair[1].shift):
        texts = _texts([run for run, _ in group])
        words = "".join(text.text or "" for text in texts)
        if shift and words.strip():
            words = (raised if shift > 0 else lowered)(words, before)
            texts[0].text = words
            for text in texts[1:]:
                text.text = ""
        before = words or before


def _strike(runs: list[Element]) -> None:
    texts = [text for text in _texts(runs) if (text.text or "").strip()]
    if not texts:
        return
    first, last = texts[0].text, texts[-1]
    texts[0].text = first[: len(first) - len(first.lstrip())] + "~~" + first.lstrip()
    end = last.text.rstrip()
    last.text = f"{end}~~{last.text[len(end) :]}"
