"""Records of tables, as the parsers write them: a line `Part: valve; Stock: 12`. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from core.table_records import is_record
from inference.text.attributes import are_related
from inference.text.overlap import terms_of

_CELL = re.compile(r"(?:^|; )([^:;]{1,80}): ")
_STRUCK = "~~"


@dataclass(frozen=True)
class Cell:
    """A cell of a record, and the name of its column."""

    name: str
    value: str


@dataclass(frozen=True)
class Record:
    """A line of a table, and its cells in their order."""

    line: str
    cells: tuple[Cell, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(cell.name for cell in self.cells)

    @property
    def terms(self) -> frozenset[str]:
        """The terms of the names and of the values."""
        return terms_of(self.line)

    def asked_cells(self, asked: frozenset[str], own: frozenset[str]) -> str:
        """Return the cells that a question is about, as `valve, Stock: 12`, or all if it names no column.

        The first cell, and those with one of the record's own terms, say which record it is. The others are those whose
        column the question names. A small model finds a value beside what it belongs to more often than among others.

        Args:
            asked: the terms of the question.
            own: the terms of the record that not all records of its table have.
        """
        if self.line.startswith(_STRUCK):
            return self.line
        keys = [cell for at, cell in enumerate(self.cells) if at == 0 or terms_of(cell.value) & own & asked]
        others = [cell for cell in self.cells if cell not in keys]
        named = [cell for cell in others if terms_of(cell.name) & asked]
        named = named or [cell for cell in others if _is_related(terms_of(cell.name), asked)]
        if not named:
            return self.line
        return f"{', '.join(cell.value for cell in keys)}, {'; '.join(f'{cell.name}: {cell.value}' for cell in named)}"


def record_of(line: str) -> Record | None:
    """Return the record that a line is, or None if it is none."""
    if not is_record(line):
        return None
    found = list(_CELL.finditer(line))
    ends = [*(match.start() for match in found[1:]), len(line)]
    return Record(line, tuple(Cell(at[1], line[at.end() : end]) for at, end in zip(found, ends, strict=True)))


def own_terms(records: Sequence[Record]) -> list[frozenset[str]]:
    """Return for each record its terms without those that all records of its table have, such as the column names."""
    tables: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in records:
        tables[record.names].append(record)
    shared = {
        names: frozenset.intersection(*(record.terms for record in rows)) if len(rows) > 1 else frozenset[str]()
        for names, rows in tables.items()
    }
    return [record.terms - shared[record.names] for record in records]


def _is_related(terms: frozenset[str], asked: frozenset[str]) -> bool:
    return any(are_related(term, other) for term in terms for other in asked)
