"""Interprets the groups and control words of RTF, and collects the text."""

from __future__ import annotations

import re
from collections.abc import Callable

from ingest.parsed_document import ElementKind
from ingest.parsers.pictures import Pictures
from ingest.parsers.rtf import charsets as rtf_charsets
from ingest.parsers.rtf.fields import Field
from ingest.parsers.rtf.story import Block, HtmlCapture, HtmlTags, Story, TextCapture, TextSink
from ingest.parsers.rtf.tokens import TokenReader
from ingest.parsers.rtf.words import DESTINATIONS_WITH_TEXT, SKIPPED_DESTINATIONS

_STYLE = re.compile(r"\{\\s(\d{1,5})(?!\d)")
_OUTLINE = re.compile(r"\\outlinelevel(\d)")
_HEADING_NAME = re.compile(r"(?<![A-Za-z])heading ([1-9]);?\s*$", re.I)
_TITLE_NAME = re.compile(r"(?<![A-Za-z])title;?\s*$", re.I)
#: Headings have the outline levels 0 to 8; 9 is body text.
_HEADING_LEVELS = 9
_PAGE_FIELDS = frozenset(("PAGE", "NUMPAGES", "SECTIONPAGES"))
#: A header or footer that contains only a page number.
_PAGE_NUMBER = re.compile(r"\W*\d+\W*(?:\d+\W*)?")
#: The maximum nesting of footnotes, boxes and so on; the text of deeper ones stays inline.
_MAX_STORY_DEPTH = 16
#: Properties of shapes and pictures with text: WordArt lettering and picture descriptions.
_TEXT_PROPERTIES = frozenset(("gtextUNICODE", "wzDescription"))


