"""Finds tables whose cells are bounded by lines, and reads their cells with the columns and rows that these span."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ingest.parsers.pdf.boxes import Box, Interval, Segment, Table, TableCell, around
from ingest.parsers.pdf.gap_tables import is_prose, join_cell

#: Lines that are at most this far apart, in points, are one, and meet.
_NEAR = 3.0
#: More lines are a drawing; more columns or rows are one, too.
_MAX_RULES, _MAX_COLUMNS, _MAX_ROWS = 3000, 100, 1000
_MIN_RULE = 8.0
#: A side of a cell is drawn if lines cover this share of it.
_COVERED_SHARE = 0.6
#: Of the cells of a table at least this share have text; of a chart or a form's frames fewer do.
_MIN_FILLED_SHARE = 0.25
#: Long cells are columns of running text between separating lines.
_LONG_CELL_LINES = 12


@dataclass(slots=True)
class _Grid:
    """Lines that meet each other."""

    across: list[Box] = field(default_factory=list)
    down: list[Box] = field(default_factory=list)


def with_tables(segments: Sequence[Segment], rules: Sequence[Box]) -> list[Segment]:
    """Return the segments of a page with one in place of all those of each table that is drawn by lines.

    Args:
        segments: The segments of the page, which cross no vertical line.
        rules: The thin lines of the page, upright as the segments.
    """
    remaining = list(segments)
    for grid in _grids(rules):
        remaining = _replace(remaining, grid)
    return remaining


def _grids(rules: Sequence[Box]) -> list[_Grid]:
    across = _merged([rule for rule in rules if rule.width >= max(rule.height, _MIN_RULE)], is_across=True)
    down = _merged([rule for rule in rules if rule.height > rule.width and rule.height >= _MIN_RULE], is_across=False)
    if len(across) < 2 or not down or len(across) + len(down) > _MAX_RULES:
        return []
    owner = list(range(len(across)))

    def root(index: int) -> int:
        while owner[index] != index:
            owner[index] = owner[owner[index]]
            index = owner[index]
        return index

    met: list[int | None] = []
    for line in down:
        crossing = [index for index, other in enumerate(across) if _meet(other, line)]
        for index in crossing[1:]:
            owner[root(index)] = root(crossing[0])
        met.append(crossing[0] if crossing else None)
    grids: dict[int, _Grid] = defaultdict(_Grid)
    for index, line in enumerate(across):
        grids[root(index)].across.append(line)
    for place, line in zip(met, down, strict=True):
        if place is not None:
            grids[root(place)].down.append(line)
    return [grid for grid in grids.values() if len(grid.across) >= 2 and grid.down]


def _merged(rules: Iterable[Box], *, is_across: bool) -> list[Box]:
    """Join the pieces of lines, such as the upper sides of the cells of a row."""

    def level(rule: Box) -> float:
        return rule.middle if is_across else (rule.left + rule.right) / 2

    merged: list[Box] = []
    for rule in sorted(rules, key=lambda each: (round(level(each) / _NEAR), each.left if is_across else each.top)):
        last = merged[-1] if merged else None
        if last is not None and abs(level(last) - level(rule)) <= _NEAR:
            if is_across and rule.left <= last.right + _NEAR:
                last.right = max(last.right, rule.right)
                continue
            if not is_across and rule.top <= last.bottom + _NEAR:
                last.bottom = max(last.bottom, rule.bottom)
                continue
        merged.append(Box(*rule.bounds()))
    return merged


def _meet(across: Box, down: Box) -> bool:
    x, y = (down.left + down.right) / 2, across.middle
    return across.left - _NEAR <= x <= across.right + _NEAR and down.top - _NEAR <= y <= down.bottom + _NEAR


def _replace(segments: list[Segment], grid: _Grid) -> list[Segment]:
    across, down = grid.across, grid.down
    sides = [edge for line in across for edge in (line.left, line.right)]
    columns = _levels([(line.left + line.right) / 2 for line in down], sides)
    rows = _levels([line.middle for line in across], [edge for line in down for edge in (line.top, line.bottom)])
    if not 3 <= len(columns) <= _MAX_COLUMNS or not 2 <= len(rows) <= _MAX_ROWS:
        return segments
    box = Box(columns[0] - _NEAR, rows[0] - _NEAR, columns[-1] + _NEAR, rows[-1] + _NEAR)
    inside = [each for each in segments if each.rows is None and _is_inside(each, box)]
    cells = _cells(inside, columns, rows)
    if len(cells) < 3 or len(cells) < _MIN_FILLED_SHARE * (len(columns) - 1) * (len(rows) - 1):
        return segments
    if sum(len(cell) > _LONG_CELL_LINES and is_prose(cell) for cell in cells.values()) >= 2:
        return segments
    taken = set(map(id, inside))
    table = Segment(*around(inside).bounds(), "", rows=_table(cells, grid, columns, rows))
    return [each for each in segments if id(each) not in taken] + [table]


def _levels(lines: Sequence[float], ends: Sequence[float]) -> list[float]:
    """Return the places of the lines, and the outermost ends of the lines that cross them, each once."""
    levels: list[float] = []
    for place in sorted([*lines, min(ends), max(ends)]):
        if not levels or place - levels[-1] > _NEAR * 1.5:
            levels.append(place)
    return levels


def _is_inside(segment: Segment, box: Box) -> bool:
    return box.holds((segment.left + segment.right) / 2, segment.middle)


def _cells(segments: Iterable[Segment], columns: Sequence[float], rows: Sequence[float]) -> dict[Place, list[Segment]]:
    cells: dict[Place, list[Segment]] = defaultdict(list)
    for segment in segments:
        row = min(max(bisect_right(rows, segment.middle) - 1, 0), len(rows) - 2)
        # The left end, because a text that spans columns begins in the first of them.
        column = min(max(bisect_right(columns, segment.left + _NEAR) - 1, 0), len(columns) - 2)
        cells[row, column].append(segment)
    return cells


Place = tuple[int, int]


def _table(cells: dict[Place, list[Segment]], grid: _Grid, columns: Sequence[float], rows: Sequence[float]) -> Table:
    down = _covered_by_level(grid.down, columns, is_across=False)
    across = _covered_by_level(grid.across, rows, is_across=True)
    taken: set[Place] = set()
    table: Table = []
    for row in range(len(rows) - 1):
        line: list[TableCell] = []
        for column in range(len(columns) - 1):
            if (row, column) in taken:
                continue
            wide = tall = 1
            while column + wide < len(columns) - 1 and not _is_drawn(down[column + wide], rows[row], rows[row + 1]):
                wide += 1
            while row + tall < len(rows) - 1 and not _is_drawn(
                across[row + tall], columns[column], columns[column + wide]
            ):
                tall += 1
            places = [(y, x) for y in range(row, row + tall) for x in range(column, column + wide)]
            taken.update(places)
            text = join_cell([segment for place in places for segment in cells.get(place, ())])
            line.append(TableCell(text, wide, tall))
        table.append(line)
    return table


def _covered_by_level(lines: Sequence[Box], levels: Sequence[float], *, is_across: bool) -> list[list[Interval]]:
    """Return the intervals along each level that lines are drawn on."""
    covered: list[list[Interval]] = [[] for _ in levels]
    for line in lines:
        place = line.middle if is_across else (line.left + line.right) / 2
        nearest = min(range(len(levels)), key=lambda index: abs(levels[index] - place))
        covered[nearest].append((line.left, line.right) if is_across else (line.top, line.bottom))
    return covered


def _is_drawn(covered: Sequence[Interval], start: float, end: float) -> bool:
    common = sum(max(0.0, min(end, high) - max(start, low)) for low, high in covered)
    return common >= _COVERED_SHARE * (end - start)
