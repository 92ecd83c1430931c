"""Tells tables whose cells are separated by gaps alone from columns of running text."""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from ingest.parsers.pdf.boxes import Block, BlockKind, Segment, TableCell, around
from ingest.parsers.pdf.rows import join_row, lines_of, rows_of

#: Segments are level if their middles differ by at most this share of their height.
_LEVEL_SHARE = 0.35
#: A table has at least this share of the segments of its shorter column level with some of another one.
_MIN_LEVEL_SHARE = 0.6
#: Lines of running text fill at least this share of their column on average.
_MIN_FILL = 0.6
_FULL = 0.85
#: The average characters in a line of running text, at least.
_MIN_CHARACTERS = 15
#: The share of lines of running text that begin with a small letter, because they continue a sentence.
_MIN_CONTINUED = 0.25
_MIN_PROSE_LINES = 3
#: A row without a first cell belongs to the row above if the gap to it is smaller than this share of the usual gap
#: between rows.
_TIGHT = 0.7

Row = list[list[Segment]]


def find_table(bands: Sequence[Sequence[Segment]], columns: Sequence[Sequence[Segment]]) -> list[Block] | None:
    """Return the blocks of a region that is a table, or None if it is columns of text.

    Args:
        bands: The segments of each row of text, from top to bottom.
        columns: The segments of each column, from left to right.
    """
    if any(segment.rows is not None for band in bands for segment in band):
        return None
    if len(bands) < 2 or not _is_level(columns) or _is_running_text(columns):
        return None
    place = {id(segment): index for index, column in enumerate(columns) for segment in column}
    rows = [_cells(band, place, len(columns)) for band in bands]
    above, rows = _peel(rows)
    if len(rows) < 2:
        return None
    table = [[TableCell(join_cell(cell)) for cell in row] for row in _join_continued(rows)]
    blocks = [Block(BlockKind.TEXT, lines_of(above))] if above else []
    return [*blocks, Block(BlockKind.TABLE, rows=table)]


def join_cell(segments: Sequence[Segment]) -> str:
    """Return the text of a cell, whose lines are joined by spaces."""
    return " ".join(join_row(row) for row in rows_of(segments))


def _is_level(columns: Sequence[Sequence[Segment]]) -> bool:
    filled = sorted((column for column in columns if column), key=len)
    if len(filled) < 2:
        return False
    others = sorted(segment.middle for column in filled[1:] for segment in column)
    middles = [(segment.middle, segment.height) for segment in filled[0]]
    level = sum(
        bisect_left(others, middle - _LEVEL_SHARE * height) < bisect_right(others, middle + _LEVEL_SHARE * height)
        for middle, height in middles
    )
    return level >= _MIN_LEVEL_SHARE * len(middles)


def _is_running_text(columns: Sequence[Sequence[Segment]]) -> bool:
    prose = [is_prose(column) for column in columns if column]
    return sum(prose) >= 2


def is_prose(column: Sequence[Segment]) -> bool:
    """Return whether a column is running text: long lines that fill it, and sentences that go on in the next line."""
    lines = lines_of(column)
    width = around(lines).width
    if len(lines) < _MIN_PROSE_LINES or width <= 0:
        return False
    fill = statistics.fmean(line.width for line in lines) / width
    characters = statistics.fmean(len(line.text) for line in lines)
    continued = sum(line.text[:1].islower() for line in lines[1:]) / (len(lines) - 1)
    is_wide = characters >= _MIN_CHARACTERS or not any(line.text.isascii() for line in lines)
    return is_wide and fill >= _MIN_FILL and (continued >= _MIN_CONTINUED or fill >= _FULL)


def _cells(band: Sequence[Segment], place: dict[int, int], count: int) -> Row:
    row: Row = [[] for _ in range(count)]
    for segment in band:
        row[place[id(segment)]].append(segment)
    return row


def _peel(rows: list[Row]) -> tuple[list[Segment], list[Row]]:
    """Take the rows above the table that have only a first cell, such as its caption."""
    count = 0
    while count < len(rows) and sum(map(bool, rows[count])) == 1 and rows[count][0]:
        count += 1
    return [segment for row in rows[:count] for segment in row[0]], rows[count:]


def _join_continued(rows: Sequence[Row]) -> list[Row]:
    """Join the lines of cells that have several with the row that they belong to."""
    spaces = [_top(row) - _bottom(above) for above, row in zip(rows, rows[1:], strict=False)]
    usual = statistics.median([space for space, row in zip(spaces, rows[1:], strict=True) if row[0]] or [float("inf")])
    joined = [rows[0]]
    for space, row in zip(spaces, rows[1:], strict=True):
        is_part = not row[0] and all(above or not cell for above, cell in zip(joined[-1], row, strict=True))
        if is_part and (_is_tighter(space, usual, row) or _begins_small(row)):
            joined[-1] = [above + cell for above, cell in zip(joined[-1], row, strict=True)]
        else:
            joined.append(row)
    return joined


def _is_tighter(space: float, usual: float, row: Row) -> bool:
    height = _bottom(row) - _top(row)
    return space + height < _TIGHT * (usual + height)


def _begins_small(row: Row) -> bool:
    return all(join_cell(cell)[:1].islower() for cell in row if cell)


def _top(row: Row) -> float:
    return min(segment.top for cell in row for segment in cell)


def _bottom(row: Row) -> float:
    return max(segment.bottom for cell in row for segment in cell)
