"""Finds raised digits, which stay apart from the number or word before them: 10⁵, m², and 25 with note 3."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ingest.parsers.pdf.glyphs import Boxes, Glyphs

#: Raised characters are lower than this share of the height of those beside them, and begin this share of it higher.
_SIZE_SHARE, _RAISED_SHARE = 0.88, 0.12
_TOP, _BOTTOM = 1, 3
_RAISED = str.maketrans("0123456789+-\u2212()", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁽⁾")
_RAISABLE = re.compile(r"[-+\u2212(]?\d{1,3}[)]?")
#: A number with a mark after it, which hides from the last character that its last digit is raised.
_MARK_AFTER_DIGIT = re.compile(r"\d[^\w\s]+(?=\s|$)")


def raised_words(glyphs: Glyphs, words: npt.NDArray[np.intp], first: Boxes, last: Boxes) -> Iterator[tuple[int, str]]:
    """Yield the words with raised digits, and their texts with these as raised characters.

    Args:
        glyphs: The words of the page.
        words: The indices of the words that are looked at.
        first: The upright boxes of their first characters.
        last: The upright boxes of their last characters.
    """
    height, last_height = first[:, _BOTTOM] - first[:, _TOP], last[:, _BOTTOM] - last[:, _TOP]
    mixed = _are_raised(last_height, last[:, _BOTTOM], height, first[:, _BOTTOM])
    mixed |= _are_raised(height, first[:, _BOTTOM], last_height, last[:, _BOTTOM])
    whole = np.zeros(words.size, np.bool_)
    whole[1:] = _are_raised(height[1:], first[1:, _BOTTOM], last_height[:-1], last[:-1, _BOTTOM])
    whole[1:] &= np.abs(first[1:, 0] - last[:-1, 2]) < last_height[:-1]
    starts = glyphs.starts[words]
    for match in _MARK_AFTER_DIGIT.finditer(glyphs.text):
        place = int(np.searchsorted(starts, match.start(), side="right")) - 1
        mixed[place] |= place >= 0 and starts[place] < match.start()
    for place in np.flatnonzero(mixed).tolist():
        word = int(words[place])
        text = _with_raised(glyphs, word)
        if text is not None:
            yield word, text
    for place in np.flatnonzero(whole & ~mixed).tolist():
        word = int(words[place])
        text = glyphs.text[int(glyphs.starts[word]) : int(glyphs.ends[word])]
        if _RAISABLE.fullmatch(text):
            yield word, text.translate(_RAISED)


def _are_raised(
    height: npt.NDArray[np.float32],
    bottom: npt.NDArray[np.float32],
    usual: npt.NDArray[np.float32],
    baseline: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    is_small = height < _SIZE_SHARE * usual
    raised = baseline - bottom
    return is_small & (raised > _RAISED_SHARE * usual) & (raised < usual)


def _with_raised(glyphs: Glyphs, word: int) -> str | None:
    """Return the text of a word with its raised digits as such, or None if it has none."""
    start, end = int(glyphs.starts[word]), int(glyphs.ends[word])
    boxes = glyphs.loose_boxes(start, end)
    height = np.abs(boxes[:, 1] - boxes[:, 3])
    tallest = int(np.argmax(height))
    usual = float(height[tallest])
    across = float(boxes[-1, 0] - boxes[0, 0])
    along = float(boxes[-1, 3] - boxes[0, 3])
    if abs(along) > abs(across):
        return None
    upwards = -1 if across < 0 else 1
    edge = 3 if upwards > 0 else 1
    lift = (boxes[:, edge] - boxes[tallest, edge]) * upwards
    is_raised = (height < _SIZE_SHARE * usual) & (lift > _RAISED_SHARE * usual)
    text, found = "", False
    for character, raised in zip(glyphs.text[start:end], is_raised.tolist(), strict=True):
        is_digit = raised and (character.isdigit() or character in "+-\u2212()")
        found |= is_digit
        text += character.translate(_RAISED) if is_digit else character
    return text if found else None
