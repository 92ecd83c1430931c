"""Joins the segments of a column into lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest.parsers.pdf.boxes import Line, Segment, around

#: Segments are on one line if this share of the lower one's height is beside the other.
_LEVEL_SHARE = 0.5
#: Segments that the content stream separates belong to one word if the gap is below this share of the text's height.
_MAX_GAP_IN_WORD = 0.12
#: Lines of which each is at least this share of the height below the one before.
_PLAIN_SHARE = 0.6
#: The bullet or number of a list item, and the most between it and its text, in heights.
_LABEL = re.compile(r"[•●▪◦‣∙·–*\uf0b7\uf0a7-]|\d{1,3}[.)]|\([a-z0-9]{1,3}\)|[a-z][.)]")
_MAX_LABEL = 5
_LABEL_GAP = 3.0
_MAX_COMPARISONS = 2_000_000


def with_labels(segments: Sequence[Segment]) -> list[Segment]:
    """Join the bullets and numbers of list items with the text beside them, so that they are no column."""
    labels = [each for each in segments if len(each.text) <= _MAX_LABEL and _LABEL.fullmatch(each.text)]
    if not labels or len(labels) * len(segments) > _MAX_COMPARISONS:
        return list(segments)
    taken: set[int] = set()
    for label in labels:
        reach = label.right + _LABEL_GAP * label.height
        beside = [
            each
            for each in segments
            if each.rows is None and label.right <= each.left <= reach and _is_level(label, each)
        ]
        if beside:
            text = min(beside, key=lambda each: each.left)
            text.left, text.text = label.left, f"{label.text} {text.text}"
            taken.add(id(label))
    return [each for each in segments if id(each) not in taken]


def _is_level(one: Segment, other: Segment) -> bool:
    overlap = min(one.bottom, other.bottom) - max(one.top, other.top)
    return overlap >= _LEVEL_SHARE * min(one.height, other.height)


def rows_of(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Return the segments of each line, lines from top to bottom, segments from left to right."""
    rows: list[list[Segment]] = []
    top, bottom = 0.0, 0.0
    for segment in sorted(segments, key=lambda each: each.middle):
        overlap = min(bottom, segment.bottom) - max(top, segment.top)
        if rows and overlap >= _LEVEL_SHARE * min(bottom - top, segment.height):
            rows[-1].append(segment)
            # The tallest segment is the measure, so that raised digits do not lead to the line above.
            if segment.height > bottom - top:
                top, bottom = segment.top, segment.bottom
        else:
            rows.append([segment])
            top, bottom = segment.top, segment.bottom
    return [sorted(row, key=lambda each: each.left) if len(row) > 1 else row for row in rows]


def are_plain_lines(segments: Sequence[Segment]) -> bool:
    """Return whether each segment is a line below the one before it, so that there is nothing to order."""
    middle, height = float("-inf"), 0.0
    for segment in segments:
        top, bottom = segment.top, segment.bottom
        before, middle = middle, (top + bottom) / 2
        above, height = height, bottom - top
        if middle - before < _PLAIN_SHARE * (height if height > above else above) or segment.rows is not None:
            return False
    return True


def lines_of(segments: Sequence[Segment]) -> list[Line]:
    """Return the lines of a column."""
    boxes = ((row[0] if len(row) == 1 else around(row), row) for row in rows_of(segments))
    return [Line(*box.bounds(), join_row(row)) for box, row in boxes]


def join_row(row: Sequence[Segment]) -> str:
    """Return the text of segments that are beside each other, from left to right, in the order of reading."""
    if len(row) == 1:
        return row[0].text
    if sum(len(each.text) for each in row if each.is_rtl) * 2 > sum(len(each.text) for each in row):
        row = row[::-1]
    text = row[0].text
    for before, segment in zip(row, row[1:], strict=False):
        left, right = (before, segment) if before.left <= segment.left else (segment, before)
        gap = right.left - left.right
        has_gap = gap >= _MAX_GAP_IN_WORD * min(before.height, segment.height)
        text += " " + segment.text if has_gap else segment.text
    return text
