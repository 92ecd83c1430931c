"""Moves what pandoc passes over in an OpenDocument text to where it does not."""

from __future__ import annotations

from lxml import etree

from ingest.parsers.pandoc import open_document_names as names
from ingest.parsers.pandoc.open_document_forms import control_text, field_text
from ingest.parsers.pandoc.open_document_names import DRAW, FORM, LOEXT, OFFICE, STYLE, TEXT, XML, named

_HEADERS = named(STYLE, "header", "header-first", "header-left")
_FOOTERS = named(STYLE, "footer", "footer-first", "footer-left")
_PAGE_NUMBERS = named(TEXT, "page-number", "page-count")
_CHANGE_START = f"{{{TEXT}}}change-start"
_CHANGE_END = f"{{{TEXT}}}change-end"
_FIELD_MARK = f"{{{names.FIELD}}}fieldmark"
_BIBLIOGRAPHY_SOURCE = f"{{{TEXT}}}bibliography-source"
_HREF = "{http://www.w3.org/1999/xlink}href"


def prepare(content: etree._Element, styles: etree._Element, formulas: frozenset[str]) -> bool:
    """Changes the content of a text, and says whether there was anything to change.

    Args:
        content: the root of the part content.xml.
        styles: that of styles.xml, where headers and footers are.
        formulas: the folders of those of its objects that are formulas, which pandoc reads.
    """
    text = content.find(f".//{{{OFFICE}}}text")
    if text is None:
        return False
    preparation = _Preparation(text, formulas)
    preparation.blank_deletions()
    preparation.add_margins(styles)
    preparation.lift()
    preparation.unwrap()
    preparation.flatten_tables()
    return preparation.is_changed


class _Preparation:
    def __init__(self, text: etree._Element, formulas: frozenset[str]) -> None:
        self._text = text
        self._formulas = formulas
        self.is_changed = False

    def blank_deletions(self) -> None:
        """Takes out the text of deletions that stand in their place. Most stand before the text, unseen by pandoc."""
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

    def add_margins(self, styles: etree._Element) -> None:
        """Headers before the text, and footers after it, each once."""
        headers, footers = (_margin(styles, kinds) for kinds in (_HEADERS, _FOOTERS))
        # Declarations and forms come first, and stay there.
        first = next((at for at, child in enumerate(self._text) if child.tag in names.BLOCKS), len(self._text))
        self._text[first:first] = headers
        self._text.extend(footers)
        self.is_changed |= bool(headers or footers)

    def lift(self) -> None:
        """Text boxes, shapes and comments after the paragraphs that they lie in, form elements within them."""
        changes = self._text.find(f"{{{TEXT}}}tracked-changes")
        deleted = set(changes.iter("{*}*")) if changes is not None else set()
        controls = {_id(control, FORM): control for control in self._text.iter(f"{{{FORM}}}*")}
        # From the end: what lies in a box is lifted within it first, and the order is kept.
        for element in reversed(list(self._text.iter(names.ANNOTATION, _FIELD_MARK, *names.DRAWN))):
            if element in deleted:
                continue
            if element.tag == names.CONTROL:
                self._replace(element, control_text(controls.get(element.get(f"{{{DRAW}}}control"))))
            elif element.tag == _FIELD_MARK:
                self._replace(element, field_text(element))
            elif element.tag == names.ANNOTATION:
                self._move(element, _comment(element), _anchor(element))
            elif element.tag != names.FRAME or element.find(names.TEXT_BOX) is not None:
                self._move(element, _blocks(element), _anchor(element))
            else:
                self._describe(element)
                self._write_formula(element)

    def unwrap(self) -> None:
        """Fields and the like within paragraphs become plain, and what lies around paragraphs becomes a section."""
        for paragraph in self._text.iter(*names.PARAGRAPHS):
            for element in list(paragraph.iter(f"{{{TEXT}}}*", f"{{{LOEXT}}}*")):
                self._unwrap(element)
        for element in reversed(list(self._text.iter(f"{{{TEXT}}}*", f"{{{LOEXT}}}*"))):
            if element.tag == _BIBLIOGRAPHY_SOURCE:
                _remove(element)
            elif element.tag not in names.KNOWN_AROUND and any(child.tag in names.BLOCKS for child in element):
                element.tag = names.SECTION
                self.is_changed = True

    def flatten_tables(self) -> None:
        """Tables within tables become the text of their cells, and names of tables paragraphs before them."""
        for table in reversed(list(self._text.iter(names.TABLE_ELEMENT))):
            for block in _alternatives(table, names.TABLE_ALTERNATIVES):
                table.addprevious(block)
                self.is_changed = True
            if next(table.iterancestors(names.CELL), None) is not None:
                self._move(table, [block for cell in table.iter(names.CELL) for block in cell], table)

    def _unwrap(self, element: etree._Element) -> None:
        if element.tag in names.KNOWN_IN_LINES or element.tag in names.BLOCKS or element.tag in names.KNOWN_AROUND:
            return
        self.is_changed = True
        if element.tag == names.SCRIPT:
            _remove(element)
            return
        if element.tag == names.READING:
            element.text = f" ({element.text or ''}"
            element.tail = f"){element.tail or ''}"
        element.tag = names.SPAN

    def _describe(self, frame: etree._Element) -> None:
        """The description of a picture after its paragraph, and the name of an embedded object that has none."""
        blocks = _alternatives(frame)
        place = embedded.get(_HREF) or "" if (embedded := frame.find(names.OBJECT)) is not None else ""
        name = frame.get(f"{{{DRAW}}}name")
        if not blocks and place and name and place.removeprefix("./") not in self._formulas:
            blocks = [_paragraph(f"Embedded object: {name}")]
        for block in reversed(blocks):
            _anchor(frame).addnext(block)
        self.is_changed |= bool(blocks)

    def _write_formula(self, frame: etree._Element) -> None:
        """A formula that lies in the text, as it was typed. pandoc reads those that are parts of their own."""
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


