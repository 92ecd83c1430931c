"""Tokenizes RTF, tracks its groups, and decodes the text between the tokens."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from ingest.parsers.rtf import charsets as rtf_charsets
from ingest.parsers.rtf.fields import Field
from ingest.parsers.rtf.story import PLAIN_LOOK, Look, TextSink
from ingest.parsers.rtf.words import CHARACTER_WORDS, SYMBOLS

#: A control word with its number, a byte in hex, a control symbol, a brace, line ends (ignored), or text.
_TOKEN = re.compile(
    r"\\([A-Za-z]{1,40})(-?\d{1,10})? ?|\\'([0-9A-Fa-f]{2})|\\(.)|([{}])|[\r\n\0]+|([^\\{}\r\n\0]+)", re.S
)
#: The tokens that matter while a group is skipped. The length of `\bin` data is needed, because it may contain braces.
_SKIP_TOKEN = re.compile(r"\\bin(\d{1,10}) ?|\\.|[{}]", re.S)


@dataclass(slots=True)
class Group:
    """The state inside a group, which nested groups inherit."""

    target: TextSink
    #: The sink for footnotes and the like, also in a group whose own text is dropped.
    story: TextSink
    font: int | None = None
    #: The number of characters after a `\u` word that replace it in programs without Unicode.
    fallback: int = 1
    is_deleted: bool = False
    #: Whether the text has the mark of hidden text.
    is_unseen: bool = False
    is_struck: bool = False
    is_struck_twice: bool = False
    #: Above 0 for raised text, below 0 for lowered text.
    shift: int = 0
    #: Whether the text is only for programs that do not read the encapsulated HTML.
    is_html_fallback: bool = False
    style: int = 0
    outline: int | None = None
    table_depth: int = 0
    field: Field | None = None
    boxes_before: int = 0
    #: The number of stories that the group is nested in, not counting the body.
    depth: int = 0
    #: Called at the end of the group; nested groups do not inherit it.
    on_close: Callable[[], None] | None = None

    @property
    def is_hidden(self) -> bool:
        return self.is_deleted or self.is_unseen or self.is_html_fallback

    @property
    def look(self) -> Look:
        is_struck = self.is_struck or self.is_struck_twice
        return Look(is_struck, self.shift) if is_struck or self.shift else PLAIN_LOOK

    def nested(self) -> Group:
        return replace(self, on_close=None)


class TokenReader:
    """Reads RTF token by token. Subclasses define what the control words and groups mean.

    Args:
        text: The file, decoded as Latin-1.
        target: The sink for its text.
    """

    def __init__(self, text: str, target: TextSink) -> None:
        self._text = text
        self._position = 0
        self.group = Group(target, target)
        self._enclosing: list[Group] = []
        self._bytes = bytearray()
        #: The charsets of the fonts, by font number.
        self.fonts: dict[int, str] = {}
        self.default_font: int | None = None
        #: The charset of fonts that declare none.
        self.charset = rtf_charsets.DEFAULT
        self._last_paragraph = text.rfind("\\par")
        self._to_skip = 0
        #: Whether only `{` or `{\*` has been read of a group. The next control word then defines the group.
        self._is_group_start = False
        self._is_optional = False

    def open_group(self, word: str, *, is_optional: bool) -> bool:
        """Handle the start of a group, given its first control word.

        Args:
            word: The control word.
            is_optional: Whether programs that do not know the word must skip the group.

        Returns:
            True if the group was skipped, False if its content is to be read.
        """
        raise NotImplementedError

    def apply_word(self, word: str, number: int | None) -> None:
        """Apply the effect of a control word."""
        raise NotImplementedError

    def end_paragraph(self) -> None:
        """End the current paragraph."""
        raise NotImplementedError

    def read(self) -> None:
        """Read up to the end of the outermost group, or to the end of the text if that is truncated."""
        self._position = 0
        while True:
            start = self._position
            for match in _TOKEN.finditer(self._text, start):
                self._position = match.end()
                if self._read_token(match):
                    break
            else:
                break
            if not self._enclosing:
                return
        while self._enclosing:
            self._close()

    # Tokens. A method returns True if it may have moved the position or ended the text.

    def _read_token(self, match: re.Match[str]) -> bool:
        word, number, code, symbol, brace, run = match.groups()
        if run is not None:
            self._read_run(run)
        elif code is not None:
            self._is_group_start = False
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
        self._is_group_start = False
        if self._to_skip:
            skipped = min(self._to_skip, len(run))
            self._to_skip -= skipped
            run = run[skipped:]
        if self._bytes or not run.isascii():
            # The second byte of a two-byte character may be written as an ASCII letter.
            self._bytes += run.encode("latin-1")
        else:
            self.write(run)

    def _read_brace(self, brace: str) -> bool:
        self._flush()
        self._to_skip = 0
        if brace == "{":
            self._enclosing.append(self.group)
            self.group = self.group.nested()
            self._is_group_start, self._is_optional = True, False
        elif len(self._enclosing) > 1 or self._position > self._last_paragraph:
            self._close()
            self._is_group_start = False
            return not self._enclosing
        # A surplus brace, which LibreOffice writes after nested text boxes, is ignored: the text continues.
        return False

    def _read_symbol(self, symbol: str) -> None:
        if symbol == "*" and self._is_group_start:
            self._is_optional = True
            return
        if self._bytes and not self._to_skip and symbol in "{}\\":
            # The second byte of a two-byte character may be one that must be escaped.
            self._bytes += symbol.encode()
            return
        self._flush()
        self._is_group_start = False
        if self._to_skip:
            self._to_skip -= 1
        elif symbol in "\r\n":
            self.end_paragraph()
        else:
            self.write(SYMBOLS.get(symbol, ""))

    def _read_word(self, word: str, number: int | None) -> bool:
        self._flush()
        self._to_skip = 0
        if self._is_group_start:
            self._is_group_start = False
            if self.open_group(word, is_optional=self._is_optional):
                return True
        if word == "bin":
            self._position += max(number or 0, 0)
            return True
        text = CHARACTER_WORDS.get(word)
        if text is not None:
            self.write(text)
            return False
        self.apply_word(word, number)
        return False

    def skip_group(self) -> bool:
        """Move to the end of this group without reading it, and return True."""
        depth, position = 1, self._position
        while match := _SKIP_TOKEN.search(self._text, position):
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
        if not self._enclosing:
            return
        if self.group.on_close is not None:
            self.group.on_close()
        if len(self._enclosing) == 1:
            self.group.is_deleted = self.group.is_unseen = False
            self.end_paragraph()
        self.group = self._enclosing.pop()

    def write(self, text: str) -> None:
        """Add text to the current target, unless it is hidden."""
        group = self.group
        if not group.is_hidden:
            group.target.look = group.look
            group.target.add(text)

    def _flush(self) -> None:
        if self._bytes:
            charset = self.charset if self.group.font is None else self.fonts.get(self.group.font, self.charset)
            self.write(self._bytes.decode(charset, errors="replace"))
            self._bytes.clear()

    def write_code(self, number: int | None) -> None:
        """Write the Unicode character with this number, and skip the fallback characters after it."""
        code = number or 0
        if code < 0:
            code += 0x10000
        if 0 < code <= 0x10FFFF:
            self.write(chr(code))
        self._to_skip = self.group.fallback
