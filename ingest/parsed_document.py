"""A parsed file: its text, the elements found in it, and the chunks cut from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath

import msgspec

from core.errors import DocumentRejected
from ingest.clean_text import clean_text

#: Joins the headings of a section's path.
SECTION_SEPARATOR = " > "
#: Longer headings are truncated in a section's path, because every chunk of the section repeats the path.
MAX_HEADING_CHARACTERS = 120

#: More text than real documents have; with its chunks, it still fits into the memory of a parsing process.
MAX_TEXT_CHARACTERS = 50_000_000

#: Types of files whose outermost headings name equal parts: sheets, or e-mails.
TYPES_OF_EQUAL_PARTS = frozenset(
    {
        "application/mbox",
        "application/vnd.ms-excel",
        "application/vnd.oasis.opendocument.spreadsheet",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    }
)
#: Titles that programs write when nobody has given one, and names of files.
_NO_TITLE = re.compile(
    r"^(?:untitled|unbenannt|no title"
    r"|(?:microsoft )?(?:word|powerpoint|excel|office) ?(?:-|(?:presentation|document|workbook)$)"
    r"|(?:document|presentation|slide|dokument|mappe|book|sheet|print|pdf) ?\d*$)"
    r"|\.(?:docx?|pptx?|xlsx?|odt|rtf|pdf|indd|tex|dvi|html?|txt)$",
    re.I,
)
#: The beginning of a heading that is one of several sections rather than a title.
_NUMBERED = re.compile(r"(?:\d{1,2}(?:\.\d+)*[.)]?|[IVX]+\.|[A-Z]\.|§)\s")


class ElementKind(StrEnum):
    """The role of an element in its document."""

    TITLE = "title"
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    TABLE = "table"
    CODE = "code"

    @property
    def is_heading(self) -> bool:
        """Whether the element opens a section."""
        return self in (ElementKind.TITLE, ElementKind.HEADING)

    @property
    def is_line_based(self) -> bool:
        """Whether the element may be split only at line ends, not at sentence ends."""
        return self in (ElementKind.TABLE, ElementKind.CODE)


@dataclass(frozen=True, slots=True)
class Element:
    """A span of a document's text: `document.text[start:end] == text`."""

    text: str
    kind: ElementKind
    start: int
    end: int
    #: Counted from 1; None where the format has no pages.
    page: int | None = None
    #: The headings above it, outermost first, joined by `SECTION_SEPARATOR`. A heading's own path includes it.
    section: str | None = None
    #: The page on which it ends, if that is a later one than `page`.
    last_page: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of a file. The elements are in order, do not overlap, and have only white space between them."""

    text: str
    elements: Sequence[Element]
    media_type: str
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The property `title`, or else the heading at the beginning of the document; empty if there is neither.

        The first heading of a workbook or a mailbox is none: it names the first of many equal parts.
        """
        named = _words_of(self.metadata.get("title", ""))
        if names_document(named):
            return named
        first = next((element for element in self.elements if element.kind is not ElementKind.CODE), None)
        if first is None or not first.kind.is_heading or self.media_type in TYPES_OF_EQUAL_PARTS:
            return ""
        name = (first.section or "").rpartition(SECTION_SEPARATOR)[2]
        return "" if _NUMBERED.match(name) else name


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """The unit of embedding and search, a span of the document: `document.text[start:end] == text`."""

    index: int
    text: str
    start: int
    end: int
    #: See `content_hash_of`.
    content_hash: str
    #: The page on which it begins.
    page: int | None = None
    section: str | None = None
    #: What the text is about, as far as the text itself does not say it: the title of the document, the headings above
    #: the chunk, and the column names of a table that began earlier. It is embedded and searched, but not quoted.
    header: str = ""
    last_page: int | None = None

    @property
    def searched_text(self) -> str:
        """The text that is embedded and that BM25 indexes, besides the names of the file."""
        return with_header(self.header, self.text)


def with_header(header: str, text: str) -> str:
    """Return a chunk's header and text as one text."""
    return f"{header}\n\n{text}" if header else text


def content_hash_of(text: str, header: str = "") -> str:
    """Return the SHA-256 of a chunk's header and text, in hex. Chunks with the same hash are embedded only once."""
    return hashlib.sha256(with_header(header, text).encode()).hexdigest()


def names_document(title: str) -> bool:
    """Return whether a title property is a title, not empty, the name of a file, or what a program writes for none."""
    return bool(title) and not _NO_TITLE.search(title)


def title_property(title: str | None, filename: str) -> dict[str, str]:
    """Return the title that a file has as a property, or nothing if it does not name the document.

    A title that is the name of the file says nothing more.
    """
    words = " ".join((title or "").split())
    is_filename = words.casefold() in (filename.casefold(), PurePosixPath(filename).stem.casefold())
    return {"title": words} if names_document(words) and not is_filename else {}