class Reader(TokenReader):
    """Reads one RTF file.

    Args:
        text: The file, decoded as Latin-1.
        pictures: Reads the pictures.
        with_html: Whether to read encapsulated HTML instead of the RTF, if there is any.
    """

    def __init__(self, text: str, pictures: Pictures, *, with_html: bool = True) -> None:
        self._body = Story(has_headings=True)
        super().__init__(text, self._body)
        self._pictures = pictures
        self._with_html = with_html
        #: The encapsulated HTML, if the file declares any and it is to be read.
        self.page: HtmlCapture | None = None
        self._headers: dict[str, Block] = {}
        self._footers: dict[str, Block] = {}
        #: Heading levels by style; 0 is a title.
        self._levels: dict[int, int] = {}
        self._author = ""
        self._property = ""
        self._box_count = 0
        self._page_number_count = 0

    def blocks(self) -> list[Block]:
        """Return the blocks of the headers, the body and the footers."""
        return [*self._headers.values(), *self._body.finish(), *self._footers.values()]

    def open_group(self, word: str, *, is_optional: bool) -> bool:
        opening = _DESTINATIONS.get(word)
        if opening is None:
            return self.skip_group() if is_optional else False
        return self.skip_group() if self.group.is_hidden else opening(self) is True

    def apply_word(self, word: str, number: int | None) -> None:
        action = _ACTIONS.get(word)
        if action is not None:
            action(self, number)

    def start_html(self, is_html: bool) -> None:
        """Start collecting encapsulated HTML instead of the RTF text."""
        if is_html and self._with_html:
            self.page = HtmlCapture()
            self.group.target = self.group.story = self.page

    def switch_html_fallback(self, is_fallback: bool) -> None:
        """Turn on or off text that is only for programs that do not read the HTML."""
        self.group.is_html_fallback = is_fallback and self.page is not None

    def end_paragraph(self) -> None:
        """End the paragraph, unless its end is deleted: then the next paragraph continues it."""
        group = self.group
        if group.is_hidden:
            return
        level = group.outline + 1 if group.outline is not None and group.outline < _HEADING_LEVELS else None
        if level is None and group.outline is None:
            level = self._levels.get(group.style)
        kind = ElementKind.PARAGRAPH if level is None else ElementKind.HEADING if level else ElementKind.TITLE
        group.target.end_paragraph(kind, level or 0, group.table_depth)

    # Groups

    def capture(self, done: Callable[[str], None]) -> None:
        """Call `done` with the text of this group at the end of the group."""
        words = TextCapture()
        self.group.target = words
        self.group.on_close = lambda: done(words.take())

    def read_story(self, done: Callable[[list[Block]], None], prefix: str = "") -> None:
        """Read this group as a story, and call `done` with its blocks at the end of the group."""
        group = self.group
        group.target = group.story
        if group.depth == _MAX_STORY_DEPTH:
            return
        group.depth += 1
        group.target = group.story = story = Story(prefix)
        group.style, group.outline, group.table_depth = 0, None, 0
        group.shift, group.is_struck, group.is_struck_twice = 0, False, False

        def finish() -> None:
            group.is_deleted = group.is_unseen = False
            self.end_paragraph()
            done(story.finish())

        group.on_close = finish

    def open_note(self) -> None:
        self.read_story(self.group.story.attach)

    def open_box(self) -> None:
        attach = self.group.story.attach

        def done(blocks: list[Block]) -> None:
            self._box_count += bool(blocks)
            attach(blocks)

        self.read_story(done)

    def open_shape(self) -> None:
        self.group.target = TextSink()
        self.group.boxes_before = self._box_count

    def open_shape_result(self) -> bool:
        """Skip the copy of a shape for older programs, unless it is the only version of the shape."""
        if self._box_count > self.group.boxes_before:
            return self.skip_group()
        self.open_box()
        return False

    def open_comment(self) -> None:
        by = f" by {self._author}" if self._author else ""
        self._author = ""
        self.read_story(self.group.story.attach, f"Comment{by}: ")

    def open_author(self) -> None:
        def done(name: str) -> None:
            self._author = name

        self.capture(done)

    def open_header(self) -> None:
        self._open_header_or_footer(self._headers)

    def open_footer(self) -> None:
        self._open_header_or_footer(self._footers)

    def _open_header_or_footer(self, found: dict[str, Block]) -> None:
        before = self._page_number_count

        def done(blocks: list[Block]) -> None:
            is_numbered = self._page_number_count > before
            for block in blocks:
                if not (is_numbered and _PAGE_NUMBER.fullmatch(block.text)):
                    # Sections may repeat the same headers, which are kept once.
                    found.setdefault(block.text, block)

        self.read_story(done)

    def open_marker(self) -> None:
        self.capture(self.group.target.mark)

    def open_container(self) -> None:
        """Drop the text of this group itself; groups inside it may have visible text."""
        self.group.target = TextSink()

    def open_picture(self) -> None:
        attach = self.group.story.attach

        def done(digits: str) -> None:
            if line := self._pictures.line_of_hex(digits):
                attach([Block(ElementKind.PARAGRAPH, line)])

        self.capture(done) if self._pictures.are_read else self.open_container()

    def open_unicode(self) -> None:
        """Read the Unicode version of a text, the second of two in a container."""
        self.group.target = self.group.story

    def open_tag(self) -> bool:
        if self.page is None:
            return self.skip_group()
        self.group.target = HtmlTags(self.page)
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
        self.group.on_close = self.group.field.finish

    def open_instruction(self) -> None:
        this = self.group.field

        def done(text: str) -> None:
            if this is not None:
                this.instruction = text
                self._page_number_count += text.partition(" ")[0].upper() in _PAGE_FIELDS

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
_Action = Callable[[Reader, int | None], object]


def _keep_text(_reader: Reader) -> None:
    """Read the text of a group that is marked as optional."""


