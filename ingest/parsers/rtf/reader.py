"""Reads rich text: what its groups are, and what its control words say about the text between them."""

from __future__ import annotations

import re
from collections.abc import Callable

from ingest.parsed_document import ElementKind
from ingest.parsers.rtf import charsets as rtf_charsets
from ingest.parsers.rtf.fields import Field
from ingest.parsers.rtf.story import Block, Markup, Story, Tags, Target, Words
from ingest.parsers.rtf.tokens import TokenReader
from ingest.parsers.rtf.words import LEFT_OUT, WITH_TEXT

_STYLE = re.compile(r"\{\\s(\d{1,5})(?!\d)")
_OUTLINE = re.compile(r"\\outlinelevel(\d)")
_HEADING_NAME = re.compile(r"(?<![A-Za-z])heading ([1-9]);?\s*$", re.I)
_TITLE_NAME = re.compile(r"(?<![A-Za-z])title;?\s*$", re.I)
#: Paragraphs have outline levels 0 to 8; 9 is that of the text.
_HEADING_LEVELS = 9
_PAGE_FIELDS = frozenset(("PAGE", "NUMPAGES", "SECTIONPAGES"))
#: A header or footer that is nothing else.
_PAGE_NUMBER = re.compile(r"\W*\d+\W*(?:\d+\W*)?")
#: Footnotes of footnotes of …: the text of deeper ones goes on where it stands.
_DEEPEST_STORY = 16
#: Properties of shapes and pictures that a reader sees: lettering, and what a picture shows.
_TEXT_PROPERTIES = frozenset(("gtextUNICODE", "wzDescription"))


