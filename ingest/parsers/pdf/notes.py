"""Finds the footnotes of a page: blocks of smaller text at the foot of a column that begin with a number or a sign."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from ingest.parsers.pdf.boxes import Block, BlockKind, Box, Line

#: Footnotes are lower than this share of the text of the page, and in this lower share of the page.
_SIZE_SHARE = 0.93
_LOWER_SHARE = 0.45
_MARK = re.compile(r"(?:[\d⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}[.)]?|[*†‡§¶]{1,3}|[a-z])\s?\S")


def mark_notes(blocks: list[Block], page: Box) -> None:
    """Divide the blocks that end with footnotes in place, and mark these."""
    lines = [line for block in blocks for line in block.lines]
    heights = [line.height for line in lines]
    if not heights or min(heights) > _SIZE_SHARE * max(heights):
        return
    heights = [line.height for line in lines for _ in range(len(line.text) // 10 + 1)]
    usual = statistics.median(heights)
    start = page.top + (1 - _LOWER_SHARE) * page.height
    found: list[Block] = []
    for block in blocks:
        notes = _notes_at_end(block.lines, usual, start) if block.kind is BlockKind.TEXT else 0
        if notes:
            rest = block.lines[: len(block.lines) - notes]
            found += [Block(BlockKind.TEXT, rest)] if rest else []
            found.append(Block(BlockKind.NOTE, block.lines[-notes:]))
        else:
            found.append(block)
    blocks[:] = found


def _notes_at_end(lines: Sequence[Line], usual: float, start: float) -> int:
    """Return how many lines at the end are footnotes."""
    marked = 0
    for count, line in enumerate(reversed(lines), start=1):
        if line.height > _SIZE_SHARE * usual or line.top < start:
            break
        marked = count if _MARK.match(line.text) else marked
    return marked
