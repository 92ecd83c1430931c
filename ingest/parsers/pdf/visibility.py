"""Finds the words of a page that nobody sees, and those that are struck out.

Hidden are words outside the page or their clipping, without paint and not above a picture (above one they are the
result of an OCR), transparent, white on white, too small to be seen, in a layer that is switched off, and covered by a
box that is drawn later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ingest.parsers.pdf.boxes import Box
from ingest.parsers.pdf.glyphs import BOTTOM, LEFT, RIGHT, TOP, Boxes, Glyphs
from ingest.parsers.pdf.graphics import Area, Graphics, Paint

#: Lower text, in points, is a trick. A page of another size than usual has another limit.
_MIN_HEIGHT = 1.2
_MIN_SHARE_OF_PAGE = 1 / 1000
#: A line strikes a word out if it crosses it between these shares of its height, counted from below, over most of its
#: width.
_STRUCK_FROM, _STRUCK_TO, _STRUCK_WIDTH = 0.3, 0.66, 0.7
#: A page with more lines and words than this product is a drawing: its lines strike nothing out.
_MAX_COMPARISONS = 20_000_000

Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.floating[Any]]


def hidden_words(glyphs: Glyphs, graphics: Graphics, page: Area) -> Flags:
    """Return for each word of a page whether nobody sees it. `page` is the visible part of the page's space."""
    middle_x = (np.minimum(glyphs.first[:, LEFT], glyphs.last[:, LEFT]) + _right(glyphs)) / 2
    middle_y = (np.minimum(glyphs.first[:, BOTTOM], glyphs.last[:, BOTTOM]) + _top(glyphs)) / 2
    is_outside = (middle_x < page.left) | (middle_x > page.right) | (middle_y < page.bottom) | (middle_y > page.top)
    least = min(_MIN_HEIGHT, _MIN_SHARE_OF_PAGE * max(page.right - page.left, page.top - page.bottom))
    first = glyphs.first
    extent = np.maximum(first[:, RIGHT] - first[:, LEFT], first[:, TOP] - first[:, BOTTOM])
    hidden: Flags = is_outside | ((extent < least) & (extent > 0))
    if graphics.paints:
        for word, paint in _painted(glyphs, graphics):
            hidden[word] |= _is_hidden(paint, graphics, float(middle_x[word]), float(middle_y[word]))
    _add_covered(hidden, glyphs, graphics, middle_x, middle_y)
    return hidden


def _right(glyphs: Glyphs) -> Places:
    return np.maximum(glyphs.first[:, RIGHT], glyphs.last[:, RIGHT])


def _top(glyphs: Glyphs) -> Places:
    return np.maximum(glyphs.first[:, TOP], glyphs.last[:, TOP])


def _painted(glyphs: Glyphs, graphics: Graphics) -> Iterable[tuple[int, Paint]]:
    for word in range(glyphs.count):
        paint = graphics.paints.get(glyphs.text_object(word))
        if paint is not None:
            yield word, paint


def _is_hidden(paint: Paint, graphics: Graphics, x: float, y: float) -> bool:
    if paint.is_off:
        return True
    if paint.clip is not None and not paint.clip.holds(x, y):
        return True
    if paint.is_invisible or paint.is_transparent:
        return not any(picture.holds(x, y) for picture in graphics.pictures)
    if paint.is_light and not graphics.has_shading:
        below = [fill for fill in graphics.fills if fill.order < paint.order and fill.area.holds(x, y)]
        return not below or (below[-1].is_light and below[-1].is_opaque)
    return False


def _add_covered(
    hidden: Flags,
    glyphs: Glyphs,
    graphics: Graphics,
    middle_x: Places,
    middle_y: Places,
) -> None:
    first_text = min(graphics.orders.values(), default=0)
    covers = [fill for fill in graphics.fills if fill.is_opaque and fill.order > first_text]
    if len(covers) * glyphs.count > _MAX_COMPARISONS:
        return
    for cover in covers:
        left, bottom, right, top = cover.area
        inside = (middle_x > left) & (middle_x < right) & (middle_y > bottom) & (middle_y < top) & ~hidden
        for word in np.flatnonzero(inside):
            order = graphics.orders.get(glyphs.text_object(int(word)))
            hidden[word] = order is not None and order < cover.order


def struck_words(boxes: Boxes, rules: Sequence[Box], struck: Boxes) -> Flags:
    """Return for each word whether a line is drawn through it, or an annotation strikes it out.

    Args:
        boxes: The upright boxes of the words.
        rules: The thin lines of the page, upright.
        struck: The upright rectangles of the annotations.
    """
    found = np.zeros(len(boxes), np.bool_)
    if len(rules) * len(boxes) > _MAX_COMPARISONS:
        return found
    width, height = boxes[:, 2] - boxes[:, 0], np.maximum(boxes[:, 3] - boxes[:, 1], 0.01)
    for rule in rules:
        if rule.width > rule.height:
            share = (boxes[:, 3] - rule.middle) / height
            common = np.minimum(boxes[:, 2], rule.right) - np.maximum(boxes[:, 0], rule.left)
            found |= (share > _STRUCK_FROM) & (share < _STRUCK_TO) & (common > _STRUCK_WIDTH * width)
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    for left, top, right, bottom in struck.tolist():
        common = np.minimum(boxes[:, 2], right) - np.maximum(boxes[:, 0], left)
        found |= (middle > top) & (middle < bottom) & (common > _STRUCK_WIDTH * width)
    return found