def _words_of(title: str) -> str:
    return " ".join(title.split())[:MAX_HEADING_CHARACTERS]


def check_length(characters: int) -> None:
    """Refuse a text that is too long. Even a small file can expand to one.

    Raises:
        DocumentRejected: If it has more than `MAX_TEXT_CHARACTERS`.
    """
    if characters > MAX_TEXT_CHARACTERS:
        raise DocumentRejected(
            f"It has more than {MAX_TEXT_CHARACTERS} characters of text. Divide it into several files."
        )


class SectionPath:
    """The headings above the current position while a document is built."""

    def __init__(self) -> None:
        self._headings: list[tuple[int, str]] = []
        self._path = ""

    def enter(self, title: str, level: int) -> None:
        """Enter a heading, which ends the sections of its own and deeper levels. The outermost level is 0."""
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        words = " ".join(title.split())
        self._headings.append((level, words[:MAX_HEADING_CHARACTERS]))
        self._path = SECTION_SEPARATOR.join(title for _, title in self._headings)

    def __str__(self) -> str:
        return self._path

    @property
    def current(self) -> str | None:
        """The path, or None above the first heading."""
        return self._path or None


class DocumentBuilder:
    """Builds a document's text from its elements, for formats whose source is not itself the text."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._elements: list[Element] = []
        self._sections = SectionPath()
        self._length = 0

    def add(
        self, kind: ElementKind, text: str, *, page: int | None = None, level: int = 0, last_page: int | None = None
    ) -> None:
        """Append an element, or nothing if it has no text. `level` is the level of a heading."""
        text = clean_text(text).strip() if not kind.is_line_based else clean_text(text).strip("\n").rstrip()
        if not text.strip():
            return
        if kind.is_heading:
            self._sections.enter(text, level)
        self._separate(kind)
        start = self._length
        self._append(text)
        section = self._sections.current
        self._elements.append(Element(text, kind, start, self._length, page, section, last_page))

    def add_document(self, document: ParsedDocument, *, level: int, has_pages: bool = False) -> None:
        """Append the elements of an embedded document, such as an attachment.

        Args:
            document: The embedded document.
            level: The level that its outermost headings get.
            has_pages: Whether the outer document has pages. The page numbers of the embedded document are then dropped,
                because they would look like page numbers of the outer one.
        """
        for element in document.elements:
            depth = (element.section or "").count(SECTION_SEPARATOR) if element.kind.is_heading else 0
            page, last_page = (None, None) if has_pages else (element.page, element.last_page)
            self.add(element.kind, element.text, page=page, level=level + depth, last_page=last_page)

    @property
    def length(self) -> int:
        """The length of the text so far, in characters."""
        return self._length

    def build(self, media_type: str, **metadata: str) -> ParsedDocument:
        """Return the document."""
        return ParsedDocument("".join(self._parts), tuple(self._elements), media_type, metadata)

    def _separate(self, kind: ElementKind) -> None:
        if self._elements:
            continues_list = kind == self._elements[-1].kind == ElementKind.LIST_ITEM
            self._append("\n" if continues_list else "\n\n")

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
        check_length(self._length)


class SpanBuilder:
    """Marks the elements in an unchanged text, for formats whose source is itself the text."""

    def __init__(self, text: str) -> None:
        check_length(len(text))
        self._text = text
        self._elements: list[Element] = []
        self._sections = SectionPath()
        self._end = 0

    def add(self, kind: ElementKind, start: int, end: int, *, level: int = 0, title: str | None = None) -> None:
        """Mark `text[start:end]` as an element. Spans must come in order.

        Text between two spans becomes a paragraph, so that nothing is lost.
        """
        if start > self._end:
            self._mark(ElementKind.PARAGRAPH, self._end, start)
        start = max(start, self._end)
        if kind.is_heading and start < end:
            self._sections.enter(title if title is not None else self._text[start:end], level)
        self._mark(kind, start, end)

    def build(self, media_type: str, **metadata: str) -> ParsedDocument:
        """Return the document."""
        if self._end < len(self._text):
            self._mark(ElementKind.PARAGRAPH, self._end, len(self._text))
        return ParsedDocument(self._text, tuple(self._elements), media_type, metadata)

    def _mark(self, kind: ElementKind, start: int, end: int) -> None:
        self._end = max(self._end, end)
        body = self._text[start:end].rstrip()
        # Code and tables keep the indentation of their first line.
        text = body.lstrip("\n" if kind.is_line_based else None)
        if not text:
            return
        start += len(body) - len(text)
        self._elements.append(Element(text, kind, start, start + len(text), None, self._sections.current))
