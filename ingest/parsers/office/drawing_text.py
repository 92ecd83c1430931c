"""The text in what Office draws: shapes, charts, diagrams (SmartArt), and the descriptions of pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.parsers.office.equations import EQUATION, EQUATIONS, equation_text
from ingest.parsers.office.open_xml import R_DM, R_ID, Element, Package

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_CX = "{http://schemas.microsoft.com/office/drawing/2014/chartex}"
_DGM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
PARAGRAPH = f"{_A}p"
_ALTERNATIVES, _CHOICE, _FALLBACK = f"{_MC}AlternateContent", f"{_MC}Choice", f"{_MC}Fallback"
_TEXT, _BREAK, _FIELD = f"{_A}t", f"{_A}br", f"{_A}fld"
_CHARTS = (f"{_C}chart", f"{_CX}chart")
#: What programs call pictures whose author described nothing: a file's name, or a kind and a number.
_NO_DESCRIPTION = re.compile(r"[^\s/\\]*\.\w{3,4}|(?:\w+\s){0,2}\w+\s?\d{1,3}|picture|image|\S?", re.I)
#: What Office adds to descriptions that it makes.
_GENERATED = re.compile(
    r"\s*(?:Description automatically generated.*|AI-generated content may be incorrect\.?)\s*$", re.I
)


def choose_alternatives(root: Element) -> None:
    """Replaces what is written for newer and again for older programs by the newer one; by the older if that is empty.

    Readers that know neither would lose it, and those that look for text everywhere would find it twice.
    """
    for element in list(root.iter(_ALTERNATIVES)):
        choices = [*element.findall(_CHOICE), *element.findall(_FALLBACK)]
        chosen = next((choice for choice in choices if len(choice)), None)
        splice(element, [] if chosen is None else list(chosen))


def splice(element: Element, children: list[Element]) -> None:
    """Puts elements in the place of one, unless that is the root."""
    parent = element.getparent()
    if parent is None:
        return
    for child in children:
        element.addprevious(child)
    parent.remove(element)


def paragraph_text(paragraph: Element) -> str:
    """The text of a paragraph of DrawingML: runs, fields, line breaks and equations."""
    return "".join(_pieces(paragraph))


def _pieces(element: Element) -> Iterator[str]:
    for child in element:
        if child.tag == _TEXT:
            yield child.text or ""
        elif child.tag == _BREAK:
            yield "\n"
        elif child.tag in (EQUATION, EQUATIONS):
            yield equation_text(child)
        elif isinstance(child.tag, str) and not child.tag.endswith("Pr") and not _is_unnumbered(child):
            yield from _pieces(child)


def _is_unnumbered(element: Element) -> bool:
    """Whether it is the number of a slide that no program has put in yet: `<number>`, `‹#›`."""
    text = element.findtext(_TEXT) if element.tag == _FIELD and element.get("type") == "slidenum" else None
    return text is not None and not any(character.isdigit() for character in text)


def shape_paragraphs(element: Element) -> list[str]:
    """The paragraphs within shapes."""
    return [text for text in (paragraph_text(paragraph) for paragraph in element.iter(PARAGRAPH)) if text.strip()]


def description(text: str | None) -> str:
    """A picture's description as a line of its own; empty if it describes nothing."""
    words = " ".join(_GENERATED.sub("", text or "").split())
    return "" if _NO_DESCRIPTION.fullmatch(words) else f"Picture: {words}"


def drawn_elsewhere(package: Package, part: str, drawing: Element, *, with_values: bool = True) -> list[str]:
    """The text of the charts and diagrams that a drawing refers to, a line each.

    Raises:
        SyntaxError, and what `Package.read` raises: one of their parts is broken.
    """
    lines: list[str] = []
    targets = {link.id: link.target for link in package.relationships(part)}
    for element in drawing.iter(*_CHARTS, f"{_DGM}relIds"):
        target = targets.get(element.get(R_ID if element.tag in _CHARTS else R_DM) or "")
        # A link to a part that is not there says nothing, and one that many drawings name says the same each time.
        if target is not None and target in package and target not in package.shown:
            package.shown.add(target)
            root = package.tree(target)
            lines += diagram_lines(root) if element.tag not in _CHARTS else chart_lines(root, with_values=with_values)
    return lines


def diagram_lines(root: Element) -> list[str]:
    """The text of the points of a diagram."""
    return shape_paragraphs(root)


def chart_lines(root: Element, *, with_values: bool = True) -> list[str]:
    """A chart's titles on a line, and each series of data on one: `name: category value; category value`."""
    choose_alternatives(root)
    if root.tag.startswith(_CX):
        return _new_chart_lines(root)
    titles = ["\n".join(shape_paragraphs(title)) or _cached(title) for title in root.iter(f"{_C}title")]
    series = [_series_line(element, with_values) for element in root.iter(f"{_C}ser")]
    other = [text for holder in root.iter(f"{_C}dLbl", f"{_C}trendline") for text in _labels(holder)]
    return _chart(titles, [*series, *other])


def _chart(titles: list[str], lines: list[str]) -> list[str]:
    found = [" ".join(text.split()) for text in titles if text.strip()]
    lines = [line for line in lines if line]
    return [f"Chart: {'; '.join(found)}", *lines] if found else [f"Chart: {line}" for line in lines]


def _cached(element: Element) -> str:
    """What a title or a name that refers to cells last was."""
    return " ".join(value.text or "" for value in element.iter(f"{_C}v"))


def _labels(holder: Element) -> list[str]:
    names = [name.text or "" for name in holder.findall(f"{_C}name")]
    return [text for text in [*shape_paragraphs(holder), *names] if text.strip()]


def _series_line(series: Element, with_values: bool) -> str:
    name = series.find(f"{_C}tx")
    title = " ".join(_cached(name).split()) if name is not None else ""
    if not with_values:
        return title
    categories, values = _points(series, "cat", "xVal"), _points(series, "val", "yVal")
    pairs = [f"{categories.get(index, '')} {value}".strip() for index, value in values.items()]
    pairs += [text for index, text in categories.items() if index not in values]
    return f"{title}: {'; '.join(pairs)}" if title and pairs else title or "; ".join(pairs)


def _points(series: Element, *names: str) -> dict[str, str]:
    """The points of an axis by their index; those of several levels, joined."""
    found: dict[str, str] = {}
    for name in names:
        holder = series.find(f"{_C}{name}")
        for point in () if holder is None else holder.iter(f"{_C}pt"):
            index, value = point.get("idx") or "", " ".join((point.findtext(f"{_C}v") or "").split())
            found[index] = f"{value} {found[index]}" if index in found else value
    return found


def _new_chart_lines(root: Element) -> list[str]:
    """Of the kinds of charts that Office 2016 brought: waterfall, treemap, funnel and the like."""
    titles = [" ".join(shape_paragraphs(title)) for title in root.iter(f"{_CX}title")]
    names = [value.text or "" for text in root.iter(f"{_CX}txData") for value in text.iter(f"{_CX}v")]
    points = (point.text or "" for point in root.iter(f"{_CX}pt"))
    return _chart(list(dict.fromkeys([*titles, *names])), ["; ".join(point for point in points if point)])
