"""Moves text that pandoc ignores in an OpenDocument file to positions that it reads."""

from __future__ import annotations

from lxml import etree

from ingest.parsers.pandoc import open_document_names as names
from ingest.parsers.pandoc.open_document_forms import control_text, field_text
from ingest.parsers.pandoc.open_document_looks import apply_looks
from ingest.parsers.pandoc.open_document_names import DRAW, FORM, LOEXT, OFFICE, STYLE, TEXT, XML, qualified_names
from ingest.parsers.pandoc.open_document_numbers import write_numbers

_HEADERS = qualified_names(STYLE, "header", "header-first", "header-left")
_FOOTERS = qualified_names(STYLE, "footer", "footer-first", "footer-left")
_PAGE_NUMBERS = qualified_names(TEXT, "page-number", "page-count")
_CHANGE_START = f"{{{TEXT}}}change-start"
_CHANGE_END = f"{{{TEXT}}}change-end"
_FIELD_MARK = f"{{{names.FIELD}}}fieldmark"
_BIBLIOGRAPHY_SOURCE = f"{{{TEXT}}}bibliography-source"
_HREF = "{http://www.w3.org/1999/xlink}href"


def prepare(content: etree._Element, styles: etree._Element, formulas: frozenset[str]) -> bool:
    """Rewrite the content for pandoc and return whether anything was changed.

    Args:
        content: The root of content.xml, which is changed.
        styles: The root of styles.xml, which holds headers and footers.
        formulas: The folders of embedded objects that are formulas, which pandoc reads.
    """
    text = content.find(f".//{{{OFFICE}}}text")
    if text is None:
        return False
    preparation = _Preparation(text, formulas)
    preparation.blank_deletions()
    is_shown = apply_looks(text, content, styles)
    is_numbered = write_numbers(text, content, styles)
    preparation.add_headers_and_footers(styles)
    preparation.expand_drawings()
    preparation.unwrap_unknown_elements()
    preparation.flatten_tables()
    return preparation.is_changed or is_shown or is_numbered


