"""Expands the text of a Word file that python-docx does not read into plain paragraphs and runs.

Content controls, tracked insertions and similar wrappers are replaced by their content. Text boxes, charts, diagrams
and picture descriptions become paragraphs after the paragraph that holds them; footnotes, endnotes and comments become
paragraphs after the paragraph or table that refers to them. Hidden runs lose their text, and struck-out and raised
ones get marks. A file with none of these is not changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lxml import etree

from ingest.parsers.office.drawing_text import (
    choose_alternatives,
    linked_graphics,
    picture_description,
    pictures_text,
    replace_element,
)
from ingest.parsers.office.open_xml import R_ID, Element, Package
from ingest.parsers.office.word_looks import RunLooks
from ingest.parsers.office.word_runs import W, paragraph, replace_marks, run
from ingest.parsers.pictures import Pictures

_PICTURE_PROPERTIES = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}docPr"
_VML = "{urn:schemas-microsoft-com:vml}"
_P, _TABLE, _BREAK = f"{W}p", f"{W}tbl", f"{W}br"
_PAGE = f"{W}lastRenderedPageBreak"
_DRAWINGS = (f"{W}drawing", f"{W}pict", f"{W}object")
_BOX = f"{W}txbxContent"
#: Wrappers around visible content. Among properties, the same tags are marks without content.
_WRAPPERS = tuple(
    f"{W}{name}" for name in ("sdt", "ins", "moveTo", "fldSimple", "smartTag", "customXml", "dir", "bdo", "sdtContent")
)
_DELETED = (f"{W}del", f"{W}moveFrom")
#: The elements that cause a part to be rewritten.
_CONSTRUCT_NAMES = (
    b"sdt ins del moveTo moveFrom fldSimple smartTag customXml dir bdo AlternateContent txbxContent sym ruby ffData "
    b"oMath chart relIds textpath altChunk footnoteReference endnoteReference commentReference pageBreakBefore"
)
_CONSTRUCTS = re.compile(
    rb"<(?:\w+:)?(?:" + rb"|".join(_CONSTRUCT_NAMES.split()) + rb")[\s/>]"
    rb"|type=[\"']page[\"']|\s(?:descr|alt)=[\"'][^\"']"
)
#: Each kind of note: the kind of its part, and the name of its element.
_NOTES = (("footnotes", "footnote"), ("endnotes", "endnote"), ("comments", "comment"))
_HEADERS_AND_FOOTERS = ("header", "footer")


def expand_document(package: Package, read_file: Callable[[str], list[str]], pictures: Pictures) -> None:
    """Rewrite the document, header and footer parts so that python-docx reads all their text.

    Args:
        package: The package, which is changed.
        read_file: A function that returns the paragraphs of an imported file, given the name of its part.
        pictures: Reads the pictures of the document.

    Raises:
        SyntaxError: If a part is not well-formed XML.
        Exception: As `Package.read`, if a part is broken.
    """
    main = package.main
    looks = RunLooks(package, main)
    notes = _Notes(package, main, looks)
    for name in (main, *(target for kind in _HEADERS_AND_FOOTERS for target in package.related(main, kind))):
        data = package.read(name)
        has_pictures = (b":blip" in data or b":imagedata" in data) and pictures.are_read
        if _CONSTRUCTS.search(data) or package.not_read or has_pictures or looks.matter_in(data):
            root = package.tree(name)
            _Story(package, name, root, notes, pictures).expand(looks)
            if name == main:
                _insert_alt_chunks(package, main, root, read_file)
                _mark_page_breaks(root)
                notes.add_unreferenced_comments(root)
            package.put(name, etree.tostring(root, encoding="UTF-8", xml_declaration=True, standalone=True))


def _simplify(root: Element, looks: RunLooks) -> None:
    """Reduce a part to paragraphs, tables and runs, without wrappers, deletions or duplicates, with marks as text."""
    choose_alternatives(root)
    for element in list(root.iter(*_DELETED)):
        parent = element.getparent()
        # Among the properties of a row, the mark means that the whole row is deleted.
        replace_element(parent.getparent() if parent is not None and parent.tag == f"{W}trPr" else element, [])
    for element in list(root.iter(*_WRAPPERS)):
        replace_element(element, [child for child in element if not str(child.tag).endswith("Pr")])
    replace_marks(root)
    looks.apply(root)


class _Story:
    """A part with paragraphs: the document, a header or a footer."""

    def __init__(self, package: Package, name: str, root: Element, notes: _Notes, pictures: Pictures) -> None:
        self._package = package
        self._pictures = pictures
        self._name = name
        self._root = root
        self._notes = notes
        #: The last element that was inserted after each block.
        self._last_inserted: dict[Element, Element] = {}

    def expand(self, looks: RunLooks) -> None:
        _simplify(self._root, looks)
        for drawing in list(self._root.iter(*_DRAWINGS)):
            holder = next(drawing.iterancestors(_P), None)
            if holder is not None:
                self._insert_after(holder, [*_text_box_blocks(drawing), *map(paragraph, self._lines(drawing))])
        for mark in list(self._root.iter(*(f"{W}{name}Reference" for _, name in _NOTES))):
            block = _outermost_block(mark)
            if block is not None:
                self._insert_after(block, map(paragraph, self._notes.lines(mark)))
        self._drop_dangling_references()

    def _insert_after(self, block: Element, elements: Iterator[Element] | list[Element]) -> None:
        for element in elements:
            before: Element = self._last_inserted.get(block, block)
            before.addnext(element)
            self._last_inserted[block] = element

    def _lines(self, drawing: Element) -> Iterator[str]:
        """Yield the lines of text of a drawing, apart from its text boxes."""
        for shape in drawing.iter(f"{_VML}textpath"):
            yield shape.get("string") or ""
        texts = [item.get("descr") for item in drawing.iter(_PICTURE_PROPERTIES)]
        texts += [item.get("alt") for item in drawing.iter(f"{_VML}shape")]
        yield from (line for line in dict.fromkeys(map(picture_description, texts)) if line)
        yield from linked_graphics(self._package, self._name, drawing)
        yield from pictures_text(self._package, self._name, drawing, self._pictures)

    def _drop_dangling_references(self) -> None:
        """Remove references to broken headers and footers, which were dropped from the package."""
        known = {link.id for link in self._package.relationships(self._name)}
        for kind in _HEADERS_AND_FOOTERS:
            for mark in list(self._root.iter(f"{W}{kind}Reference")):
                if not known & set(mark.attrib.values()):
                    replace_element(mark, [])


class _Notes:
    """The footnotes, endnotes and comments; each is returned once."""

    def __init__(self, package: Package, main: str, looks: RunLooks) -> None:
        self._notes: dict[tuple[str, str], Element] = {}
        self._count = {name: 0 for _, name in _NOTES}
        for kind, name in _NOTES:
            for part in package.related(main, kind):
                root = package.tree(part)
                _simplify(root, looks)
                # Notes of another type are the separator lines above the notes.
                found = (note for note in root.iter(f"{W}{name}") if note.get(f"{W}type", "normal") == "normal")
                self._notes |= {(name, note.get(f"{W}id") or ""): note for note in found}

    def lines(self, mark: Element) -> list[str]:
        """Return the paragraphs of the note that a reference mark refers to, if they were not returned before."""
        name = mark.tag.removeprefix(W).removesuffix("Reference")
        note = self._notes.pop((name, mark.get(f"{W}id") or ""), None)
        if note is None:
            return []
        self._count[name] += 1
        return _note_lines(name, self._count[name], note)

    def add_unreferenced_comments(self, root: Element) -> None:
        """Append the comments that nothing refers to any more, because the text they were about was deleted."""
        body = root.find(f"{W}body")
        for (name, _), note in self._notes.items():
            if name == "comment" and body is not None:
                end = body.find(f"{W}sectPr")
                for line in map(paragraph, _note_lines(name, 0, note)):
                    body.append(line) if end is None else end.addprevious(line)


def _note_lines(name: str, number: int, note: Element) -> list[str]:
    author = (note.get(f"{W}author") or "").strip()
    label = f"[{name} {number}]" if name != "comment" else f"Comment by {author}:" if author else "Comment:"
    lines = [line.strip() for line in _text(note).split("\n\n")]
    lines = [line for line in lines if line]
    return [f"{label} {lines[0]}", *lines[1:]] if lines else []


def _text(element: Element) -> str:
    """Return the text of the paragraphs, separated by empty lines."""
    marks = {_P: "\n\n", _BREAK: "\n", f"{W}cr": "\n", f"{W}tab": "\t", f"{W}noBreakHyphen": "-"}
    found = element.iter(f"{W}t", *marks)
    return "".join(item.text or "" if item.tag == f"{W}t" else marks[item.tag] for item in found)


def _text_box_blocks(drawing: Element) -> list[Element]:
    """Return the blocks of a drawing's text boxes, without those of nested drawings, which are handled separately."""
    own = [box for box in drawing.iter(_BOX) if next(box.iterancestors(*_DRAWINGS)) is drawing]
    return [block for box in own for block in list(box) if block.tag in (_P, _TABLE)]


