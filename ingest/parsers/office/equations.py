"""Writes Office equations on one line, as a person would type them: (a+b)/2, x^2, √(y)."""

from __future__ import annotations

from collections.abc import Callable

from ingest.parsers.office.open_xml import Element

MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
_M = f"{{{MATH}}}"
EQUATION = f"{_M}oMath"
EQUATIONS = f"{_M}oMathPara"


def equation_text(element: Element) -> str:
    """Return an equation, or a part of one, as text."""
    if element.tag == f"{_M}t":
        return element.text or ""
    name = element.tag.removeprefix(_M) if isinstance(element.tag, str) else ""
    formatter = _FORMATTERS.get(name)
    # Elements with properties contain no text, so descending into them does no harm.
    return formatter(element) if formatter else "".join(equation_text(child) for child in element)


def _part(element: Element, name: str) -> str:
    child = element.find(f"{_M}{name}")
    return equation_text(child) if child is not None else ""


def _group(text: str) -> str:
    return text if len(text) < 2 or text.isalnum() else f"({text})"


def _fraction(element: Element) -> str:
    return f"{_group(_part(element, 'num'))}/{_group(_part(element, 'den'))}"


def _scripted(element: Element) -> str:
    scripts = (("_", _part(element, "sub")), ("^", _part(element, "sup")))
    return _part(element, "e") + "".join(mark + _group(text) for mark, text in scripts if text)


def _root(element: Element) -> str:
    degree = _part(element, "deg")
    return f"{degree}√({_part(element, 'e')})"


def _operator(element: Element) -> str:
    symbol = _property(element, "naryPr", "chr", "∫")
    scripts = (("_", _part(element, "sub")), ("^", _part(element, "sup")))
    bounds = "".join(mark + _group(text) for mark, text in scripts if text)
    return f"{symbol}{bounds} {_part(element, 'e')}"


def _delimited(element: Element) -> str:
    separator = _property(element, "dPr", "sepChr", "|")
    inner = separator.join(equation_text(child) for child in element.findall(f"{_M}e"))
    return _property(element, "dPr", "begChr", "(") + inner + _property(element, "dPr", "endChr", ")")


def _matrix(element: Element) -> str:
    rows = (", ".join(equation_text(cell) for cell in row) for row in element.findall(f"{_M}mr"))
    return "[" + "; ".join(rows) + "]"


def _lines(element: Element) -> str:
    return "; ".join(equation_text(line) for line in element.findall(f"{_M}e"))


def _equations(element: Element) -> str:
    return "\n".join(equation_text(equation) for equation in element.findall(EQUATION))


def _property(element: Element, holder: str, name: str, default: str) -> str:
    found = element.find(f"{_M}{holder}/{_M}{name}")
    return default if found is None else str(found.get(f"{_M}val") or "")


_FORMATTERS: dict[str, Callable[[Element], str]] = {
    "f": _fraction,
    "sSub": _scripted,
    "sSup": _scripted,
    "sSubSup": _scripted,
    "rad": _root,
    "nary": _operator,
    "d": _delimited,
    "m": _matrix,
    "eqArr": _lines,
    "oMathPara": _equations,
}
