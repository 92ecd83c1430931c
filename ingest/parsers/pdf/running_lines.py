"""Finds the running headers, footers and page numbers of a document: lines that repeat at the same place."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from ingest.parsers.pdf.boxes import Block, BlockKind, Box, Line

#: Running lines are among this many lines at the head or the foot of a page, and in this outer share of its height.
_OUTER_LINES, _OUTER_SHARE = 3, 0.16
#: They repeat on one of the next pages; left and right pages often differ.
_NEAR_PAGES = 2
#: The most that their places differ, in points.
_MAX_SHIFT = 5.0
#: A page's printed number and its number in the file differ by at most this much if the line has other words.
_MAX_NUMBER_SHIFT = 40
_NUMBER = re.compile(r"\d+")
_ROMAN = re.compile(r"[ivxlc]{1,6}", re.I)
_WORDS_OF_NUMBERS = re.compile(r"(?:page|seite|página|pagina|p\.|s\.|of|von|de|di|sur|/|\||[-–—.()\[\]\s#])*", re.I)


@dataclass(frozen=True, slots=True)
class _Candidate:
    page: int
    line: Line
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RunningLines:
    """The lines to leave out of the running text, by the `id` of the line."""

    left_out: frozenset[int]
    #: Those of them that are kept once, beside the running text.
    kept: frozenset[int]


def find_running_lines(pages: Sequence[tuple[Sequence[Block], Box]]) -> RunningLines:
    """Return the running lines of the pages, each given as its blocks and its box."""
    groups: dict[str, list[_Candidate]] = defaultdict(list)
    ends = [_outer_lines(blocks, box) for blocks, box in pages]
    for number, (head, foot) in enumerate(ends):
        for line in {id(line): line for line in [*head, *foot]}.values():
            text = " ".join(line.text.split())
            numbers = tuple(int(found[-9:]) for found in _NUMBER.findall(text))
            key = "#" if _ROMAN.fullmatch(text) else _NUMBER.sub("#", text)
            groups[key].append(_Candidate(number, line, numbers))
    repeated = {key: _repeated(key, group) for key, group in groups.items()}
    running = {id(each.line) for group in repeated.values() for each in group}
    left_out: set[int] = set()
    for lines in (lines for end in ends for lines in end):
        # A line of the text may repeat too; running lines are the outermost ones.
        left_out.update(id(line) for line in takewhile(lambda each: id(each) in running, lines))
    kept: set[int] = set()
    for key, group in repeated.items():
        first = next((id(each.line) for each in group if id(each.line) in left_out), None)
        if first is not None and not _WORDS_OF_NUMBERS.fullmatch(key):
            kept.add(first)
    return RunningLines(frozenset(left_out), frozenset(kept))


def _outer_lines(blocks: Sequence[Block], box: Box) -> tuple[list[Line], list[Line]]:
    """Return the lines at the head and at the foot of a page, outermost first, unless they are all that it has."""
    lines = sorted((line for block in blocks if block.kind is not BlockKind.TABLE for line in block.lines), key=_middle)
    head = [line for line in lines[:_OUTER_LINES] if line.middle < box.top + _OUTER_SHARE * box.height]
    foot = [line for line in lines[-_OUTER_LINES:][::-1] if line.middle > box.bottom - _OUTER_SHARE * box.height]
    has_table = any(block.kind is BlockKind.TABLE for block in blocks)
    is_all = len({id(line) for line in head + foot}) == len(lines)
    return ([], []) if is_all and not has_table else (head, foot)


def _middle(line: Line) -> float:
    return line.middle


def _repeated(key: str, group: Sequence[_Candidate]) -> list[_Candidate]:
    found = []
    for index, each in enumerate(group):
        near = group[max(0, index - 2 * _OUTER_LINES) : index + 2 * _OUTER_LINES + 1]
        if any(_is_same(key, each, other) for other in near):
            found.append(each)
    return found


def _is_same(key: str, one: _Candidate, other: _Candidate) -> bool:
    pages = other.page - one.page
    if not 0 < abs(pages) <= _NEAR_PAGES or abs(one.line.middle - other.line.middle) > _MAX_SHIFT:
        return False
    if len(one.numbers) != len(other.numbers):
        return True  # a Roman page number beside an Arabic one
    pairs = [(before, after) for before, after in zip(one.numbers, other.numbers, strict=True) if before != after]
    if not pairs:
        return True
    is_counted = len(pairs) == 1 and pairs[0][1] - pairs[0][0] == pages
    is_plain = _WORDS_OF_NUMBERS.fullmatch(key) is not None
    return is_counted and (is_plain or (_is_beside(key) and abs(pairs[0][0] - one.page) <= _MAX_NUMBER_SHIFT))


def _is_beside(key: str) -> bool:
    """Return whether a number stands before or after the words of a line."""
    return key.startswith("#") or key.endswith("#")
