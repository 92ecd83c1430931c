"""Turns the words of a page upright and joins them to segments: pieces of lines without a wide gap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ingest.parsers.pdf.bidi import RIGHT_TO_LEFT, logical_text
from ingest.parsers.pdf.boxes import Box, Segment
from ingest.parsers.pdf.glyphs import BOTTOM, LEFT, RIGHT, TOP, Boxes, Glyphs
from ingest.parsers.pdf.scripts import raised_words
from ingest.parsers.pdf.visibility import struck_words

#: The directions of text on a page; a quarter is counterclockwise. Text at another angle is skewed.
UPRIGHT, QUARTER, HALF, THREE_QUARTERS, DOWNWARDS, SKEWED = range(6)
#: Turns of at most this many radians count as none, because scans are never straight.
_MAX_SKEW = math.radians(15)
#: A gap from this share of the text's height on separates segments; the spaces of justified text are smaller.
_GAP_SHARE = 0.7
#: A word that begins this share of the text's height before the end of the one before it does not continue it.
_OVERLAP_SHARE = 0.5
#: Words whose middles differ by more than this share of the height are on different lines.
_LEVEL_SHARE = 0.6
_MIN_HEIGHT = 0.01
_STRUCK = "~~"

Words = npt.NDArray[np.intp]


def directions_of(glyphs: Glyphs) -> npt.NDArray[np.int8]:
    """Return the direction of each word."""
    across = (glyphs.last[:, LEFT] + glyphs.last[:, RIGHT]) - (glyphs.first[:, LEFT] + glyphs.first[:, RIGHT])
    upwards = (glyphs.last[:, TOP] + glyphs.last[:, BOTTOM]) - (glyphs.first[:, TOP] + glyphs.first[:, BOTTOM])
    found = np.full(glyphs.count, UPRIGHT, np.int8)
    is_single = glyphs.ends - glyphs.starts == 1
    odd = (across < np.abs(upwards)) & ~is_single
    if not odd.any():
        return found
    for word in np.flatnonzero(odd | is_single):
        found[word] = _direction(glyphs.angle(int(word)), is_falling=upwards[word] < -abs(across[word]))
    # A single character of vertical text has no direction of its own.
    if (found == DOWNWARDS).sum() * 2 > (~is_single).sum():
        found[(found == UPRIGHT) & is_single] = DOWNWARDS
    return found


def _direction(clockwise: float, *, is_falling: bool) -> int:
    turns = -clockwise / (math.pi / 2)
    nearest = round(turns)
    if abs(turns - nearest) * (math.pi / 2) > _MAX_SKEW:
        return SKEWED
    direction = nearest % 4
    return DOWNWARDS if direction == UPRIGHT and is_falling else direction


def upright(boxes: Boxes, direction: int) -> Boxes:
    """Return boxes as left, top, right and bottom with y downwards, turned so that their text is upright.

    Vertical writing is turned so that its columns become lines, the rightmost first.
    """
    left, top, right, bottom = boxes.T
    if direction == QUARTER:
        columns = (bottom, left, top, right)
    elif direction == HALF:
        columns = (-right, bottom, -left, top)
    elif direction in (THREE_QUARTERS, DOWNWARDS):
        columns = (-top, -right, -bottom, -left)
    else:
        columns = (left, -top, right, -bottom)
    return np.stack(columns, axis=1)


def make_segments(glyphs: Glyphs, words: Words, direction: int, rules: Sequence[Box], struck: Boxes) -> list[Segment]:
    """Return the segments of the given words, which all have the same direction.

    Args:
        glyphs: The words of the page.
        words: The indices of at least one word, ascending.
        direction: Their direction.
        rules: The thin lines of the page, upright. Vertical ones divide segments.
        struck: The upright rectangles of the annotations that strike text out.
    """
    first, last = upright(glyphs.first[words], direction), upright(glyphs.last[words], direction)
    boxes = np.concatenate([np.minimum(first, last)[:, :2], np.maximum(first, last)[:, 2:]], axis=1)
    texts = dict(raised_words(glyphs, words, first, last))
    _mark_struck(texts, glyphs, words[struck_words(boxes, rules, struck)])
    is_mixed = RIGHT_TO_LEFT.search(glyphs.text) is not None
    begins = _begins(glyphs, words, boxes, is_mixed=is_mixed)
    for rule in rules:
        if rule.height > rule.width:
            _divide(begins, boxes, rule)
    starts = np.flatnonzero(begins)
    lows = np.minimum.reduceat(boxes[:, :2], starts)
    highs = np.maximum.reduceat(boxes[:, 2:], starts)
    ends = [*starts[1:].tolist(), words.size]
    numbers = words.tolist()
    segments = []
    for start, end, low, high in zip(starts.tolist(), ends, lows.tolist(), highs.tolist(), strict=True):
        text, is_rtl = _text_of(glyphs, numbers[start], numbers[end - 1] + 1, texts), False
        if is_mixed and RIGHT_TO_LEFT.search(text):
            text, is_rtl = _turned(glyphs, numbers[start], numbers[end - 1], direction), True
        segments.append(Segment(low[0], low[1], high[0], high[1], text, is_rtl))
    return segments


def _begins(glyphs: Glyphs, words: Words, boxes: Boxes, *, is_mixed: bool) -> npt.NDArray[np.bool_]:
    """Return for each word whether a segment begins with it."""
    left, top, right, bottom = boxes.T
    height = np.maximum(bottom - top, _MIN_HEIGHT)
    least = np.minimum(height[1:], height[:-1])
    gap = left[1:] - right[:-1]
    if is_mixed:
        # The next word may be on either side.
        gap = np.maximum(gap, left[:-1] - right[1:])
    begins = np.ones(words.size, np.bool_)
    begins[1:] = (
        (glyphs.lines[words[1:]] != glyphs.lines[words[:-1]])
        | (np.diff(words) > 1)
        | (gap > _GAP_SHARE * least)
        | (gap < -_OVERLAP_SHARE * least)
        | (np.abs(top[1:] + bottom[1:] - top[:-1] - bottom[:-1]) > 2 * _LEVEL_SHARE * least)
    )
    return begins


def _divide(begins: npt.NDArray[np.bool_], boxes: Boxes, rule: Box) -> None:
    """Let segments begin after a vertical line."""
    x = (rule.left + rule.right) / 2
    middle = (boxes[1:, 1] + boxes[1:, 3]) / 2
    is_between = (boxes[:-1, 2] <= x + 1) & (boxes[1:, 0] >= x - 1)
    begins[1:] |= is_between & (middle > rule.top) & (middle < rule.bottom)


def _mark_struck(texts: dict[int, str], glyphs: Glyphs, words: Words) -> None:
    """Put marks around the words of each line that are struck out."""
    previous = -2
    for word in words.tolist():
        text = texts.get(word, glyphs.text[int(glyphs.starts[word]) : int(glyphs.ends[word])])
        if word == previous + 1 and glyphs.lines[word] == glyphs.lines[previous]:
            texts[previous] = texts[previous].removesuffix(_STRUCK)
            texts[word] = text + _STRUCK
        else:
            texts[word] = _STRUCK + text + _STRUCK
        previous = word


def _text_of(glyphs: Glyphs, first: int, end: int, texts: Mapping[int, str]) -> str:
    """Return the text from a word up to another one."""
    start = int(glyphs.starts[first])
    if not texts or not any(word in texts for word in range(first, end)):
        return glyphs.text[start : int(glyphs.ends[end - 1])]
    parts = []
    for word in range(first, end):
        begin, finish = int(glyphs.starts[word]), int(glyphs.ends[word])
        parts += [glyphs.text[start:begin], texts.get(word, glyphs.text[begin:finish])]
        start = finish
    return "".join(parts)


def _turned(glyphs: Glyphs, first: int, last: int, direction: int) -> str:
    """Return the text of some words in the order of reading, if a part of it is written from right to left."""
    start, end = int(glyphs.starts[first]), int(glyphs.ends[last])
    boxes = upright(glyphs.loose_boxes(start, end), direction)
    height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    return logical_text(glyphs.text[start:end], [(left, right) for left, right in boxes[:, ::2].tolist()], height)