class Reader(TokenReader):
    """Reads one rich text.

    Args:
        text: the file, each byte as the character of its number.
        with_html: read the HTML that it holds, if it does.
    """

    def __init__(self, text: str, *, with_html: bool = True) -> None:
        self._body = Story(has_headings=True)
        super().__init__(text, self._body)
        self._with_html = with_html
        #: The HTML that the text holds.
        self.page: Markup | None = None
        self._headers: dict[str, Block] = {}
        self._footers: dict[str, Block] = {}
        #: Heading levels by style; 0 is a title.
        self._levels: dict[int, int] = {}
        self._author = ""
        self._property = ""
        self._boxes = 0
        self._page_numbers = 0

    def blocks(self) -> list[Block]:
        """Headers, what the pages say, and footers."""
        return [*self._headers.values(), *self._body.finish(), *self._footers.values()]

    def open_group(self, word: str, *, is_optional: bool) -> bool:
        opening = _DESTINATIONS.get(word)
        if opening is None:
            return self.skip_group() if is_optional else False
        return self.skip_group() if self.group.is_silent else opening(self) is True

    def act(self, word: str, number: int | None) -> None:
        act = _WORDS.get(word)
        if act is not None:
            act(self, number)

    def expect_html(self, does: bool) -> None:
        """The text holds HTML, and is not to be read as it looks."""
        if does and self._with_html:
            self.page = Markup()
            self.group.target = self.group.story = self.page

    def show_instead(self, does: bool) -> None:
        """What follows is, or is no longer, only for programs that do not know of the HTML."""
        self.group.is_instead = does and self.page is not None

    def end_paragraph(self) -> None:
        """The end of a paragraph; if that end is deleted, the next one goes on with it."""
        group = self.group
        if group.is_silent:
            return
        level = group.outline + 1 if group.outline is not None and group.outline < _HEADING_LEVELS else None
        if level is None and group.outline is None:
            level = self._levels.get(group.style)
        kind = ElementKind.PARAGRAPH if level is None else ElementKind.HEADING if level else ElementKind.TITLE
        group.target.end_paragraph(kind, level or 0, group.nesting)

    # Groups

    def capture(self, done: Callable[[str], None]) -> None:
        """Gives the text of this group to `done` at its end."""
        words = Words()
        self.group.target = words
        self.group.closing = lambda: done(words.take())

    def tell(self, done: Callable[[list[Block]], None], prefix: str = "") -> None:
        """Reads this group as a story, and gives its blocks to `done` at its end."""
        group = self.group
        group.target = group.story
        if group.depth == _DEEPEST_STORY:
            return
        group.depth += 1
        group.target = group.story = story = Story(prefix)
        group.style, group.outline, group.nesting = 0, None, 0

        def finish() -> None:
            group.is_deleted = False
            self.end_paragraph()
            done(story.finish())

        group.closing = finish

    def open_note(self) -> None:
        self.tell(self.group.story.attach)

    def open_box(self) -> None:
        attach = self.group.story.attach

        def done(blocks: list[Block]) -> None:
            self._boxes += bool(blocks)
            attach(blocks)

        self.tell(done)

    def open_shape(self) -> None:
        self.group.target = Target()
        self.group.boxes_before = self._boxes

    def open_shape_for_old_programs(self) -> bool:
        """The same text again, unless this is all that was written."""
        if self._boxes > self.group.boxes_before:
            return self.skip_group()
        self.open_box()
        return False

    def open_comment(self) -> None:
        by = f" by {self._author}" if self._author else ""
        self._author = ""
        self.tell(self.group.story.attach, f"Comment{by}: ")

    def open_author(self) -> None:
        def done(name: str) -> None:
            self._author = name

        self.capture(done)

    def open_header(self) -> None:
        self._open_margin(self._headers)

    def open_footer(self) -> None:
        self._open_margin(self._footers)

    def _open_margin(self, found: dict[str, Block]) -> None:
        before = self._page_numbers

        def done(blocks: list[Block]) -> None:
            is_numbered = self._page_numbers > before
            for block in blocks:
                if not (is_numbered and _PAGE_NUMBER.fullmatch(block.text)):
                    # Each section of a document may repeat its headers.
                    found.setdefault(block.text, block)

        self.tell(done)

    def open_marker(self) -> None:
        self.capture(self.group.target.mark)

    def open_container(self) -> None:
        """A group whose own text is not shown; what lies in it may have some."""
        self.group.target = Target()

    def open_unicode(self) -> None:
        """The second of two forms of a text, within a container."""
        self.group.target = self.group.story

    def open_tag(self) -> bool:
        if self.page is None:
            return self.skip_group()
        self.group.target = Tags(self.page)
        return False

    def open_property_name(self) -> None:
        def done(name: str) -> None:
            self._property = name

        self.capture(done)

    def open_property_value(self) -> None:
        attach = self.group.story.attach

        def done(value: str) -> None:
            if self._property in _TEXT_PROPERTIES and value:
                attach([Block(ElementKind.PARAGRAPH, value)])

        self.capture(done)

    def open_field(self) -> None:
        target = self.group.target
        self.group.field = Field(target, target.written)
        self.group.closing = self.group.field.finish

    def open_instruction(self) -> None:
        this = self.group.field

        def done(text: str) -> None:
            if this is not None:
                this.instruction = text
                self._page_numbers += text.partition(" ")[0].upper() in _PAGE_FIELDS

        self.capture(done)

    def open_default(self) -> None:
        this = self.group.field

        def done(text: str) -> None:
            if this is not None:
                this.default = text

        self.capture(done)

    def open_option(self) -> None:
        this = self.group.field

        def done(text: str) -> None:
            if this is not None:
                this.options.append(text)

        self.capture(done)

    def open_styles(self) -> bool:
        start = self._position
        self.skip_group()
        for entry in self._text[start : self._position].split("}"):
            number, outline = _STYLE.search(entry), _OUTLINE.search(entry)
            name = _HEADING_NAME.search(entry)
            if name or outline:
                level = int(name[1]) if name else int(outline[1]) + 1 if outline else 0
                if number and level <= _HEADING_LEVELS:
                    self._levels[int(number[1])] = level
            elif number and _TITLE_NAME.search(entry):
                self._levels[int(number[1])] = 0
        return True


_Opening = Callable[[Reader], object]
_Act = Callable[[Reader, int | None], object]


def _stay(_reader: Reader) -> None:
    """A group that programs may leave out, and that has text all the same."""


