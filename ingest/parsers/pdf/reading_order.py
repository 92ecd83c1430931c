"""Finds the order in which the segments of a page are read: columns, tables without lines, and rows. Pure geometry.

The page is divided into bands, one for each row of text. Neighbouring bands with a common gap from top to bottom are
a region of columns or a table; what tells them apart is in `gap_tables`. Columns are divided again in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingest.parsers.pdf.boxes import Block, BlockKind, Interval, Segment
from ingest.parsers.pdf.gap_tables import find_table
from ingest.parsers.pdf.rows import lines_of

#: The least gap between columns, in heights of the text; the larger is for regions of two rows, because two wide spaces
#: of justified lines may meet.
_MIN_GAP, _MIN_GAP_OF_TWO_ROWS = 0.7, 1.5
#: Deeper nested columns are read row by row.
_MAX_DEPTH = 12
#: A row that crosses at most this share of the gaps is a row with a wide cell; otherwise it ends the region.
_MAX_CROSSED_SHARE = 0.5
#: A gap that more than this share of the rows crosses is none.
_MAX_CROSSING_SHARE = 0.2
#: Segments are in one band if these shares of their heights, around their middles, are beside each other.
_CORE_SHARE = 0.5


@dataclass(slots=True)
class _Band:
    """Segments that are beside each other, directly or through others, and the intervals of x that they cover."""

    segments: list[Segment]
    covered: list[Interval]

    @property
    def gaps(self) -> list[Interval]:
        """The intervals between those that are covered."""
        pairs = zip(self.covered, self.covered[1:], strict=False)
        least = _MIN_GAP * min(segment.height for segment in self.segments)
        return [(before[1], after[0]) for before, after in pairs if after[0] - before[1] >= least]


@dataclass(slots=True)
class _Region:
    """Neighbouring bands with common gaps."""

    bands: list[_Band]
    gaps: list[Interval]


def reading_order(segments: Sequence[Segment], depth: int = 0) -> list[Block]:
    """Return the blocks of a page, or of a column, in reading order."""
    bands = _bands(segments)
    blocks: list[Block] = []
    plain: list[Segment] = []
    position = 0
    while position < len(bands):
        region = _region(bands, position) if depth < _MAX_DEPTH else None
        if region is None:
            plain += bands[position].segments
            position += 1
        else:
            # The row above is the top of a column, such as its heading, if it crosses no gap.
            blocks += _text(plain)
            plain = []
            blocks += _blocks_of(region, depth)
            position += len(region.bands)
    return blocks + _text(plain)


def _bands(segments: Sequence[Segment]) -> list[_Band]:
    groups: list[list[Segment]] = []
    end = float("-inf")
    for top, bottom, segment in sorted(((*_core(each), each) for each in segments), key=lambda item: item[:2]):
        if top >= end:
            groups.append([])
        groups[-1].append(segment)
        end = max(end, bottom)
    return [_Band(group, _union((each.left, each.right) for each in group)) for group in groups]


def _core(segment: Segment) -> Interval:
    if segment.rows is not None:
        return segment.top, segment.bottom
    half = segment.height * _CORE_SHARE / 2
    return segment.middle - half, segment.middle + half


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for left, right in sorted(intervals):
        if merged and left <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], right))
        else:
            merged.append((left, right))
    return merged


def _region(bands: Sequence[_Band], start: int) -> _Region | None:
    """Return the region that begins with a band, or None if there is none of at least two rows."""
    gaps = bands[start].gaps
    if not gaps:
        return None
    end, crossing = start + 1, [0] * len(gaps)
    while end < len(bands):
        band = bands[end]
        kept = [_narrow(gap, band) for gap in gaps]
        crossed = sum(gap is None for gap in kept)
        if end == start + 1 and len(band.covered) > 1 and crossed < len(gaps):
            gaps, crossing = [gap for gap in kept if gap is not None], [0] * (len(gaps) - crossed)
        elif crossed and (len(band.covered) < 2 or crossed > _MAX_CROSSED_SHARE * len(gaps)):
            break
        else:
            crossing = [count + (gap is None) for count, gap in zip(crossing, kept, strict=True)]
            gaps = [gap if narrowed is None else narrowed for gap, narrowed in zip(gaps, kept, strict=True)]
        end += 1
    while end > start + 1 and len(bands[end - 1].covered) < 2 and not _continues(bands, end - 1):
        end -= 1
    rows = end - start
    gaps = [gap for gap, count in zip(gaps, crossing, strict=True) if count <= _MAX_CROSSING_SHARE * rows]
    region = _Region(list(bands[start:end]), gaps)
    return region if gaps and _is_region(region) else None


def _narrow(gap: Interval, band: _Band) -> Interval | None:
    """Return the part of a gap that a band leaves free if that is wide enough, otherwise None."""
    left, right = gap
    least = _MIN_GAP * min(segment.height for segment in band.segments)
    for start, end in band.covered:
        if end <= left or start >= right:
            continue
        if start <= left and end >= right:
            return None
        if start <= left:
            left = end
        elif end >= right or start - left >= right - end:
            right = start
        else:
            left = end
    return (left, right) if right - left >= least else None


def _continues(bands: Sequence[_Band], position: int) -> bool:
    """Return whether a row of one column follows the row above it as closely as lines of a paragraph do."""
    band, above = bands[position], bands[position - 1]
    gap = min(each.top for each in band.segments) - max(each.bottom for each in above.segments)
    return gap < min(each.height for each in band.segments)


def _is_region(region: _Region) -> bool:
    rows = [band for band in region.bands if len(band.covered) > 1]
    if len(rows) == 1 and len(region.bands) == 1:
        # Lines of columns that are not level with each other form one band.
        return len(rows[0].segments) > 2 * (len(region.gaps) + 1) - 1 and _is_tall(rows[0])
    heights = [each.height for band in rows for each in band.segments]
    widest = max(right - left for left, right in region.gaps)
    return len(rows) >= 3 or (len(rows) == 2 and widest >= _MIN_GAP_OF_TWO_ROWS * min(heights))


def _is_tall(band: _Band) -> bool:
    heights = sorted(each.height for each in band.segments)
    top, bottom = min(each.top for each in band.segments), max(each.bottom for each in band.segments)
    return bottom - top >= 2 * heights[len(heights) // 2] or any(each.rows is not None for each in band.segments)


def _blocks_of(region: _Region, depth: int) -> list[Block]:
    columns = _divide([each for band in region.bands for each in band.segments], region.gaps)
    table = find_table([band.segments for band in region.bands], columns)
    if table is None:
        return [block for column in columns if column for block in reading_order(column, depth + 1)]
    return table


def _divide(segments: Sequence[Segment], gaps: Sequence[Interval]) -> list[list[Segment]]:
    columns: list[list[Segment]] = [[] for _ in range(len(gaps) + 1)]
    for segment in segments:
        # A segment that crosses gaps begins in the column of its left end.
        index = sum(segment.left >= (left + right) / 2 for left, right in gaps)
        columns[index].append(segment)
    return columns


def _text(segments: Sequence[Segment]) -> list[Block]:
    """Return rows of text as blocks, and the tables between them as blocks of their own."""
    blocks: list[Block] = []
    plain: list[Segment] = []
    for segment in sorted(segments, key=lambda each: each.top):
        if segment.rows is None:
            plain.append(segment)
            continue
        if plain:
            blocks.append(Block(BlockKind.TEXT, lines_of(plain)))
            plain = []
        blocks.append(Block(BlockKind.TABLE, rows=segment.rows))
    if plain:
        blocks.append(Block(BlockKind.TEXT, lines_of(plain)))
    return blocks
