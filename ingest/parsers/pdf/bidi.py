"""Puts the characters of a line with Arabic or Hebrew into the order of reading, by their places on the page.

PDFium reverses such lines too, but it exchanges the letters of ligatures such as lam-alef, the words of Latin names,
and brackets that the file has in the order of reading.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ingest.parsers.pdf.boxes import Interval

#: Letters of the scripts that are written from right to left, and their presentation forms.
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]")
#: A gap of this share of the height is a space.
_SPACE_SHARE = 0.12
#: A part of a line that is written from left to right: words with what is between them, or a single number.
_LEFT_TO_RIGHT = re.compile(
    r"[+\-$€£%#]*[^\W_]+(?:[.,:/+\-]?[^\W_]+)*[%°]?(?:[\s.,:/&@'_+-]+[^\W_]+(?:[.,:/+\-]?[^\W_]+)*)*"
)
_NUMBER = re.compile(r"[+\-$€£%#]*\d+(?:[.,:/+\-]\d+)*[%°]?")
_LAM = "\u0644"
_ALEFS = "\u0622\u0623\u0625\u0627"
_OPENING, _CLOSING = "([{«‹", ")]}»›"
_MIRRORED = str.maketrans(_OPENING + _CLOSING, _CLOSING + _OPENING)


@dataclass(slots=True)
class _Cluster:
    """The characters of one glyph, with the marks on it, in the order of reading."""

    left: float
    right: float
    text: str


def logical_text(text: str, places: Sequence[Interval], height: float) -> str:
    """Return a piece of a line in the order of reading.

    Args:
        text: Its characters, as PDFium orders them.
        places: The least and the greatest x of each character.
        height: The height of the text, in the same unit.
    """
    clusters = _clusters(text, places)
    visual = ""
    for before, cluster in zip([None, *clusters], clusters, strict=False):
        if before is not None and cluster.left - before.right > _SPACE_SHARE * height and not visual.endswith(" "):
            visual += " "
        visual += cluster.text[::-1] if RIGHT_TO_LEFT.match(cluster.text) else cluster.text
    letters = [character for character in visual if character.isalpha()]
    if sum(RIGHT_TO_LEFT.match(letter) is not None for letter in letters) * 2 < len(letters):
        return _left_to_right(visual)
    return _right_to_left(visual)


def _clusters(text: str, places: Sequence[Interval]) -> list[_Cluster]:
    """Return the glyphs from left to right."""
    clusters: list[_Cluster] = []
    marks: list[_Cluster] = []
    for character, (left, right) in zip(text, places, strict=True):
        last = clusters[-1] if clusters else None
        if unicodedata.combining(character):
            marks.append(_Cluster(left, right, character))
        elif character.isspace():
            if right > left:
                clusters.append(_Cluster(left, right, " "))
        elif last is not None and (last.left, last.right) == (left, right) and last.text != " ":
            last.text = _joined(last.text, character)
        else:
            clusters.append(_Cluster(left, right, character))
    clusters.sort(key=lambda each: each.left + each.right)
    for mark in marks:
        middle = (mark.left + mark.right) / 2
        holder = min(clusters, key=lambda each: abs(each.left + each.right - 2 * middle), default=None)
        if holder is not None:
            holder.text += mark.text
    return clusters


def _joined(text: str, character: str) -> str:
    """Return the characters of a ligature; PDFium has those of right-to-left scripts in reverse order."""
    if not RIGHT_TO_LEFT.match(character) or (text == _LAM and character in _ALEFS):
        return text + character
    return character + text


def _right_to_left(visual: str) -> str:
    """Return a line whose main direction is from right to left, in the order of reading."""
    parts: list[str] = []
    position = 0
    for start, end in _runs(visual):
        parts += [visual[position:start][::-1], visual[start:end]]
        position = end
    parts.append(visual[position:][::-1])
    text = "".join(reversed(parts))
    return text.translate(_MIRRORED) if _closes_first(text) else text


def _runs(visual: str) -> list[tuple[int, int]]:
    """Return the parts that are read from left to right."""
    runs: list[tuple[int, int]] = []
    for found in _LEFT_TO_RIGHT.finditer(_without(visual)):
        if any(character.isalpha() for character in found[0]):
            runs.append(found.span())
        else:
            # Numbers beside each other are read from right to left, each from left to right.
            runs += [
                (found.start() + number.start(), found.start() + number.end()) for number in _NUMBER.finditer(found[0])
            ]
    return runs


def _without(visual: str) -> str:
    """Replace right-to-left letters, so that they end every run."""
    return RIGHT_TO_LEFT.sub("\0", visual)


def _left_to_right(visual: str) -> str:
    """Return a line whose main direction is from left to right: only its right-to-left words are turned."""
    words = r"{0}(?:[^\w\0]*{0})*".replace("{0}", "\0+")
    parts: list[str] = []
    position = 0
    for found in re.finditer(words, _without(visual)):
        parts += [visual[position : found.start()], visual[found.start() : found.end()][::-1]]
        position = found.end()
    return "".join([*parts, visual[position:]])


def _closes_first(text: str) -> bool:
    first = next((character for character in text if character in _OPENING + _CLOSING), "")
    return first != "" and first in _CLOSING and any(character in _OPENING for character in text)