def _outermost_block(mark: Element) -> Element | None:
    """Return the outermost paragraph or table that contains a mark, or None if none does."""
    block = None
    for ancestor in mark.iterancestors(_P, _TABLE):
        block = ancestor
    return block


def _insert_alt_chunks(package: Package, main: str, root: Element, read_file: Callable[[str], list[str]]) -> None:
    """Insert the text of imported files at the positions at which Word would import them."""
    targets = {link.id: link.target for link in package.relationships(main)}
    for mark in list(root.iter(f"{W}altChunk")):
        target = targets.get(mark.get(R_ID) or "")
        replace_element(mark, [paragraph(line) for line in read_file(target)] if target is not None else [])


def _mark_page_breaks(root: Element) -> None:
    """Mark the author's page breaks as rendered page breaks, unless the file already records rendered ones."""
    if next(root.iter(_PAGE), None) is not None:
        return
    for block in list(root.iterfind(f"{W}body/{_P}"))[1:]:
        for before in block.iterfind(f"{W}pPr/{W}pageBreakBefore"):
            if before.get(f"{W}val", "1") not in ("0", "false", "off"):
                begin = run("")
                begin.append(etree.Element(_PAGE))
                before.getparent().addnext(begin)
    for mark in list(root.iterfind(f"{W}body/{_P}/{W}r/{_BREAK}")):
        if mark.get(f"{W}type") == "page":
            replace_element(mark, [etree.Element(_PAGE)])