class _Preparation:
    def __init__(self, text: etree._Element, formulas: frozenset[str]) -> None:
        self._text = text
        self._formulas = formulas
        self.is_changed = False

    def blank_deletions(self) -> None:
        """Remove tracked deletions that are stored inline. Most are stored before the text, which pandoc ignores."""
        regions = self._text.iterfind(f"{{{TEXT}}}tracked-changes/{{{TEXT}}}changed-region")
        deletions = {_id(region, TEXT) for region in regions if region.find(f"{{{TEXT}}}deletion") is not None}
        open_deletions: set[str] = set()
        for event, element in etree.iterwalk(self._text, events=("start", "end")) if deletions else ():
            change = element.get(f"{{{TEXT}}}change-id")
            if event == "start" and element.tag == _CHANGE_START and change in deletions:
                open_deletions.add(change)
                self.is_changed = True
            elif event == "start" and element.tag == _CHANGE_END:
                open_deletions.discard(change)
            if open_deletions and event == "start":
                element.text = None
            elif open_deletions:
                element.tail = None

    def add_headers_and_footers(self, styles: etree._Element) -> None:
        """Insert the headers before the text and the footers after it, each text once."""
        headers, footers = (_margin_blocks(styles, kinds) for kinds in (_HEADERS, _FOOTERS))
        # Declarations and forms must stay first.
        first = next((index for index, child in enumerate(self._text) if child.tag in names.BLOCKS), len(self._text))
        self._text[first:first] = headers
        self._text.extend(footers)
        self.is_changed |= bool(headers or footers)

    def expand_drawings(self) -> None:
        """Move text boxes, shapes and comments after their paragraphs, and replace form controls by their text."""
        changes = self._text.find(f"{{{TEXT}}}tracked-changes")
        deleted = set(changes.iter("{*}*")) if changes is not None else set()
        controls = {_id(control, FORM): control for control in self._text.iter(f"{{{FORM}}}*")}
        # In reverse order, so that the content of a box is expanded before the box is, and the order of blocks is kept.
        for element in reversed(list(self._text.iter(names.ANNOTATION, _FIELD_MARK, *names.DRAWINGS))):
            if element in deleted:
                continue
            if element.tag == names.CONTROL:
                self._replace(element, control_text(controls.get(element.get(f"{{{DRAW}}}control"))))
            elif element.tag == _FIELD_MARK:
                self._replace(element, field_text(element))
            elif element.tag == names.ANNOTATION:
                self._move(element, _comment_blocks(element), _anchor(element))
            elif element.tag != names.FRAME or element.find(names.TEXT_BOX) is not None:
                self._move(element, _drawing_blocks(element), _anchor(element))
            else:
                self._add_description(element)
                self._replace_formula(element)

    def unwrap_unknown_elements(self) -> None:
        """Turn elements that pandoc does not know into spans inside paragraphs, and into sections around them."""
        for paragraph in self._text.iter(*names.PARAGRAPHS):
            for element in list(paragraph.iter(f"{{{TEXT}}}*", f"{{{LOEXT}}}*")):
                self._unwrap(element)
        for element in reversed(list(self._text.iter(f"{{{TEXT}}}*", f"{{{LOEXT}}}*"))):
            if element.tag == _BIBLIOGRAPHY_SOURCE:
                _remove(element)
            elif element.tag not in names.KNOWN_CONTAINERS and any(child.tag in names.BLOCKS for child in element):
                element.tag = names.SECTION
                self.is_changed = True

    def flatten_tables(self) -> None:
        """Replace nested tables by the blocks of their cells, and put the titles of tables before them."""
        for table in reversed(list(self._text.iter(names.TABLE_ELEMENT))):
            for block in _take_alternative_text(table, names.TABLE_ALTERNATIVES):
                table.addprevious(block)
                self.is_changed = True
            if next(table.iterancestors(names.CELL), None) is not None:
                self._move(table, [block for cell in table.iter(names.CELL) for block in cell], table)

    def _unwrap(self, element: etree._Element) -> None:
        if element.tag in names.KNOWN_INLINE or element.tag in names.BLOCKS or element.tag in names.KNOWN_CONTAINERS:
            return
        self.is_changed = True
        if element.tag == names.SCRIPT:
            _remove(element)
            return
        if element.tag == names.RUBY_TEXT:
            element.text = f" ({element.text or ''}"
            element.tail = f"){element.tail or ''}"
        element.tag = names.SPAN

    def _add_description(self, frame: etree._Element) -> None:
        """Put the description of a picture after its paragraph, or the name of an embedded object without one."""
        blocks = _take_alternative_text(frame)
        path = embedded.get(_HREF) or "" if (embedded := frame.find(names.OBJECT)) is not None else ""
        name = frame.get(f"{{{DRAW}}}name")
        if not blocks and path and name and path.removeprefix("./") not in self._formulas:
            blocks = [_paragraph(f"Embedded object: {name}")]
        for block in reversed(blocks):
            _anchor(frame).addnext(block)
        self.is_changed |= bool(blocks)

    def _replace_formula(self, frame: etree._Element) -> None:
        """Replace a formula inside the text by its source. pandoc reads only formulas that are separate parts."""
        formula = next(frame.iter(names.FORMULA), None)
        if formula is not None:
            source = next(formula.iter(names.FORMULA_SOURCE), formula)
            self._replace(frame, " ".join("".join(source.itertext()).split()))

    def _move(self, element: etree._Element, blocks: list[etree._Element], anchor: etree._Element) -> None:
        for block in reversed(blocks):
            block.tail = None
            anchor.addnext(block)
        _remove(element)
        self.is_changed = True

    def _replace(self, element: etree._Element, text: str) -> None:
        in_line = next(element.iterancestors(*names.PARAGRAPHS), None) is not None
        new = etree.Element(names.SPAN if in_line else names.P)
        new.text = text
        new.tail = element.tail
        element.getparent().replace(element, new)
        self.is_changed = True


