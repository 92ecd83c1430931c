"""The text of slides: shapes, tables, charts, diagrams, picture descriptions, notes and comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ingest.parsed_document import DocumentBuilder, ElementKind
from ingest.parsers.office.drawing_text import (
    choose_alternatives,
    linked_graphics,
    picture_description,
    pictures_text,
    shape_paragraphs,
)
from ingest.parsers.office.open_xml import Element, Package
from ingest.parsers.pictures import Pictures
from ingest.parsers.tables.cells import Row, SpanGrid, span_of
from ingest.parsers.tables.records import table_parts

_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
#: The namespace of modern comments (2018), which can have replies.
_P188 = "{http://schemas.microsoft.com/office/powerpoint/2018/8/main}"
_SHAPES = f"{_P}cSld/{_P}spTree/*"
_GROUP = f"{_P}grpSp"
#: Placeholders on a notes page that are not the notes.
_OTHER_PLACEHOLDERS = frozenset(("sldImg", "hdr", "ftr", "dt", "sldNum"))


class SlideText:
    """Appends slides to a document, each slide as a page and a section."""

    def __init__(self, package: Package, builder: DocumentBuilder, pictures: Pictures) -> None:
        self._package = package
        self._pictures = pictures
        self._builder = builder
        self._authors: dict[str, str] | None = None
        #: Whether any slide has text, apart from the heading `Slide N` of slides without a title.
        self.has_text = False
        self._hidden: list[int] = []

    @property
    def properties(self) -> dict[str, str]:
        """The property that names the hidden slides, if there are any. They are read like the others."""
        return {"hidden_slides": ", ".join(map(str, self._hidden))} if self._hidden else {}

    def add(self, slide: Any, number: int) -> None:
        """Append a python-pptx slide.

        Raises:
            SyntaxError: If one of its parts is not well-formed XML.
            Exception: As `Package.read`, if one of its parts is broken.
        """
        # python-pptx ignores shapes inside `AlternateContent`.
        choose_alternatives(slide.element)
        if slide.element.get("show") in ("0", "false"):
            self._hidden.append(number)
        part = str(slide.part.partname).lstrip("/")
        shape = slide.shapes.title
        title = shape.element if shape is not None and shape.has_text_frame else None
        name = "" if title is None or _is_hidden(title) else "\n".join(shape_paragraphs(title))
        self._builder.add(ElementKind.HEADING, name or f"Slide {number}", page=number)
        length = self._builder.length
        for element in slide.element.iterfind(_SHAPES):
            if element is not title:
                self._add_shape(element, part, number)
        if slide.has_notes_slide:
            self._add_notes(slide.notes_slide.element, number)
        for line in self._comments(part):
            self._builder.add(ElementKind.PARAGRAPH, line, page=number)
        self.has_text |= bool(name.strip()) or self._builder.length > length

    def _add_shape(self, element: Element, part: str, page: int) -> None:
        if _is_hidden(element):
            return
        table = next(element.iter(f"{_A}tbl"), None) if element.tag != _GROUP else None
        if element.tag == _GROUP:
            for inner in element:
                self._add_shape(inner, part, page)
        elif table is not None:
            for table_part in table_parts(_rows(table)):
                self._builder.add(table_part.kind, table_part.text, page=page)
        else:
            for line in (
                *shape_paragraphs(element),
                *linked_graphics(self._package, part, element),
                *_embedded_objects(element),
            ):
                self._builder.add(ElementKind.PARAGRAPH, line, page=page)
        self._builder.add(ElementKind.PARAGRAPH, _description_of(element), page=page)
        for line in pictures_text(self._package, part, element, self._pictures) if element.tag != _GROUP else ():
            self._builder.add(ElementKind.PARAGRAPH, line, page=page)

    def _add_notes(self, notes: Element, page: int) -> None:
        choose_alternatives(notes)
        for element in notes.iterfind(_SHAPES):
            kinds = {placeholder.get("type") for placeholder in element.iter(f"{_P}ph")}
            if not kinds & _OTHER_PLACEHOLDERS:
                self._builder.add(ElementKind.PARAGRAPH, "\n".join(shape_paragraphs(element)), page=page)

    def _comments(self, part: str) -> Iterator[str]:
        for name in self._package.related(part, "comments"):
            for comment in self._package.tree(name).iter(f"{_P}cm", f"{_P188}cm", f"{_P188}reply"):
                body = comment.find(f"{_P188}txBody")
                text = "\n".join(shape_paragraphs(body)) if body is not None else comment.findtext(f"{_P}text") or ""
                author = self._author(comment.get("authorId") or "")
                if text.strip():
                    yield f"Comment by {author}: {text}" if author else f"Comment: {text}"

    def _author(self, key: str) -> str:
        if self._authors is None:
            main = self._package.main
            names = [*self._package.related(main, "commentAuthors"), *self._package.related(main, "authors")]
            self._authors = {
                author.get("id") or "": (author.get("name") or "").strip()
                for name in names
                for author in self._package.tree(name).iter(f"{_P}cmAuthor", f"{_P188}author")
            }
        return self._authors.get(key, "")


def _rows(table: Element) -> list[Row]:
    properties = table.find(f"{_A}tblPr")
    has_header = properties is not None and properties.get("firstRow") in ("1", "true")
    grid = SpanGrid()
    for number, row in enumerate(table.iterfind(f"{_A}tr")):
        grid.begin_row()
        for cell in row.iterfind(f"{_A}tc"):
            # The cells that a merged one covers are also in the file.
            if not _is_covered(cell):
                text = "\n".join(shape_paragraphs(cell))
                columns, rows = span_of(cell.get("gridSpan")), span_of(cell.get("rowSpan"))
                grid.add(text, columns=columns, rows=rows, is_header=has_header and number == 0)
    return grid.finish()


def _is_covered(cell: Element) -> bool:
    return any(cell.get(name) in ("1", "true") for name in ("hMerge", "vMerge"))


def _embedded_objects(element: Element) -> Iterator[str]:
    """Yield a line with the name of each embedded file; the files themselves are not read."""
    for item in element.iter(f"{_P}oleObj"):
        names = [name for name in (item.get("name"), item.get("progId")) if name]
        yield f"Embedded object: {', '.join(names)}" if names else ""


def _is_hidden(element: Element) -> bool:
    """Return whether a shape is switched off in the list of the slide's objects."""
    properties = element.find(f"*/{_P}cNvPr")
    return properties is not None and properties.get("hidden") in ("1", "true")


def _description_of(element: Element) -> str:
    properties = next(element.iter(f"{_P}cNvPr"), None)
    return "" if properties is None else picture_description(properties.get("descr"))
