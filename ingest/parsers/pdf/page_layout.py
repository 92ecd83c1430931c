"""Reads a page of a PDF as blocks in reading order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pypdfium2

from ingest.parsers.pdf.bidi import RIGHT_TO_LEFT
from ingest.parsers.pdf.boxes import Block, BlockKind, Box, Segment
from ingest.parsers.pdf.glyphs import Boxes, Glyphs
from ingest.parsers.pdf.graphics import Area, Graphics, read_graphics
from ingest.parsers.pdf.notes import mark_notes
from ingest.parsers.pdf.reading_order import reading_order
from ingest.parsers.pdf.rows import are_plain_lines, with_labels
from ingest.parsers.pdf.ruled_tables import with_tables
from ingest.parsers.pdf.segments import SKEWED, UPRIGHT, directions_of, make_segments, upright
from ingest.parsers.pdf.visibility import hidden_words

#: The segments of a page beyond which it is a drawing, whose words are read in the order of the file.
_MAX_SEGMENTS = 20_000


#: Text that is not plain: from right to left, raised, or list items whose labels may be apart.
_NUMBERED = re.compile(r"(?:\n|\A)\d+[.)]\s")
_NOT_PLAIN = re.compile(f"{RIGHT_TO_LEFT.pattern}|^[•●▪◦‣∙·]\\s", re.M)
_MIN_PLAIN_HEIGHT = 2.0


@dataclass(slots=True)
class PageText:
    """The text of a page."""

    blocks: list[Block] = field(default_factory=list)
    #: The page as the reader of its main direction sees it.
    box: Box = field(default_factory=lambda: Box(0, 0, 0, 0))
    #: The characters that nobody sees and that were left out.
    hidden_characters: int = 0
    #: Whether there are pictures.
    has_pictures: bool = False
    #: The direction of most words; annotations are placed by it.
    direction: int = 0
    #: The segments of the main direction, which labels of form fields are looked for in.
    segments: list[Segment] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All lines and cells."""
        lines = [line.text for block in self.blocks for line in block.lines]
        cells = [cell.text for block in self.blocks for row in block.rows for cell in row]
        return "\n".join(lines + cells)


def read_layout(page: pypdfium2.PdfPage, struck_areas: Sequence[Area], shown_layers: set[str]) -> PageText:
    """Return the text of a page in reading order; it is empty if the page has none or it cannot be read.

    Args:
        page: The page.
        struck_areas: The rectangles of annotations that strike text out.
        shown_layers: The names of layers that are known to be on; changed.
    """
    try:
        glyphs = Glyphs(page)
    except pypdfium2.PdfiumError:
        return PageText()
    try:
        if not glyphs.text.strip():
            return PageText()
        graphics = read_graphics(page, shown_layers)
        plain = None if struck_areas else _plain(page, glyphs, graphics)
        return plain or _layout(page, glyphs, graphics, struck_areas)
    finally:
        glyphs.close()


def _plain(page: pypdfium2.PdfPage, glyphs: Glyphs, graphics: Graphics) -> PageText | None:
    """Return a page of plain lines below each other, or None if it is none, or something may hide or mark its text."""
    if graphics.paints or graphics.rules or graphics.fills:
        return None
    if _NUMBERED.search(glyphs.text) or (not glyphs.text.isascii() and _NOT_PLAIN.search(glyphs.text)):
        return None
    lines = glyphs.plain_lines()
    if lines is None:
        return None
    box = Box(*upright(area_boxes([visible_area(page)]), UPRIGHT)[0].tolist())
    segments = [Segment(*line.bounds(), line.text) for line in lines]
    is_inside = all(box.holds(each.left, each.middle) and each.height > _MIN_PLAIN_HEIGHT for each in segments)
    if not is_inside or not are_plain_lines(segments):
        return None
    blocks = [Block(BlockKind.TEXT, segments)]
    mark_notes(blocks, box)
    return PageText(blocks, box, segments=segments)


def _layout(page: pypdfium2.PdfPage, glyphs: Glyphs, graphics: Graphics, struck_areas: Sequence[Area]) -> PageText:
    glyphs.read_words()
    if not glyphs.count:
        return PageText()
    space = visible_area(page)
    hidden = hidden_words(glyphs, graphics, space)
    shown = np.flatnonzero(~hidden)
    directions = directions_of(glyphs)
    found = PageText(hidden_characters=int((glyphs.ends - glyphs.starts)[hidden].sum()))
    found.has_pictures = bool(graphics.pictures)
    # The main direction comes first.
    counts = np.bincount(directions[shown], minlength=SKEWED + 1)
    for direction in sorted(np.flatnonzero(counts).tolist(), key=lambda each: -counts[each]):
        words = shown[directions[shown] == direction]
        rules = [Box(*box) for box in upright(area_boxes(graphics.rules), direction).tolist()]
        segments = make_segments(glyphs, words, direction, rules, upright(area_boxes(struck_areas), direction))
        if not found.segments:
            found.direction, found.segments = direction, segments
            found.box = Box(*upright(area_boxes([space]), direction)[0].tolist())
        found.blocks += _blocks(segments, rules, direction)
    mark_notes(found.blocks, found.box)
    return found


def _blocks(segments: Sequence[Segment], rules: Sequence[Box], direction: int) -> list[Block]:
    if direction == SKEWED or len(segments) > _MAX_SEGMENTS:
        return [Block(BlockKind.TEXT, segments)]
    ordered = with_labels(with_tables(segments, rules))
    return [Block(BlockKind.TEXT, ordered)] if are_plain_lines(ordered) else reading_order(ordered)


def visible_area(page: pypdfium2.PdfPage) -> Area:
    """Return the part of the page's space that is shown."""
    left, bottom, right, top = page.get_bbox()
    return Area(min(left, right), min(bottom, top), max(left, right), max(bottom, top))


def area_boxes(areas: Iterable[Area]) -> Boxes:
    """Return areas in the form of the boxes of words."""
    return np.array([(left, top, right, bottom) for left, bottom, right, top in areas], np.float32).reshape(-1, 4)
