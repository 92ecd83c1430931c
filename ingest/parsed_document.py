"""What a file becomes: its text with the elements found in it, and the chunks cut from them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from core.errors import DocumentRejected

#: Between the headings of a section's path.
SECTION_SEPARATOR = " > "
#: Headings longer than this are cut in a section's path, which is repeated in every chunk of the section.
MAX_HEADING_CHARACTERS = 120

#: More text than any document has, and as much as fits the memory of a parsing process with its chunks.
MAX_TEXT_CHARACTERS = 50_000_000

#: Control characters and lone surrogates: no reader sees them, and JSON, SQL or UTF-8 would refuse some.
#: Vertical tab, form feed, and the separators of files, groups, records and units.
_DIVIDERS = {0x0B: "\n", 0x0C: "\n", **dict.fromkeys(range(0x1C, 0x20), " ")}
_UNREADABLE = re.compile("[\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")


class ElementKind(StrEnum):
    """What a stretch of text is in its document."""

    TITLE = "title"
    HEADING = "heading"
    PARAGRAPH = "paragraph"
    LIST_ITEM = "list_item"
    TABLE = "table"
    CODE = "code"

    @property
    def is_heading(self) -> bool:
        """It opens a section."""
        return self in (ElementKind.TITLE, ElementKind.HEADING)

    @property
    def is_lines(self) -> bool:
        """It may only be divided at the ends of its lines, not at the ends of sentences."""
        return self in (ElementKind.TABLE, ElementKind.CODE)


@dataclass(frozen=True, slots=True)
class Element:
    """A stretch of a document's text: `document.text[start:end] == text`."""

    text: str
    kind: ElementKind
    start: int
    end: int
    #: Counted from 1; None where the format has no pages.
    page: int | None = None
    #: Headings above it, outermost first, joined by `SECTION_SEPARATOR`; a heading's own path includes it.
    section: str | None = None


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """The text of a file. Elements are in order and do not overlap; what lies between them is white space."""

    text: str
    elements: Sequence[Element]
    media_type: str
    metadata: dict[str, str] = field(default_factory=dict)


class Chunk(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is embedded and found: `document.text[start:end] == text`."""

    index: int
    text: str
    start: int
    end: int
    content_hash: str
    page: int | None = None
    section: str | None = None


def content_hash_of(text: str) -> str:
    """SHA-256 of the text, in hex: equal text is embedded once."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_length(characters: int) -> None:
    """Refuses a text that is too long: a small file can become one.

    Raises:
        DocumentRejected: it is.
    """
    if characters > MAX_TEXT_CHARACTERS:
        raise DocumentRejected(
            f"It has more than {MAX_TEXT_CHARACTERS} characters of text. Divide it into several files."
        )


def readable(text: str) -> str:
    """The text with `\\n` line ends and without control characters; those that divide words or lines still do."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return _UNREADABLE.sub("", lines.translate(_DIVIDERS))


class SectionPath:
    """The headings that the reader of a document is under."""

    def __init__(self) -> None:
        self._headings: list[tuple[int, str]] = []

    def enter(self, title: str, level: int) -> None:
        """A heading: it closes those of its level and below. The outermost level is 0."""
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        words = " ".join(title.split())
        self._headings.append((level, words[:MAX_HEADING_CHARACTERS]))

    def __str__(self) -> str:
        return SECTION_SEPARATOR.join(title for _, title in self._headings)

    @property
    def current(self) -> str | None:
        """The path, or None above the first heading."""
        return str(self) or None


class DocumentBuilder:
    """Puts a document's text together from its elements, for formats whose source is not their text."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._elements: list[Element] = []
        self._sections = SectionPath()
        self._length = 0

    def add(self, kind: ElementKind, text: str, *, page: int | None = None, level: int = 0) -> None:
        """Appends an element; one without text is left out. `level` is that of a heading."""
        text = readable(text).strip() if not kind.is_lines else readable(text).strip("\n").rstrip()
        if not text.strip():
            return
        if kind.is_heading:
            self._sections.enter(text, level)
        self._separate(kind)
        start = self._length
        self._append(text)
        self._elements.append(Element(text, kind, start, self._length, page, self._sections.current))

    def add_document(self, document: ParsedDocument, *, level: int, has_pages: bool = False) -> None:
        """Appends the elements of a document that lies within this one; its outermost headings become of this level.

        Where this one `has_pages` itself, those of the inner one are left out: they would pass for its own.
        """
        for element in document.elements:
            depth = (element.section or "").count(SECTION_SEPARATOR) if element.kind.is_heading else 0
            page = None if has_pages else element.page
            self.add(element.kind, element.text, page=page, level=level + depth)

    @property
    def length(self) -> int:
        """In characters, up to now."""
        return self._length

    def build(self, media_type: str, **metadata: str) -> ParsedDocument:
        """The document."""
        return ParsedDocument("".join(self._parts), tuple(self._elements), media_type, metadata)

    def _separate(self, kind: ElementKind) -> None:
        if self._elements:
            list_goes_on = kind == self._elements[-1].kind == ElementKind.LIST_ITEM
            self._append("\n" if list_goes_on else "\n\n")

    def _append(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
        check_length(self._length)


class SpanBuilder:
    """Marks the elements of a text that stays as it is, for formats whose source is their text."""

    def __init__(self, text: str) -> None:
        check_length(len(text))
        self._text = text
        self._elements: list[Element] = []
        self._sections = SectionPath()
        self._end = 0

    def add(self, kind: ElementKind, start: int, end: int, *, level: int = 0, title: str | None = None) -> None:
        """Marks `text[start:end]`; spans come in order. What no span names becomes a paragraph, so nothing is lost."""
        if start > self._end:
            self._mark(ElementKind.PARAGRAPH, self._end, start)
        start = max(start, self._end)
        if kind.is_heading and start < end:
            self._sections.enter(title if title is not None else self._text[start:end], level)
        self._mark(kind, start, end)

    def build(self, media_type: str, **metadata: str) -> ParsedDocument:
        """The document."""
        if self._end < len(self._text):
            self._mark(ElementKind.PARAGRAPH, self._end, len(self._text))
        return ParsedDocument(self._text, tuple(self._elements), media_type, metadata)

    def _mark(self, kind: ElementKind, start: int, end: int) -> None:
        self._end = max(self._end, end)
        body = self._text[start:end]
        if not body.strip():
            return
        # Code keeps the indentation of its first line.
        left = len(body) - len(body.lstrip("\n" if kind.is_lines else None))
        text = body[left:].rstrip()
        start += left
        self._elements.append(Element(text, kind, start, start + len(text), None, self._sections.current))
