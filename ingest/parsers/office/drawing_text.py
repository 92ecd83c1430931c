"""The text in Office drawings: shapes, charts, diagrams (SmartArt), and the descriptions of pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ingest.parsers.office.equations import EQUATION, EQUATIONS, equation_text
from ingest.parsers.office.open_xml import R_DM, R_ID, RELATIONSHIPS, Element, Package
from ingest.parsers.ordinals import ordinal
from ingest.parsers.pictures import Pictures
from ingest.parsers.raised import lowered, raised

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_C = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
_CX = "{http://schemas.microsoft.com/office/drawing/2014/chartex}"
_DGM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}"
_MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
PARAGRAPH = f"{_A}p"
_ALTERNATIVES, _CHOICE, _FALLBACK = f"{_MC}AlternateContent", f"{_MC}Choice", f"{_MC}Fallback"
_TEXT, _BREAK, _FIELD = f"{_A}t", f"{_A}br", f"{_A}fld"
_EMBED = f"{{{RELATIONSHIPS}}}embed"
_RUN_PROPERTIES = f"{_A}rPr"
_STRUCK = "~~"
_CHARTS = (f"{_C}chart", f"{_CX}chart")
#: Default descriptions of pictures that nobody described: a file name, or a kind and a number.
_NO_DESCRIPTION = re.compile(r"[^\s/\\]*\.\w{3,4}|(?:\w+\s){0,2}\w+\s?\d{1,3}|picture|image|\S?", re.I)
#: The notice that Office appends to generated descriptions.
_GENERATED = re.compile(
    r"\s*(?:Description automatically generated.*|AI-generated content may be incorrect\.?)\s*$", re.I
)


def choose_alternatives(root: Element) -> None:
    """Replace each `AlternateContent` by the first of its variants that is not empty, newer variants first.

    A reader that does not know the element loses the text; a reader that searches all elements finds it twice.
    """
    for element in list(root.iter(_ALTERNATIVES)):
        choices = [*element.findall(_CHOICE), *element.findall(_FALLBACK)]
        chosen = next((choice for choice in choices if len(choice)), None)
        replace_element(element, [] if chosen is None else list(chosen))


def replace_element(element: Element, children: list[Element]) -> None:
    """Replace an element by others, unless it is the root."""
    parent = element.getparent()
    if parent is None:
        return
    for child in children:
        element.addprevious(child)
    parent.remove(element)


def paragraph_text(paragraph: Element) -> str:
    """Return the text of a DrawingML paragraph: runs, fields, line breaks and equations, with marks for their looks."""
    pieces: list[str] = []
    for piece, properties in _pieces(paragraph, None):
        pieces.append(_marked(piece, properties, pieces[-1] if pieces else "") if properties is not None else piece)
    return "".join(pieces).replace(f"{_STRUCK}{_STRUCK}", "")


def _pieces(element: Element, properties: Element | None) -> Iterator[tuple[str, Element | None]]:
    """Yield the pieces of a paragraph, each with the properties of its run."""
    for child in element:
        if child.tag == _TEXT:
            yield child.text or "", properties
        elif child.tag == _BREAK:
            yield "\n", None
        elif child.tag in (EQUATION, EQUATIONS):
            yield equation_text(child), None
        elif isinstance(child.tag, str) and not child.tag.endswith("Pr") and not _is_slide_number_placeholder(child):
            yield from _pieces(child, child.find(_RUN_PROPERTIES))


def _marked(text: str, properties: Element, before: str) -> str:
    """Return the text of a run with marks: struck out, raised or lowered."""
    shift = properties.get("baseline") or "0"
    if shift.lstrip("-").isdecimal() and int(shift) and text.strip():
        text = (raised if int(shift) > 0 else lowered)(text, before)
    is_struck = properties.get("strike", "noStrike") != "noStrike" and text.strip()
    return f"{_STRUCK}{text}{_STRUCK}" if is_struck else text


def _is_slide_number_placeholder(element: Element) -> bool:
    """Return whether the element is a slide number field that was never filled in: `<number>`, `‹#›`."""
    text = element.findtext(_TEXT) if element.tag == _FIELD and element.get("type") == "slidenum" else None
    return text is not None and not any(character.isdigit() for character in text)


def shape_paragraphs(element: Element) -> list[str]:
    """Return the paragraphs of the shapes in an element, with their automatic numbers, without blank ones."""
    labels = AutomaticNumbers()
    return [f"{labels.next(each)}{text}" for each in element.iter(PARAGRAPH) if (text := paragraph_text(each)).strip()]


class AutomaticNumbers:
    """Counts the numbered paragraphs of a shape."""

    def __init__(self) -> None:
        #: The number of the last paragraph, by level; deeper levels begin anew.
        self._numbers: dict[int, int] = {}

    def next(self, paragraph: Element) -> str:
        """Return the number of a paragraph and a space, such as `2. `, or an empty string if it has none."""
        properties = paragraph.find(f"{_A}pPr")
        level = int(properties.get("lvl") or 0) if properties is not None else 0
        self._numbers = {depth: number for depth, number in self._numbers.items() if depth <= level}
        mark = properties.find(f"{_A}buAutoNum") if properties is not None else None
        if mark is None:
            self._numbers.pop(level, None)
            return ""
        number = self._numbers[level] = self._numbers.get(level, int(mark.get("startAt") or 1) - 1) + 1
        kind = mark.get("type") or ""
        label = ordinal(number, kind)
        return f"({label}) " if kind.endswith("Both") else f"{label}) " if kind.endswith("ParenR") else f"{label}. "


def picture_description(text: str | None) -> str:
    """Return a picture's description as a line, or an empty string if it describes nothing."""
    words = " ".join(_GENERATED.sub("", text or "").split())
    return "" if _NO_DESCRIPTION.fullmatch(words) else f"Picture: {words}"


