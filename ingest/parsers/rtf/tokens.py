"""The tokens and groups of rich text, and the text between them in its charsets."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ingest.parsers.rtf import charsets as rtf_charsets
from ingest.parsers.rtf.fields import Field
from ingest.parsers.rtf.story import Target
from ingest.parsers.rtf.words import CHARACTERS, SYMBOLS

#: A control word with its number, a byte in hex, a control symbol, a brace, the end of a line, text.
_TOKEN = re.compile(
    r"\\([A-Za-z]{1,40})(-?\d{1,10})? ?|\\'([0-9A-Fa-f]{2})|\\(.)|([{}])|[\r\n\0]+|([^\\{}\r\n\0]+)", re.S
)
#: What matters within a group that is left out. Bytes of a picture may look like braces.
_MARK = re.compile(r"\\bin(\d{1,10}) ?|\\.|[{}]", re.S)


@dataclass(slots=True)
class Group:
    """What holds up to the end of a group, and in the groups within it."""

    target: Target
    #: Where notes go that are met; in a group without text of its own it is not the target.
    story: Target
    font: int | None = None
    #: How many characters after one in Unicode stand for it in older programs.
    fallback: int = 1
    is_deleted: bool = False
    #: Of text that holds HTML: what is only for programs that do not know HTML.
    is_instead: bool = False
    style: int = 0
    outline: int | None = None
    nesting: int = 0
    field: Field | None = None
    boxes_before: int = 0
    #: In how many stories within the body it lies.
    depth: int = 0
    #: Called at the end of this group alone.
    closing: Callable[[], None] | None = None

    @property
    def is_silent(self) -> bool:
        return self.is_deleted or self.is_instead

    def inner(self) -> Group:
        return Group(self.target, self.story, self.font, self.fallback, self.is_deleted, self.is_instead, self.style,
                      self.outline, self.nesting, self.field, self.boxes_before, self.depth)  # fmt: skip


class TokenReader:
    """Reads a text token by token; what words and groups mean, those who inherit from it say.

    Args:
        text: the file, each byte as the character of its number.
        target: where its text goes.
    """

    def __init__(self, text: str, target: Target) -> None:
        self._text = text
        self._position = 0
        self.group = Group(target, target)
        self._outer: list[Group] = []
        self._bytes = bytearray()
        #: Charsets, by the numbers of the fonts.
        self.fonts: dict[int, str] = {}
        self.default_font: int | None = None
        #: That of fonts which name none.
        self.charset = rtf_charsets.DEFAULT
        self._last_paragraph = text.rfind("\\par")
        self._to_skip = 0
        #: Nothing but `{` or `{\*` has been read of a group: a word now says what it is.
        self._is_new = False
        self._is_optional = False

    def open_group(self, word: str, *, is_optional: bool) -> bool:
        """Takes note of what a group is, by its first word. True if it has been skipped, False if it is to be read.

        Args:
            is_optional: whoever does not know the word is to leave the group out.
        """
        raise NotImplementedError

    def act(self, word: str, number: int | None) -> None:
        """Does what a control word says."""
        raise NotImplementedError

    def end_paragraph(self) -> None:
        """The end of a paragraph."""
        raise NotImplementedError

    def read(self) -> None:
        """Reads up to the end of the outermost group, or of the text, if that is cut."""
        self._position = 0
        while True:
            start = self._position
            for match in _TOKEN.finditer(self._text, start):
                self._position = match.end()
                if self._read_token(match):
                    break
            else:
                break
            if not self._outer:
                return
        while self._outer:
            self._close()

    # Tokens. Each method that may move the position or end the text says so by returning True.

    def _read_token(self, match: re.Match[str]) -> bool:
        word, number, code, symbol, brace, run = match.groups()
        if run is not None:
            self._read_run(run)
        elif code is not None:
            self._is_new = False
            if self._to_skip:
                self._to_skip -= 1
            else:
                self._bytes.append(int(code, 16))
        elif word is not None:
            return self._read_word(word, None if number is None else int(number))
        elif brace is not None:
            return self._read_brace(brace)
        elif symbol is not None:
            self._read_symbol(symbol)
        return False

    def _read_run(self, run: str) -> None:
        self._is_new = False
        if self._to_skip:
            skipped = min(self._to_skip, len(run))
            self._to_skip -= skipped
            run = run[skipped:]
        if self._bytes or not run.isascii():
            # The second byte of a character may be written as a letter.
            self._bytes += run.encode("latin-1")
        else:
            self.write(run)

    def _read_brace(self, brace: str) -> bool:
        self._flush()
        self._to_skip = 0
        if brace == "{":
            self._outer.append(self.group)
            self.group = self.group.inner()
            self._is_new, self._is_optional = True, False
        elif len(self._outer) > 1 or self._position > self._last_paragraph:
            self._close()
            self._is_new = False
            return not self._outer
        # One brace too many, which LibreOffice writes after text boxes within text boxes: the text goes on.
        return False

    def _read_symbol(self, symbol: str) -> None:
        if symbol == "*" and self._is_new:
            self._is_optional = True
            return
        if self._bytes and not self._to_skip and symbol in "{}\\":
            # The second byte of a character may be one that has to be escaped.
            self._bytes += symbol.encode()
            return
        self._flush()
        self._is_new = False
        if self._to_skip:
            self._to_skip -= 1
        elif symbol in "\r\n":
            self.end_paragraph()
        else:
            self.write(SYMBOLS.get(symbol, ""))

    def _read_word(self, word: str, number: int | None) -> bool:
        self._flush()
        self._to_skip = 0
        if self._is_new:
            self._is_new = False
            if self.open_group(word, is_optional=self._is_optional):
                return True
        if word == "bin":
            self._position += max(number or 0, 0)
            return True
        text = CHARACTERS.get(word)
        if text is not None:
            self.write(text)
            return False
        self.act(word, number)
        return False

    def skip_group(self) -> bool:
        """Goes to the end of this group without reading it."""
        depth, position = 1, self._position
        while match := _MARK.search(self._text, position):
            position = match.end()
            if match[1] is not None:
                position += int(match[1])
            elif match[0] == "{":
                depth += 1
            elif match[0] == "}":
                depth -= 1
                if not depth:
                    self._position = match.start()
                    return True
        self._position = len(self._text)
        return True

    def _close(self) -> None:
        self._flush()
        if not self._outer:
            return
        if self.group.closing is not None:
            self.group.closing()
        if len(self._outer) == 1:
            self.group.is_deleted = False
            self.end_paragraph()
        self.group = self._outer.pop()

    def write(self, text: str) -> None:
        """Text where it is to go."""
        if not self.group.is_silent:
            self.group.target.add(text)

    def _flush(self) -> None:
        if self._bytes:
            charset = self.charset if self.group.font is None else self.fonts.get(self.group.font, self.charset)
            self.write(self._bytes.decode(charset, errors="replace"))
            self._bytes.clear()

    def write_code(self, number: int | None) -> None:
        """A character by its number in Unicode, and then those that stand for it are skipped."""
        code = number or 0
        if code < 0:
            code += 0x10000
        if 0 < code <= 0x10FFFF:
            self.write(chr(code))
        self._to_skip = self.group.fallback
