"""Text as a terminal shows it in the end: without escape sequences, overstrikes and lines that were written over."""

from __future__ import annotations

import re

#: Sequences that a terminal obeys: CSI (colours, movements), OSC and other strings (titles, links), and short ones.
_ESCAPE = re.compile(
    r"\x1b(?:\[(?P<numbers>[0-?]{0,64})[ -/]{0,8}(?P<command>[@-~])"
    r"|[\]PX^_][^\x07\x1b\n]{0,4096}(?:\x07|\x1b\\|(?=[\x1b\n])|\Z)|[ -/]{1,8}[0-~]|[0-Z\\^_`-~])"
)
_TOKEN = re.compile(rf"{_ESCAPE.pattern}|(?P<end>\r*\n)|(?P<return>\r+)|(?P<text>[^\x1b\r\n]+)|\x1b")
_MOVEMENT = re.compile(r"\x1b\[[0-9;]{0,16}[A-HJK]")
#: A carriage return within a line.
_RETURN = re.compile(r"\r(?!\r*\n|\Z)")
_NO_RETURNS = re.compile(r"\r+(?=\n|\Z)")
_VARYING = re.compile(r"[\d\s.,:;%#=<>*|/\\()\[\]~+\-_\u2500-\u25ff\u2800-\u28ff]+")
_PROGRESS = re.compile(r"\d ?%|\d ?/ ?\d|/s\b|\bETA\b|[#=\u2588\u2501\u2593\u2591]{2}|[\u2800-\u28ff]", re.I)
#: Signs of a record: such lines end with a carriage return in files of old Macintosh programs.
_RECORD = re.compile(r"[,;\t]")
#: Longer lines are only appended to, so that rewriting them takes no quadratic time.
_MAX_COLUMNS = 4096
_MAX_ROWS_UP = 500


def shown_text(text: str, *, is_output: bool = False) -> str:
    """Return the text that is left on a terminal, or on paper, after it was printed; other text is not changed.

    Args:
        text: The text. Carriage returns that wrote over nothing stay in it.
        is_output: Whether a program printed it, so that a carriage return cannot be a line end.
    """
    if "\x1b" in text:
        text = _Screen().show(text) if _MOVEMENT.search(text) else _ESCAPE.sub("", text)
    if "\b" in text:
        text = "\n".join(_without_overstrikes(line) if "\b" in line else line for line in text.split("\n"))
    if "\r" in text and _RETURN.search(text):
        has_line_ends = is_output or "\n" in text
        lines = _NO_RETURNS.sub("", text).split("\n")
        text = "\n".join(_last_updates(line, has_line_ends) if "\r" in line else line for line in lines)
    return text


def _without_overstrikes(line: str) -> str:
    """Obey the backspaces in a line: the later character stays, but not an underscore below another one."""
    shown: list[str] = []
    column = 0
    for character in line:
        if character == "\b":
            column = max(column - 1, 0)
            continue
        if column == len(shown):
            shown.append(character)
        elif character != "_" or shown[column] == " ":
            shown[column] = character
        column += 1
    return "".join(shown)


def _last_updates(line: str, has_line_ends: bool) -> str:
    """Drop the parts of a line that a progress display wrote over; other carriage returns are line ends."""
    parts = [part for part in line.split("\r") if part.strip()]
    kept = [
        part
        for part, after in zip(parts, [*parts[1:], ""], strict=True)
        if not (after and _is_update(part, after, has_line_ends))
    ]
    return "\r".join(kept)


def _is_update(part: str, after: str, has_line_ends: bool) -> bool:
    # Only the beginnings matter, so that long lines cost nothing.
    one, other = (_VARYING.sub("", each[:200]) for each in (part, after))
    if _PROGRESS.search(part[:200]):
        return one[:4] == other[:4] or not one or not other
    return has_line_ends and one == other and bool(one) and not _RECORD.search(part[:200])


class _Screen:
    """The lines that a terminal shows, with the position of the next character."""

    def __init__(self) -> None:
        self._lines = [""]
        self._row = 0
        self._column = 0
        #: Whether the line was erased at its end. Its text goes only if the line is then written anew.
        self._is_erased = False

    def show(self, text: str) -> str:
        for token in _TOKEN.finditer(text):
            if token["text"] is not None:
                self._write(token["text"])
            elif token["end"] is not None:
                self._row += 1
                self._column = 0
                if self._row == len(self._lines):
                    self._lines.append("")
            elif token["return"] is not None:
                self._return()
            elif token["command"] is not None:
                self._obey(token["command"], token["numbers"] or "")
                continue
            self._is_erased = False
        return "\n".join(self._lines)

    def _return(self) -> None:
        if self._is_erased:
            self._lines[self._row] = ""
        self._column = 0

    def _write(self, text: str) -> None:
        line = self._lines[self._row]
        if self._column == len(line):
            self._lines[self._row] = line + text
        elif len(line) > _MAX_COLUMNS:
            # Too long for a line that is rewritten: the text begins a new one.
            self._row += 1
            self._lines.insert(self._row, text)
            self._column = 0
        else:
            self._lines[self._row] = line[: self._column].ljust(self._column) + text + line[self._column + len(text) :]
        self._column += len(text)

    def _obey(self, command: str, numbers: str) -> None:
        first = numbers.partition(";")[0]
        count = min(int(first), _MAX_COLUMNS) if first.isdecimal() else 0
        line = self._lines[self._row]
        if command in "AF":
            self._row = max(self._row - min(count or 1, _MAX_ROWS_UP), 0)
        elif command in "BE":
            self._row = min(self._row + (count or 1), len(self._lines) - 1)
        elif command == "C":
            self._column += count or 1
        elif command == "D":
            self._column = max(self._column - (count or 1), 0)
        elif command == "G" and count <= 1:
            self._return()
        elif command == "G":
            self._column = count - 1
        elif command == "K" and self._column == len(line):
            self._is_erased = count == 2
        elif command == "K":
            blank = line[self._column :] if count == 1 else ""
            self._lines[self._row] = (" " * self._column if count else line[: self._column]) + blank
        elif command == "J" and not count:
            self._lines[self._row] = line[: self._column]
            del self._lines[self._row + 1 :]
        if command in "EF":
            self._column = 0
