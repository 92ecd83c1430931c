"""Adds citations to an answer while it streams: `[1]` at the end of each sentence that a source supports. Pure.

The model's own markers are removed and checked against their sources; those that hold are written at the end of the
sentence. A sentence without a marker gets that of the source with which it shares the most words, if it shares enough.
The text itself passes through unchanged and at once: only white space and possible markers are held back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from inference.text.overlap import support, terms_of

#: A source must contain this share of a sentence's terms to be cited, or the lower one if the model itself cites it.
ATTACH_SUPPORT = 0.6
CLAIM_SUPPORT = 0.3
#: A sentence with fewer terms than this ("Sure.") gets no source.
LEAST_TERMS = 2
#: Longer brackets are not markers.
MAX_MARKER = 24
#: The number of a list's item is a sentence of at most so many pieces, with the white space around it.
MAX_LIST_NUMBER = 8

_MARKER = re.compile(r"\[\s*\d{1,3}(?:\s*[,;]\s*\d{1,3})*\s*\]")
_MARKER_BEGINNING = re.compile(r"\[[\d\s,;]*")
_LIST_NUMBER = re.compile(r"^\s*\d{1,3}[.)]")
_ENDS = ".!?…"
_ENDS_UNSPACED = "。！？"
_CLOSING = "\"'”’»)*_`"
#: Beginnings of headings, tables and quotations, which get no marker unless the model writes one.
_UNCITED_LINES = ("#", "|", ">")
_FENCE = "```"


class Citer:
    """Adds the citations to a streamed answer. The result does not depend on how the text was cut into pieces."""

    def __init__(self, sources: Sequence[str], replayed_characters: int = 0) -> None:
        """Start an answer.

        Args:
            sources: The texts that `[1]`, `[2]`, … stand for.
            replayed_characters: How many characters of the result an earlier attempt has emitted; they are skipped.
        """
        self._sources = sources
        self._replayed = replayed_characters
        self._out: list[str] = []
        #: The beginning of the line from its first visible character on.
        self._line_start = ""
        self._is_line_empty = True
        #: The sentence in pieces, and its last character that closes nothing.
        self._sentence: list[str] = []
        self._last_character = ""
        self._claimed: list[int] = []
        self._claimed_at_end = False
        #: The sentence has reached a full stop; the next character tells whether that was its end.
        self._ending = False
        self._blanks: list[str] = []
        self._bracket = ""
        self._in_fence = False
        self._in_code = False

    def push(self, text: str) -> str:
        """Take a piece of the answer; return the part of the result that is certain now."""
        for character in text:
            self._take(character)
        return self._take_output()

    def finish(self) -> str:
        """Return the rest of the result."""
        self._flush_bracket()
        self._close()
        self._flush_blanks()
        return self._take_output()

    def _take_output(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        skipped = min(self._replayed, len(text))
        self._replayed -= skipped
        return text[skipped:]

    def _take(self, character: str) -> None:
        if self._bracket:
            self._take_in_bracket(character)
        elif character == "\n":
            self._take_line_break()
        elif self._in_fence or self._in_code:
            self._write(character)
        elif character == "[":
            self._bracket = character
        elif character.isspace():
            self._blanks += [character] if not self._is_line_empty or not self._claimed else []
        else:
            self._take_visible(character)

    def _take_in_bracket(self, character: str) -> None:
        if character == "]":
            marker, self._bracket = self._bracket + character, ""
            if _MARKER.fullmatch(marker):
                self._claim(marker)
            else:
                self._write_all(marker)
        elif _MARKER_BEGINNING.fullmatch(self._bracket + character) and len(self._bracket) < MAX_MARKER:
            self._bracket += character
        else:
            self._flush_bracket()
            self._take(character)

    def _flush_bracket(self) -> None:
        text, self._bracket = self._bracket, ""
        self._write_all(text)

    def _claim(self, marker: str) -> None:
        """Remove a marker and the blanks before it, and remember its sources."""
        self._claimed += [int(number) for number in re.findall(r"\d+", marker)]
        self._claimed_at_end = self._ending
        self._blanks.clear()

    def _take_line_break(self) -> None:
        if not self._in_fence:
            self._close()
            self._in_code = False
        if self._line_start == _FENCE:
            self._in_fence = not self._in_fence
        self._flush_blanks()
        self._line_start, self._is_line_empty = "", True
        self._out.append("\n")

    def _take_visible(self, character: str) -> None:
        if self._ending and character not in _ENDS + _CLOSING and self._is_over(character):
            self._close()
        self._write(character)
        if character == "`":
            self._in_code = not self._in_code and self._line_start != _FENCE
        if character in _ENDS + _ENDS_UNSPACED:
            self._ending = True
        elif character not in _CLOSING:
            self._ending = False

    def _is_over(self, following: str) -> bool:
        """Return whether the full stop before `following` ended the sentence: not in `3.5`, `e.g. this`, `1. First`."""
        if self._last_character in _ENDS_UNSPACED:
            return True
        if len(self._sentence) <= MAX_LIST_NUMBER and _LIST_NUMBER.fullmatch("".join(self._sentence)):
            return False
        return self._claimed_at_end or (bool(self._blanks) and not following.islower())

    def _write_all(self, text: str) -> None:
        for character in text:
            self._write(character)

    def _write(self, character: str) -> None:
        self._flush_blanks()
        self._out.append(character)
        self._begin_line(character)
        if not self._in_fence:
            self._sentence.append(character)
            if character not in _CLOSING:
                self._last_character = character

    def _flush_blanks(self) -> None:
        if not self._blanks:
            return
        blanks = "".join(self._blanks)
        self._blanks.clear()
        self._out.append(blanks)
        self._begin_line(blanks)
        if self._sentence:
            self._sentence.append(blanks)
            self._last_character = blanks[-1]

    def _begin_line(self, text: str) -> None:
        """Keep the first characters of the line, without the white space before them."""
        self._is_line_empty = False
        if len(self._line_start) < len(_FENCE):
            self._line_start = (self._line_start + text).lstrip()[: len(_FENCE)]

    def _close(self) -> None:
        """End the sentence with its markers."""
        numbers = self._supported("".join(self._sentence))
        if numbers:
            self._out.append(" " + "".join(f"[{number}]" for number in numbers))
        self._sentence, self._last_character, self._claimed = [], "", []
        self._ending = self._claimed_at_end = False

    def _supported(self, sentence: str) -> list[int]:
        known = [number for number in dict.fromkeys(self._claimed) if 0 < number <= len(self._sources)]
        held = [number for number in known if self._support(sentence, number) >= CLAIM_SUPPORT]
        if held or self._line_start.startswith(_UNCITED_LINES) or sentence.rstrip().endswith(("?", ":")):
            return sorted(held)
        if len(terms_of(sentence)) < LEAST_TERMS:
            return []
        shares = {number: self._support(sentence, number) for number in range(1, len(self._sources) + 1)}
        best = max(shares, key=lambda number: shares[number], default=0)
        return [best] if best and shares[best] >= ATTACH_SUPPORT else []

    def _support(self, sentence: str, number: int) -> float:
        return support(_LIST_NUMBER.sub("", sentence), self._sources[number - 1])
