"""The parts of a page that the reading order is found for, with their places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

#: The least and the greatest x, or y, of something.
Interval = tuple[float, float]


@dataclass(slots=True)
class Box:
    """A rectangle in points, as the reader sees it: x to the right, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """The width in points."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """The height in points; for text, that of the font."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """The y coordinate of the centre."""
        return (self.top + self.bottom) / 2

    def holds(self, x: float, y: float) -> bool:
        """Return whether a point is inside."""
        return self.left <= x <= self.right and self.top <= y <= self.bottom

    @property
    def is_empty(self) -> bool:
        """Whether it has no area."""
        return self.right <= self.left or self.bottom <= self.top

    def bounds(self) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom."""
        return self.left, self.top, self.right, self.bottom


@dataclass(slots=True)
class Line(Box):
    """A line of text."""

    text: str


@dataclass(slots=True)
class Segment(Line):
    """A piece of a line without a gap wider than a space, or a table that takes part in the reading order."""

    #: Whether its text runs from right to left.
    is_rtl: bool = False
    #: The rows of a table that was found before the reading order.
    rows: Table | None = None


class BlockKind(Enum):
    """The role of a block on its page."""

    TEXT = "text"
    TABLE = "table"
    #: A footnote: it stands between two parts of the running text, but belongs to neither.
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class TableCell:
    """A cell of a table, and how many columns and rows it covers."""

    text: str
    columns: int = 1
    rows: int = 1


#: The rows of a table. A cell that spans rows is in the first of them only.
Table = list[list[TableCell]]


@dataclass(slots=True)
class Block:
    """A paragraph column, a table or a footnote: what is read without leaving it."""

    kind: BlockKind
    lines: Sequence[Line] = field(default_factory=list)
    rows: Table = field(default_factory=list)

    @property
    def box(self) -> Box:
        """The rectangle around its lines."""
        return around(self.lines)


def around(boxes: Iterable[Box]) -> Box:
    """Return the rectangle around at least one other."""
    lefts, tops, rights, bottoms = zip(*(box.bounds() for box in boxes), strict=True)
    return Box(min(lefts), min(tops), max(rights), max(bottoms))