def _margin(styles: etree._Element, kinds: frozenset[str]) -> list[etree._Element]:
    """The blocks of headers or of footers, each text once."""
    found: dict[str, etree._Element] = {}
    for margin in styles.iter(*kinds):
        if margin.get(f"{{{STYLE}}}display") != "false":
            for block in margin:
                found.setdefault("".join(block.itertext()), block)
    blocks = [block for block in found.values() if _says_more_than_numbers(block)]
    for block in blocks:
        # The names of styles are those of another part.
        for element in block.iter("{*}*"):
            element.attrib.pop(f"{{{TEXT}}}style-name", None)
    return [_plain(block) for block in blocks]


def _says_more_than_numbers(margin: etree._Element) -> bool:
    """Whether there is more than the number of the page."""
    if next(margin.iter(*names.DRAWN), None) is not None:
        return True
    numbers = {element for number in margin.iter(*_PAGE_NUMBERS) for element in number.iter("{*}*")}
    texts = [element.text for element in margin.iter("{*}*") if element not in numbers]
    texts += [element.tail for element in margin.iterdescendants("{*}*") if element.getparent() not in numbers]
    return any(map(str.isalnum, "".join(filter(None, texts))))


def _blocks(drawn: etree._Element) -> list[etree._Element]:
    """The text of a box or a shape, and what it is described as."""
    box = drawn.find(names.TEXT_BOX)
    blocks = [_plain(child) for child in (drawn if box is None else box) if child.tag in names.BLOCKS]
    return [*blocks, *_alternatives(drawn)]


def _plain(block: etree._Element) -> etree._Element:
    """A block whose headings are paragraphs: the text outside of it goes on in its own section."""
    for heading in list(block.iter(names.H)):
        heading.tag = names.P
    return block


def _comment(annotation: etree._Element) -> list[etree._Element]:
    blocks = [child for child in annotation if child.tag in names.BLOCKS and "".join(child.itertext()).strip()]
    author = (annotation.findtext(f"{{{names.DUBLIN_CORE}}}creator") or "").strip()
    prefix = f"Comment by {author}: " if author else "Comment: "
    if blocks and blocks[0].tag == names.P:
        blocks[0].text = prefix + (blocks[0].text or "")
    elif blocks:
        blocks.insert(0, _paragraph(prefix))
    return blocks


def _alternatives(element: etree._Element, tags: tuple[str, ...] = names.ALTERNATIVES) -> list[etree._Element]:
    """The title and the description that stand for an element, taken from it."""
    found = [child for child in element if child.tag in tags]
    for child in found:
        element.remove(child)
    return [_paragraph(child.text) for child in found if (child.text or "").strip()]


def _paragraph(text: str) -> etree._Element:
    paragraph = etree.Element(names.P)
    paragraph.text = text
    return paragraph


def _anchor(element: etree._Element) -> etree._Element:
    """What the text of an element is put after: its paragraph, or what it is drawn in, or itself."""
    paragraph = next(element.iterancestors(*names.PARAGRAPHS), None)
    return paragraph if paragraph is not None else [element, *element.iterancestors(*names.DRAWN)][-1]


def _remove(element: etree._Element) -> None:
    """Removes an element, and not the text after it."""
    parent, before = element.getparent(), element.getprevious()
    if before is not None:
        before.tail = (before.tail or "") + (element.tail or "")
    else:
        parent.text = (parent.text or "") + (element.tail or "")
    parent.remove(element)


def _id(element: etree._Element, namespace: str) -> str | None:
    name: str | None = element.get(f"{{{namespace}}}id", element.get(f"{{{XML}}}id"))
    return name
