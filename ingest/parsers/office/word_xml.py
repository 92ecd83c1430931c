"""Writes out what a Word file says outside the runs and tables that python-docx looks into.

Content controls, tracked insertions and the like are taken off their content; text boxes, charts, diagrams and the
descriptions of pictures become paragraphs after the one that holds them; footnotes, endnotes and comments after the
paragraph or table that refers to them. A file with none of these stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from lxml import etree

from ingest.parsers.office.drawing_text import choose_alternatives, description, drawn_elsewhere, splice
from ingest.parsers.office.open_xml import R_ID, Element, Package
from ingest.parsers.office.word_runs import W, paragraph, run, write_out_marks

_PICTURE_PROPERTIES = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}docPr"
_VML = "{urn:schemas-microsoft-com:vml}"
_P, _TABLE, _BREAK = f"{W}p", f"{W}tbl", f"{W}br"
_PAGE = f"{W}lastRenderedPageBreak"
_DRAWINGS = (f"{W}drawing", f"{W}pict", f"{W}object")
_BOX = f"{W}txbxContent"
#: Elements around what is shown. A tag is a mark, without content, where it stands among properties.
_WRAPPERS = tuple(
    f"{W}{name}" for name in ("sdt", "ins", "moveTo", "fldSimple", "smartTag", "customXml", "dir", "bdo", "sdtContent")
)
_GONE = (f"{W}del", f"{W}moveFrom")
#: What has to be in a part for it to be rewritten.
_NAMES = (
    b"sdt ins del moveTo moveFrom fldSimple smartTag customXml dir bdo AlternateContent txbxContent sym ruby ffData "
    b"oMath chart relIds textpath altChunk footnoteReference endnoteReference commentReference pageBreakBefore"
)
_CONSTRUCTS = re.compile(
    rb"<(?:\w+:)?(?:" + rb"|".join(_NAMES.split()) + rb")[\s/>]|type=[\"']page[\"']|\s(?:descr|alt)=[\"'][^\"']"
)
#: Each kind of note: its part, its element, and the mark that refers to it.
_NOTES = (("footnotes", "footnote"), ("endnotes", "endnote"), ("comments", "comment"))
_STORIES = ("header", "footer")


def write_out(package: Package, read_file: Callable[[str], list[str]]) -> None:
    """Puts the parts into the package as python-docx can read them.

    Args:
        read_file: the paragraphs of a file of another type that is a part of the document, by its part's name.

    Raises:
        SyntaxError, and what `Package.read` raises: a part is broken.
    """
    main = package.main
    notes = _Notes(package, main)
    for name in (main, *(target for kind in _STORIES for target in package.related(main, kind))):
        data = package.read(name)
        if _CONSTRUCTS.search(data) or package.not_read:
            root = package.tree(name)
            _Story(package, name, root, notes).write_out()
            if name == main:
                _put_in_files(package, main, root, read_file)
                _divide_into_pages(root)
                notes.add_rest(root)
            package.put(name, etree.tostring(root, encoding="UTF-8", xml_declaration=True, standalone=True))


def simplify(root: Element) -> None:
    """Leaves paragraphs, tables and runs: nothing around them, nothing deleted, nothing twice, and marks as text."""
    choose_alternatives(root)
    for element in list(root.iter(*_GONE)):
        parent = element.getparent()
        # Among a row's properties it says that the row is deleted.
        splice(parent.getparent() if parent is not None and parent.tag == f"{W}trPr" else element, [])
    for element in list(root.iter(*_WRAPPERS)):
        splice(element, [child for child in element if not str(child.tag).endswith("Pr")])
    write_out_marks(root)


class _Story:
    """One part with paragraphs: the document, a header, a footer."""

    def __init__(self, package: Package, name: str, root: Element, notes: _Notes) -> None:
        self._package = package
        self._name = name
        self._root = root
        self._notes = notes
        #: The last element that was put after one.
        self._last: dict[Element, Element] = {}

    def write_out(self) -> None:
        simplify(self._root)
        for drawing in list(self._root.iter(*_DRAWINGS)):
            holder = next(drawing.iterancestors(_P), None)
            if holder is not None:
                self._put_after(holder, [*_boxes(drawing), *map(paragraph, self._lines(drawing))])
        for mark in list(self._root.iter(*(f"{W}{name}Reference" for _, name in _NOTES))):
            block = _block(mark)
            if block is not None:
                self._put_after(block, map(paragraph, self._notes.lines(mark)))
        self._drop_dangling()

    def _put_after(self, block: Element, elements: Iterator[Element] | list[Element]) -> None:
        for element in elements:
            before: Element = self._last.get(block, block)
            before.addnext(element)
            self._last[block] = element

    def _lines(self, drawing: Element) -> Iterator[str]:
        """What a drawing says beside its text boxes."""
        for shape in drawing.iter(f"{_VML}textpath"):
            yield shape.get("string") or ""
        texts = [item.get("descr") for item in drawing.iter(_PICTURE_PROPERTIES)]
        texts += [item.get("alt") for item in drawing.iter(f"{_VML}shape")]
        yield from (line for line in dict.fromkeys(map(description, texts)) if line)
        yield from drawn_elsewhere(self._package, self._name, drawing)

    def _drop_dangling(self) -> None:
        """Headers and footers that are broken were taken out; the document still names them."""
        known = {link.id for link in self._package.relationships(self._name)}
        for kind in _STORIES:
            for mark in list(self._root.iter(f"{W}{kind}Reference")):
                if not known & set(mark.attrib.values()):
                    splice(mark, [])


class _Notes:
    """Footnotes, endnotes and comments: each is given out once."""

    def __init__(self, package: Package, main: str) -> None:
        self._notes: dict[tuple[str, str], Element] = {}
        self._count = {name: 0 for _, name in _NOTES}
        for kind, name in _NOTES:
            for part in package.related(main, kind):
                root = package.tree(part)
                simplify(root)
                # Those with a type are the lines above the notes.
                found = (note for note in root.iter(f"{W}{name}") if note.get(f"{W}type", "normal") == "normal")
                self._notes |= {(name, note.get(f"{W}id") or ""): note for note in found}

    def lines(self, mark: Element) -> list[str]:
        """The paragraphs of the note that a mark refers to."""
        name = mark.tag.removeprefix(W).removesuffix("Reference")
        note = self._notes.pop((name, mark.get(f"{W}id") or ""), None)
        if note is None:
            return []
        self._count[name] += 1
        return _note_lines(name, self._count[name], note)

    def add_rest(self, root: Element) -> None:
        """Appends the comments that nothing refers to any more: what they were about was deleted."""
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
    """The text of paragraphs, divided by empty lines."""
    marks = {_P: "\n\n", _BREAK: "\n", f"{W}cr": "\n", f"{W}tab": "\t", f"{W}noBreakHyphen": "-"}
    found = element.iter(f"{W}t", *marks)
    return "".join(item.text or "" if item.tag == f"{W}t" else marks[item.tag] for item in found)


def _boxes(drawing: Element) -> list[Element]:
    """The paragraphs and tables of the text boxes of a drawing; those of drawings in it are their own."""
    own = [box for box in drawing.iter(_BOX) if next(box.iterancestors(*_DRAWINGS)) is drawing]
    return [block for box in own for block in list(box) if block.tag in (_P, _TABLE)]


def _block(mark: Element) -> Element | None:
    """The outermost paragraph or table that holds a mark."""
    block = None
    for ancestor in mark.iterancestors(_P, _TABLE):
        block = ancestor
    return block


def _put_in_files(package: Package, main: str, root: Element, read_file: Callable[[str], list[str]]) -> None:
    """Puts the text of files in the place where Word would import them as it opens the document."""
    targets = {link.id: link.target for link in package.relationships(main)}
    for mark in list(root.iter(f"{W}altChunk")):
        target = targets.get(mark.get(R_ID) or "")
        splice(mark, [paragraph(line) for line in read_file(target)] if target is not None else [])


def _divide_into_pages(root: Element) -> None:
    """Marks the pages that the author began, in a file whose program noted down none as it showed them."""
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
            splice(mark, [etree.Element(_PAGE)])
