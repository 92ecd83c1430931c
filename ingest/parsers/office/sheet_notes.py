"""The text of an Excel sheet outside its cells: comments, shapes, charts, diagrams, descriptions of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

from ingest.parsers.office.drawing_text import (
    choose_alternatives,
    linked_graphics,
    picture_description,
    pictures_text,
    shape_paragraphs,
)
from ingest.parsers.office.open_xml import Element, Package
from ingest.parsers.pictures import Pictures

_S = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_XDR = "{http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing}"
_THREADED = "{http://schemas.microsoft.com/office/spreadsheetml/2018/threadedcomments}"


class SheetNotes:
    """Reads the comments and drawings of the sheets of a workbook."""

    def __init__(self, package: Package, pictures: Pictures) -> None:
        self._package = package
        self._pictures = pictures

    def lines(self, title: str, part: str) -> list[str]:
        """Return the lines of text of each comment, shape and chart of a sheet.

        Raises:
            SyntaxError: If one of its parts is not well-formed XML.
            Exception: As `Package.read`, if one of its parts is broken.
        """
        comments = (comment_line(title, *comment) for comment in self._comments(part))
        drawings = self._package.related(part, "drawing")
        return [*comments, *(line for name in drawings for line in self._drawing_lines(name))]

    def _comments(self, part: str) -> Iterator[tuple[str, str, str]]:
        """Yield the cell, the author and the text of each comment."""
        threaded = set()
        for name in self._package.related(part, "threadedComment"):
            for comment in self._package.tree(name).iter(f"{_THREADED}threadedComment"):
                cell, author = comment.get("ref") or "", self._persons.get(comment.get("personId") or "", "")
                threaded.add(cell)
                yield cell, author, comment.findtext(f"{_THREADED}text") or ""
        for name in self._package.related(part, "comments"):
            root = self._package.tree(name)
            authors = [author.text or "" for author in root.iter(f"{_S}author")]
            for comment in root.iter(f"{_S}comment"):
                # A thread is also stored as an ordinary comment with a placeholder text for older versions of Excel.
                if comment.get("ref") not in threaded:
                    number = int(comment.get("authorId") or 0)
                    author = authors[number] if number < len(authors) else ""
                    yield comment.get("ref") or "", author, _rich_text(comment)

    @cached_property
    def _persons(self) -> dict[str, str]:
        parts = self._package.related(self._package.main, "person")
        persons = (person for name in parts for person in self._package.tree(name).iter(f"{_THREADED}person"))
        return {person.get("id") or "": person.get("displayName") or "" for person in persons}

    def _drawing_lines(self, part: str) -> Iterator[str]:
        root = self._package.tree(part)
        choose_alternatives(root)
        for anchor in root:
            yield from shape_paragraphs(anchor)
            described = (picture_description(item.get("descr")) for item in anchor.iter(f"{_XDR}cNvPr"))
            yield from (line for line in described if line)
            # The values of the charts are already read from the cells.
            yield from linked_graphics(self._package, part, anchor, with_values=False)
            yield from pictures_text(self._package, part, anchor, self._pictures)


def comment_line(sheet: str, cell: str, author: str, text: str) -> str:
    """Return a comment as a line with its cell. The author's name that Excel puts before the text is removed."""
    author, text = author.strip(), text.removeprefix(f"{author}:").strip()
    return f"Comment on {sheet}!{cell} by {author}: {text}" if author else f"Comment on {sheet}!{cell}: {text}"


def _rich_text(comment: Element) -> str:
    """Return the text of a comment's runs, without phonetic readings."""
    runs = comment.iterfind(f"{_S}text/{_S}r/{_S}t")
    return "".join(item.text or "" for item in (*comment.iterfind(f"{_S}text/{_S}t"), *runs))