#: The handlers of groups, by the group's first control word.
_DESTINATIONS: dict[str, _Opening] = {
    **dict.fromkeys(SKIPPED_DESTINATIONS, Reader.skip_group),
    **dict.fromkeys(DESTINATIONS_WITH_TEXT, _keep_text),
    **dict.fromkeys(("fonttbl", "shpinst", "do", "picprop", "sp", "nesttableprops", "formfield", "upr"),
                    Reader.open_container),
    **dict.fromkeys(("header", "headerl", "headerr", "headerf"), Reader.open_header),
    **dict.fromkeys(("footer", "footerl", "footerr", "footerf"), Reader.open_footer),
    **dict.fromkeys(("shp", "shpgrp"), Reader.open_shape),
    **dict.fromkeys(("shptxt", "dptxbxtext"), Reader.open_box),
    **dict.fromkeys(("listtext", "pntext"), Reader.open_marker),
    "pict": Reader.open_picture,
    "stylesheet": Reader.open_styles,
    "footnote": Reader.open_note,
    "annotation": Reader.open_comment,
    "atnauthor": Reader.open_author,
    "shprslt": Reader.open_shape_result,
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


def _set(name: str) -> _Action:
    return lambda reader, number: setattr(reader.group, name, number or 0)


def _switch(name: str) -> _Action:
    return lambda reader, number: setattr(reader.group, name, number != 0)


def _shift(direction: int) -> _Action:
    return lambda reader, _number: setattr(reader.group, "shift", direction)


def _raise(direction: int) -> _Action:
    """Return the action of a word whose number is a distance in half points, 6 by default."""
    return lambda reader, number: setattr(reader.group, "shift", direction if number != 0 else 0)


def _of_field(name: str) -> _Action:
    def action(reader: Reader, number: int | None) -> None:
        if reader.group.field is not None:
            setattr(reader.group.field, name, number or 0)

    return action


def _paragraph(reader: Reader, _number: int | None) -> None:
    group = reader.group
    group.style, group.outline, group.table_depth = 0, None, 0


def _plain(reader: Reader, _number: int | None) -> None:
    group = reader.group
    group.font, group.shift = reader.default_font, 0
    group.is_deleted = group.is_unseen = group.is_struck = group.is_struck_twice = False


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


def _named_charset(name: str) -> _Action:
    return lambda reader, _number: setattr(reader, "charset", rtf_charsets.BY_KEYWORD[name])


#: The effects of control words.
_ACTIONS: dict[str, _Action] = {
    **dict.fromkeys(("par", "sect", "page", "column"), lambda reader, _number: reader.end_paragraph()),
    **{name: _named_charset(name) for name in rtf_charsets.BY_KEYWORD},
    "u": lambda reader, number: reader.write_code(number),
    "uc": _set("fallback"),
    "f": _set("font"),
    "s": _set("style"),
    "outlinelevel": _set("outline"),
    "itap": _set("table_depth"),
    "intbl": lambda reader, _number: setattr(reader.group, "table_depth", max(1, reader.group.table_depth)),
    "cell": lambda reader, _number: reader.group.target.end_cell(1),
    "nestcell": lambda reader, _number: reader.group.target.end_cell(max(2, reader.group.table_depth)),
    "row": lambda reader, _number: reader.group.target.end_row(),
    "trowd": lambda reader, _number: reader.group.target.define_row(),
    "cellx": lambda reader, number: reader.group.target.define_cell(number or 0),
    "clvmrg": lambda reader, _number: reader.group.target.define_merged(),
    "nestrow": lambda reader, _number: reader.group.story.end_nested_row(),
    "pard": _paragraph,
    "plain": _plain,
    "deleted": _switch("is_deleted"),
    # The old position of moved text.
    "mvf": _switch("is_deleted"),
    "v": _switch("is_unseen"),
    "strike": _switch("is_struck"),
    "striked": _switch("is_struck_twice"),
    "super": _shift(1),
    "sub": _shift(-1),
    "nosupersub": _shift(0),
    "up": _raise(1),
    "dn": _raise(-1),
    "htmlrtf": lambda reader, number: reader.switch_html_fallback(number != 0),
    "fromhtml": lambda reader, number: reader.start_html(number != 0),
    "deff": _default_font,
    "fcharset": _font_charset,
    "cpg": _font_code_page,
    "ansicpg": _code_page,
    "fftype": _of_field("kind"),
    "ffres": _of_field("chosen"),
    "ffdefres": _of_field("default_choice"),
}
