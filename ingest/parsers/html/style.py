"""What the style of an element means for its text: not shown, struck out, raised, or in the colour of the page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

Colour = tuple[int, int, int]
#: A colour that cannot be told, such as that of a picture.
UNKNOWN: Colour = (-1, -1, -1)
TRANSPARENT: Colour = (-2, -2, -2)
WHITE: Colour = (255, 255, 255)
#: Colours that differ less in each component cannot be told apart.
_LEAST_CONTRAST = 8
_NAMED_COLOURS = {
    "white": WHITE, "black": (0, 0, 0), "red": (255, 0, 0), "yellow": (255, 255, 0), "blue": (0, 0, 255),
    "green": (0, 128, 0), "gray": (128, 128, 128), "grey": (128, 128, 128), "snow": (255, 250, 250),
    "whitesmoke": (245, 245, 245), "transparent": TRANSPARENT, "inherit": None, "currentcolor": None,
}  # fmt: skip
_HEX = re.compile(r"#([0-9a-f]{3}|[0-9a-f]{6})\b")
_RGB = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:[\s,/]+([\d.]+%?))?\s*\)")
_ZERO = re.compile(r"[-+]?0*\.?0*(?:[a-z]{1,4}|%)?")
_SMALL = re.compile(r"(?:0*\.\d+|[01](?:\.0+)?)p[xt]")
_FAR = re.compile(r"-\d{3,}(?:\.\d+)?(?:px|pt|em|rem|%|vw|vh)?")
_CLIPPED = re.compile(
    r"rect\((?:\s*[01](?:px|em)?[\s,]*){4}\)|inset\(\s*(?:50|100)%|polygon\(\s*0(?:px|%)?\s+0(?:px|%)?\s*\)"
)
_SHEET = re.compile(r"<style\b[^<>]*+>([^<]*+(?:<(?!/style)[^<]*+)*+)", re.I)
_SCRIPT = re.compile(
    r"<script\b(?![^<>]{0,500}type\s*=\s*[\"']?(?:application/(?:ld\+)?json|text/(?:template|x-)))", re.I
)
_SHEET_LINK = re.compile(r"<link\b[^<>]{0,1000}?stylesheet", re.I)
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)", re.S)
_BRACE = re.compile(r"([{}])")
_SELECTOR = re.compile(r"([a-z][\w-]*)?((?:[.#][\w-]+)?)")
_NAME = re.compile(r"[.#][\w-]+")
_MAX_SHEET_CHARACTERS = 1_000_000
_MAX_RULES = 20_000


@dataclass(frozen=True, slots=True)
class Look:
    """How an element looks. None means as the element around it."""

    is_hidden: bool = False
    is_struck: bool = False
    #: 1 is raised, -1 is lowered.
    shift: int = 0
    colour: Colour | None = None
    background: Colour | None = None
    is_tiny: bool | None = None
    is_unseen: bool | None = None

    @property
    def is_inherited(self) -> bool:
        """Whether it matters for the elements inside."""
        return (self.colour, self.background, self.is_tiny, self.is_unseen) != (None, None, None, None)


PLAIN = Look()


class PageStyle:
    """The styles of a page: those of its elements, and the simple rules of its style sheets.

    Rules that hide elements are ignored if the page has scripts, or rules that show the same elements, because such
    elements are shown on a click.
    """

    def __init__(self, page: str) -> None:
        self._rules: dict[str, list[str]] = {}
        has_sheet = "<style" in page or "<STYLE" in page
        self._has_scripts = has_sheet and _SCRIPT.search(page) is not None
        if has_sheet:
            self._read_sheets(page)
        is_plain = not has_sheet and " class=" not in page and not _SHEET_LINK.search(page)
        #: The colour behind text that has no background of its own.
        self.paper = WHITE if is_plain else UNKNOWN

    def look_of(self, tag: str, attributes: Mapping[str, str]) -> Look:
        """Return the look of an element."""
        if not attributes and tag not in self._rules:
            return PLAIN
        if _is_hidden_by_attribute(attributes):
            return Look(is_hidden=True)
        style = attributes.get("style", "")
        if self._rules:
            names = [tag, *(f".{name}" for name in attributes.get("class", "").split())]
            names += [f"#{attributes['id']}"] if "id" in attributes else []
            names += [f"{tag}{name}" for name in names[1:]]
            rules = [rule for name in names for rule in self._rules.get(name, ())]
            style = ";".join([*rules, style]) if rules else style
        for name, declared in (("bgcolor", "background"), ("color", "color"), ("background", "background: url")):
            if name in attributes and (tag == "font" or name != "color"):
                style = f"{declared}:{attributes[name]};{style}"
        return look_of_style(style) if style else PLAIN

    def _read_sheets(self, page: str) -> None:
        shown: set[str] = set()
        hiding: list[tuple[str, str]] = []
        for selectors, body in _rules(page):
            hides, shows = _hides(body), _shows(body)
            for selector in selectors.lower().split(","):
                selector = selector.strip()
                simple = _SELECTOR.fullmatch(selector)
                if shows:
                    shown.update(_NAME.findall(selector))
                if simple and hides:
                    hiding.append((selector, body))
                elif simple:
                    self._rules.setdefault(selector, []).append(body)
        for selector, body in hiding:
            if not self._has_scripts and not shown.intersection(_NAME.findall(selector)):
                self._rules.setdefault(selector, []).append(body)


def _rules(page: str) -> list[tuple[str, str]]:
    """Return the selectors and declarations of the rules outside `@media` and the like."""
    found: list[tuple[str, str]] = []
    for sheet in _SHEET.finditer(page):
        stack: list[str] = []
        parts = _BRACE.split(_COMMENT.sub("", sheet[1][:_MAX_SHEET_CHARACTERS]))
        for part, brace in zip(parts[::2], parts[1::2], strict=False):
            if brace == "{":
                stack.append(part.strip())
            elif stack:
                selectors = stack.pop()
                if not stack and not selectors.startswith("@"):
                    found.append((selectors.removeprefix("<!--"), part))
        if len(found) > _MAX_RULES:
            break
    return found[:_MAX_RULES]


def _is_hidden_by_attribute(attributes: Mapping[str, str]) -> bool:
    hidden = attributes.get("hidden")
    return (hidden is not None and hidden.lower() != "until-found") or attributes.get("aria-hidden", "") == "true"


def _hides(body: str) -> bool:
    look = look_of_style(body)
    return look.is_hidden or bool(look.is_unseen)


def _shows(body: str) -> bool:
    declared = _declarations(body)
    return declared.get("display", "none") != "none" or declared.get("visibility") == "visible"


def _declarations(style: str) -> dict[str, str]:
    pairs = (each.partition(":") for each in style.lower().split(";"))
    return {name.strip(): value.replace("!important", "").strip() for name, _, value in pairs}


@lru_cache(maxsize=2048)
def look_of_style(style: str) -> Look:
    """Return the look that CSS declarations give an element."""
    declared = _declarations(style)
    shift = {"super": 1, "sub": -1}.get(declared.get("vertical-align", ""), 0)
    size = declared.get("font-size")
    visibility = declared.get("visibility")
    decoration = declared.get("text-decoration", "") + declared.get("text-decoration-line", "")
    return Look(
        is_hidden=_is_cut_off(declared),
        is_struck="line-through" in decoration,
        shift=shift,
        colour=_colour(declared.get("color")),
        background=_colour(declared.get("background-color") or declared.get("background")),
        is_tiny=None if size is None else bool(_ZERO.fullmatch(size) or _SMALL.fullmatch(size)),
        is_unseen=None if visibility is None else visibility in ("hidden", "collapse"),
    )


def _is_cut_off(declared: Mapping[str, str]) -> bool:
    """Return whether an element is not displayed, transparent, clipped or off the page."""
    if declared.get("display") == "none":
        return True
    opacity = declared.get("opacity")
    if opacity and _ZERO.fullmatch(opacity):
        return True
    if _CLIPPED.match(declared.get("clip", "")) or _CLIPPED.match(declared.get("clip-path", "")):
        return True
    sizes = (declared.get(name) for name in ("width", "height", "max-height", "max-width"))
    is_clipped = "hidden" in (declared.get("overflow"), declared.get("overflow-y"))
    if is_clipped and any(size and (_ZERO.fullmatch(size) or size == "1px") for size in sizes):
        return True
    if _FAR.fullmatch(declared.get("text-indent", "")):
        return True
    is_placed = declared.get("position") in ("absolute", "fixed")
    return is_placed and any(_FAR.fullmatch(declared.get(side, "")) for side in ("left", "top", "right", "bottom"))


def _colour(value: str | None) -> Colour | None:
    if not value:
        return None
    if "url" in value or "gradient" in value:
        return UNKNOWN
    if found := _HEX.search(value):
        digits = found[1] if len(found[1]) == 6 else "".join(digit * 2 for digit in found[1])
        return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16)
    if found := _RGB.search(value):
        if found[4] and _ZERO.fullmatch(found[4]):
            return TRANSPARENT
        return int(found[1]), int(found[2]), int(found[3])
    for word in value.split():
        if word in _NAMED_COLOURS:
            return _NAMED_COLOURS[word]
    return UNKNOWN


@dataclass(slots=True)
class _Frame:
    tag: str
    before: tuple[bool, Colour | None, Colour, bool, bool]
    depth: int = 0


@dataclass(slots=True)
class Visibility:
    """Whether the text at the current position can be seen, by its colour, its size and its visibility."""

    background: Colour
    #: Whether the text cannot be seen.
    is_unseen: bool = False
    colour: Colour | None = None
    _is_tiny: bool = False
    _is_invisible: bool = False
    _frames: list[_Frame] = field(default_factory=list)

    def start(self, tag: str, look: Look) -> None:
        """Enter an element."""
        if look is PLAIN or not look.is_inherited:
            if self._frames and self._frames[-1].tag == tag:
                self._frames[-1].depth += 1
            return
        before = (self.is_unseen, self.colour, self.background, self._is_tiny, self._is_invisible)
        self._frames.append(_Frame(tag, before))
        self.colour = look.colour or self.colour
        if look.background not in (None, TRANSPARENT):
            self.background = look.background or UNKNOWN
        self._is_tiny = self._is_tiny if look.is_tiny is None else look.is_tiny
        self._is_invisible = self._is_invisible if look.is_unseen is None else look.is_unseen
        self.is_unseen = self._is_tiny or self._is_invisible or self._has_no_contrast()

    def end(self, tag: str) -> None:
        """Leave an element."""
        if not self._frames or self._frames[-1].tag != tag:
            return
        if self._frames[-1].depth:
            self._frames[-1].depth -= 1
            return
        before = self._frames.pop().before
        self.is_unseen, self.colour, self.background, self._is_tiny, self._is_invisible = before

    def _has_no_contrast(self) -> bool:
        if self.colour is None or UNKNOWN in (self.colour, self.background):
            return self.colour == TRANSPARENT
        if self.colour == TRANSPARENT:
            return True
        return all(abs(one - two) < _LEAST_CONTRAST for one, two in zip(self.colour, self.background, strict=True))