def _margin_blocks(styles: etree._Element, kinds: frozenset[str]) -> list[etree._Element]:
    """Return the blocks of the headers or footers, each text once."""
    found: dict[str, etree._Element] = {}
    for margin in styles.iter(*kinds):
        if margin.get(f"{{{STYLE}}}display") != "false":
            for block in margin:
                found.setdefault("".join(block.itertext()), block)
    blocks = [block for block in found.values() if _has_more_than_page_numbers(block)]
    for block in blocks:
        # The styles belong to another part, where their names may mean something else.
        for element in block.iter("{*}*"):
            element.attrib.pop(f"{{{TEXT}}}style-name", None)
    return [_without_headings(block) for block in blocks]


def _has_more_than_page_numbers(margin: etree._Element) -> bool:
    """Return whether a header or footer has more text than page numbers."""
    if next(margin.iter(*names.DRAWINGS), None) is not None:
        return True
    numbers = {element for number in margin.iter(*_PAGE_NUMBERS) for element in number.iter("{*}*")}
    texts = [element.text for element in margin.iter("{*}*") if element not in numbers]
    texts += [element.tail for element in margin.iterdescendants("{*}*") if element.getparent() not in numbers]
    return any(map(str.isalnum, "".join(filter(None, texts))))


def _drawing_blocks(drawn: etree._Element) -> list[etree._Element]:
    """Return the blocks of a text box or a shape, and its alternative text."""
    box = drawn.find(names.TEXT_BOX)
    blocks = [_without_headings(child) for child in (drawn if box is None else box) if child.tag in names.BLOCKS]
    return [*blocks, *_take_alternative_text(drawn)]


def _without_headings(block: etree._Element) -> etree._Element:
    """Turn the headings in a block into paragraphs, so that the text after it stays in its own section."""
    for heading in list(block.iter(names.H)):
        heading.tag = names.P
    return block


def _comment_blocks(annotation: etree._Element) -> list[etree._Element]:
    blocks = [child for child in annotation if child.tag in names.BLOCKS and "".join(child.itertext()).strip()]
    author = (annotation.findtext(f"{{{names.DUBLIN_CORE}}}creator") or "").strip()
    prefix = f"Comment by {author}: " if author else "Comment: "
    if blocks and blocks[0].tag == names.P:
        blocks[0].text = prefix + (blocks[0].text or "")
    elif blocks:
        blocks.insert(0, _paragraph(prefix))
    return blocks


def _take_alternative_text(element: etree._Element, tags: tuple[str, ...] = names.ALTERNATIVES) -> list[etree._Element]:
    """Remove the title and the description from an element and return them as paragraphs."""
    found = [child for child in element if child.tag in tags]
    for child in found:
        element.remove(child)
    return [_paragraph(child.text) for child in found if (child.text or "").strip()]


def _paragraph(text: str) -> etree._Element:
    paragraph = etree.Element(names.P)
    paragraph.text = text
    return paragraph


def _anchor(element: etree._Element) -> etree._Element:
    """Return the element to insert after: the enclosing paragraph, else the outermost drawing, else the element."""
    paragraph = next(element.iterancestors(*names.PARAGRAPHS), None)
    return paragraph if paragraph is not None else [element, *element.iterancestors(*names.DRAWINGS)][-1]


def _remove(element: etree._Element) -> None:
    """Remove an element but keep the text after it."""
    parent, before = element.getparent(), element.getprevious()
    if before is not None:
        before.tail = (before.tail or "") + (element.tail or "")
    else:
        parent.text = (parent.text or "") + (element.tail or "")
    parent.remove(element)


def _id(element: etree._Element, namespace: str) -> str | None:
    name: str | None = element.get(f"{{{namespace}}}id", element.get(f"{{{XML}}}id"))
    return name
