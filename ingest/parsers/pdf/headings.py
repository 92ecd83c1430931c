"""Finds headings by the size of their text, in documents without an outline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ingest.parsers.pdf.boxes import Line

#: Headings are this much larger than most of the text.
_MIN_RATIO = 1.15
_MAX_LEVELS = 6
_MAX_CHARACTERS = 150
#: More sizes than this are posters and forms, whose large texts are no headings.
_MAX_SIZES = 12
_NO_HEADING_ENDS = (".", ",", ";", "-", "。")


def heading_levels(lines: Iterable[Line]) -> Mapping[int, int]:
    """Return the levels of headings by the size of their text, in half points; empty if there are none."""
    sizes: Counter[int] = Counter()
    for line in lines:
        sizes[size_of(line)] += len(line.text)
    total = sum(sizes.values())
    if not total:
        return {}
    usual = sizes.most_common(1)[0][0]
    larger = sorted((size for size in sizes if size >= _MIN_RATIO * usual), reverse=True)
    # Text that is as frequent as this is text of another kind.
    larger = [size for size in larger if sizes[size] < total / 4]
    if not larger or len(larger) > _MAX_SIZES:
        return {}
    return {size: min(level, _MAX_LEVELS) for level, size in enumerate(larger)}


def size_of(line: Line) -> int:
    """Return the height of a line in half points."""
    return round(2 * line.height)


def may_be_heading(text: str) -> bool:
    """Return whether a text reads like a heading."""
    has_words = sum(map(str.isalpha, text)) >= 2 or any("\u3040" <= character <= "\u9fff" for character in text)
    return has_words and len(text) <= _MAX_CHARACTERS and not text.endswith(_NO_HEADING_ENDS)