def linked_graphics(package: Package, part: str, drawing: Element, *, with_values: bool = True) -> list[str]:
    """Return the lines of text of the charts and diagrams that a drawing refers to.

    Raises:
        SyntaxError: If one of their parts is not well-formed XML.
        Exception: As `Package.read`, if one of their parts is broken.
    """
    lines: list[str] = []
    targets = {link.id: link.target for link in package.relationships(part)}
    for element in drawing.iter(*_CHARTS, f"{_DGM}relIds"):
        target = targets.get(element.get(R_ID if element.tag in _CHARTS else R_DM) or "")
        # A link to a missing part has no text, and a part that several drawings share is read only once.
        if target is not None and target in package and target not in package.emitted:
            package.emitted.add(target)
            root = package.tree(target)
            lines += diagram_lines(root) if element.tag not in _CHARTS else chart_lines(root, with_values=with_values)
    return lines


def pictures_text(package: Package, part: str, drawing: Element, pictures: Pictures) -> list[str]:
    """Return a line for each picture of a drawing in which OCR finds text."""
    if not pictures.are_read:
        return []
    keys = [blip.get(_EMBED) for blip in drawing.iter(f"{_A}blip")]
    keys += [image.get(R_ID) for image in drawing.iter("{urn:schemas-microsoft-com:vml}imagedata")]
    targets = {link.id: link.target for link in package.relationships(part)} if keys else {}
    names = (targets.get(key or "", "") for key in keys)
    found = (pictures.line_of(package.read(name)) for name in names if name in package)
    return [line for line in found if line]


def diagram_lines(root: Element) -> list[str]:
    """Return the texts of the points of a diagram."""
    return shape_paragraphs(root)


def chart_lines(root: Element, *, with_values: bool = True) -> list[str]:
    """Return a line with the chart's titles and a line for each series: `name: category value; category value`."""
    choose_alternatives(root)
    if root.tag.startswith(_CX):
        return _chartex_lines(root)
    titles = ["\n".join(shape_paragraphs(title)) or _cached_values(title) for title in root.iter(f"{_C}title")]
    series = [_series_line(element, with_values) for element in root.iter(f"{_C}ser")]
    other = [text for holder in root.iter(f"{_C}dLbl", f"{_C}trendline") for text in _labels(holder)]
    return _label_chart(titles, [*series, *other])


def _label_chart(titles: list[str], lines: list[str]) -> list[str]:
    found = [" ".join(text.split()) for text in titles if text.strip()]
    lines = [line for line in lines if line]
    return [f"Chart: {'; '.join(found)}", *lines] if found else [f"Chart: {line}" for line in lines]


def _cached_values(element: Element) -> str:
    """Return the cached text of a title or name that refers to cells."""
    return " ".join(value.text or "" for value in element.iter(f"{_C}v"))


def _labels(holder: Element) -> list[str]:
    names = [name.text or "" for name in holder.findall(f"{_C}name")]
    return [text for text in [*shape_paragraphs(holder), *names] if text.strip()]


def _series_line(series: Element, with_values: bool) -> str:
    name = series.find(f"{_C}tx")
    title = " ".join(_cached_values(name).split()) if name is not None else ""
    if not with_values:
        return title
    categories, values = _points(series, "cat", "xVal"), _points(series, "val", "yVal")
    pairs = [f"{categories.get(index, '')} {value}".strip() for index, value in values.items()]
    pairs += [text for index, text in categories.items() if index not in values]
    return f"{title}: {'; '.join(pairs)}" if title and pairs else title or "; ".join(pairs)


def _points(series: Element, *names: str) -> dict[str, str]:
    """Return the points of an axis by their index; the names of multi-level categories are joined."""
    found: dict[str, str] = {}
    for name in names:
        holder = series.find(f"{_C}{name}")
        for point in () if holder is None else holder.iter(f"{_C}pt"):
            index, value = point.get("idx") or "", " ".join((point.findtext(f"{_C}v") or "").split())
            found[index] = f"{value} {found[index]}" if index in found else value
    return found


def _chartex_lines(root: Element) -> list[str]:
    """Return the lines of a chart of a type introduced with Office 2016: waterfall, treemap, funnel and so on."""
    titles = [" ".join(shape_paragraphs(title)) for title in root.iter(f"{_CX}title")]
    names = [value.text or "" for text in root.iter(f"{_CX}txData") for value in text.iter(f"{_CX}v")]
    points = (point.text or "" for point in root.iter(f"{_CX}pt"))
    return _label_chart(list(dict.fromkeys([*titles, *names])), ["; ".join(point for point in points if point)])
