"""The names of OpenDocument elements."""

from __future__ import annotations

_OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
OFFICE = f"{_OASIS}office:1.0"
TEXT = f"{_OASIS}text:1.0"
TABLE = f"{_OASIS}table:1.0"
DRAW = f"{_OASIS}drawing:1.0"
FORM = f"{_OASIS}form:1.0"
STYLE = f"{_OASIS}style:1.0"
FO = f"{_OASIS}xsl-fo-compatible:1.0"
SVG = f"{_OASIS}svg-compatible:1.0"
DUBLIN_CORE = "http://purl.org/dc/elements/1.1/"
#: LibreOffice's extensions.
LOEXT = "urn:org:documentfoundation:names:experimental:office:xmlns:loext:1.0"
FIELD = "urn:openoffice:names:experimental:ooo-ms-interop:xmlns:field:1.0"
XML = "http://www.w3.org/XML/1998/namespace"


def qualified_names(namespace: str, *names: str) -> frozenset[str]:
    """Return names qualified with their namespace, as lxml writes them."""
    return frozenset(f"{{{namespace}}}{name}" for name in names)


P = f"{{{TEXT}}}p"
H = f"{{{TEXT}}}h"
SPAN = f"{{{TEXT}}}span"
SECTION = f"{{{TEXT}}}section"
CELL = f"{{{TABLE}}}table-cell"
TABLE_ELEMENT = f"{{{TABLE}}}table"
FRAME = f"{{{DRAW}}}frame"
TEXT_BOX = f"{{{DRAW}}}text-box"
CONTROL = f"{{{DRAW}}}control"
OBJECT = f"{{{DRAW}}}object"
ANNOTATION = f"{{{OFFICE}}}annotation"

PARAGRAPHS = frozenset((P, H))
#: The blocks that a text box or a shape may contain.
BLOCKS = PARAGRAPHS | qualified_names(TEXT, "list", "section", "numbered-paragraph") | {TABLE_ELEMENT}
SHAPES = qualified_names(
    DRAW, "caption", "circle", "connector", "custom-shape", "ellipse", "line", "measure", "path", "polygon", "polyline",
    "rect", "regular-polygon",
)  # fmt: skip
DRAWINGS = SHAPES | {FRAME, CONTROL, f"{{{DRAW}}}g"}
ALTERNATIVES = (f"{{{SVG}}}title", f"{{{SVG}}}desc")
TABLE_ALTERNATIVES = (f"{{{TABLE}}}title", f"{{{TABLE}}}desc")
#: Elements inside paragraphs that pandoc reads or that have no text.
KNOWN_INLINE = qualified_names(
    TEXT, "a", "bibliography-mark", "bookmark", "bookmark-end", "bookmark-ref", "bookmark-start", "change",
    "change-end", "change-start", "line-break", "note", "note-body", "note-citation", "reference-mark",
    "reference-mark-end", "reference-mark-start", "reference-ref", "s", "soft-page-break", "span", "tab",
)  # fmt: skip
FORMULA = "{http://www.w3.org/1998/Math/MathML}math"
FORMULA_SOURCE = "{http://www.w3.org/1998/Math/MathML}annotation"
SCRIPT = f"{{{TEXT}}}script"
RUBY_TEXT = f"{{{TEXT}}}ruby-text"
#: Elements around paragraphs that pandoc reads or that are handled separately.
KNOWN_CONTAINERS = qualified_names(
    TEXT, "alphabetical-index", "illustration-index", "list", "list-header", "list-item", "note", "note-body",
    "object-index", "section", "table-index", "table-of-content", "tracked-changes", "user-index",
)  # fmt: skip