#: What a group is, by its first word.
_DESTINATIONS: dict[str, _Opening] = {
    **dict.fromkeys(LEFT_OUT, Reader.skip_group),
    **dict.fromkeys(WITH_TEXT, _stay),
    **dict.fromkeys(("fonttbl", "shpinst", "do", "pict", "picprop", "sp", "nesttableprops", "formfield", "upr"),
                    Reader.open_container),
    **dict.fromkeys(("header", "headerl", "headerr", "headerf"), Reader.open_header),
    **dict.fromkeys(("footer", "footerl", "footerr", "footerf"), Reader.open_footer),
    **dict.fromkeys(("shp", "shpgrp"), Reader.open_shape),
    **dict.fromkeys(("shptxt", "dptxbxtext"), Reader.open_box),
    **dict.fromkeys(("listtext", "pntext"), Reader.open_marker),
    "stylesheet": Reader.open_styles,
    "footnote": Reader.open_note,
    "annotation": Reader.open_comment,
    "atnauthor": Reader.open_author,
    "shprslt": Reader.open_shape_for_old_programs,
    "sn": Reader.open_property_name,
    "sv": Reader.open_property_value,
    "field": Reader.open_field,
    "fldinst": Reader.open_instruction,
    "ffdeftext": Reader.open_default,
    "ffl": Reader.open_option,
    "ud": Reader.open_unicode,
    "htmltag": Reader.open_tag,
    "mden": lambda reader: reader.write("/"),
}  # fmt: skip


def _set(name: str) -> _Act:
    return lambda reader, number: setattr(reader.group, name, number or 0)


def _switch(name: str) -> _Act:
    return lambda reader, number: setattr(reader.group, name, number != 0)


def _of_field(name: str) -> _Act:
    def act(reader: Reader, number: int | None) -> None:
        if reader.group.field is not None:
            setattr(reader.group.field, name, number or 0)

    return act


def _paragraph(reader: Reader, _number: int | None) -> None:
    group = reader.group
    group.style, group.outline, group.nesting = 0, None, 0


def _plain(reader: Reader, _number: int | None) -> None:
    reader.group.font, reader.group.is_deleted = reader.default_font, False


def _default_font(reader: Reader, number: int | None) -> None:
    reader.group.font = reader.default_font = number or 0


def _font_charset(reader: Reader, number: int | None) -> None:
    charset = rtf_charsets.of_font(number or 0)
    if charset and reader.group.font is not None:
        reader.fonts[reader.group.font] = charset


def _font_code_page(reader: Reader, number: int | None) -> None:
    if reader.group.font is not None:
        reader.fonts[reader.group.font] = rtf_charsets.of_code_page(number or 0)


def _code_page(reader: Reader, number: int | None) -> None:
    reader.charset = rtf_charsets.of_code_page(number or 0)


def _named_charset(name: str) -> _Act:
    return lambda reader, _number: setattr(reader, "charset", rtf_charsets.NAMED[name])


_WORDS: dict[str, _Act] = {
    **dict.fromkeys(("par", "sect", "page", "column"), lambda reader, _number: reader.end_paragraph()),
    **{name: _named_charset(name) for name in rtf_charsets.NAMED},
    "u": lambda reader, number: reader.write_code(number),
    "uc": _set("fallback"),
    "f": _set("font"),
    "s": _set("style"),
    "outlinelevel": _set("outline"),
    "itap": _set("nesting"),
    "intbl": lambda reader, _number: setattr(reader.group, "nesting", max(1, reader.group.nesting)),
    "cell": lambda reader, _number: reader.group.target.end_cell(1),
    "nestcell": lambda reader, _number: reader.group.target.end_cell(max(2, reader.group.nesting)),
    "row": lambda reader, _number: reader.group.target.end_row(),
    "nestrow": lambda reader, _number: reader.group.story.end_nested_row(),
    "pard": _paragraph,
    "plain": _plain,
    "deleted": _switch("is_deleted"),
    # Where text was that has been moved away.
    "mvf": _switch("is_deleted"),
    "htmlrtf": lambda reader, number: reader.show_instead(number != 0),
    "fromhtml": lambda reader, number: reader.expect_html(number != 0),
    "deff": _default_font,
    "fcharset": _font_charset,
    "cpg": _font_code_page,
    "ansicpg": _code_page,
    "fftype": _of_field("kind"),
    "ffres": _of_field("chosen"),
    "ffdefres": _of_field("chosen_at_first"),
}
