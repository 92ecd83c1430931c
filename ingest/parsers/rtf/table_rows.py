"""The rows of RTF tables: cells with their right edges, from which follows which columns and rows they span."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from ingest.parsers.tables.cells import Cell, Row, one_line

#: Edges that differ by at most this many twips are the same edge, rounded.
_SAME_EDGE_TWIPS = 30
#: With more edges, cells are not taken to span columns, because that many are a mistake.
_MAX_COLUMNS = 100


@dataclass(slots=True)
class RowDefinition:
    """What a row's properties say about its cells."""

    #: The right edge of each cell in twips, and whether the cell continues the one above it.
    edges: list[tuple[int, bool]] = field(default_factory=list)
    _continues: bool = False

    def continue_above(self) -> None:
        """Let the next cell continue the one above it."""
        self._continues = True

    def end_cell(self, edge: int) -> None:
        """End the definition of a cell."""
        self.edges.append((edge, self._continues))
        self._continues = False


def resolved_rows(rows: list[list[str]], definitions: list[RowDefinition]) -> list[Row]:
    """Return the rows of a table, with merged cells repeated where they cover columns or rows.

    Args:
        rows: The texts of the cells of each row.
        definitions: The definition of each row. Where it does not have as many cells as the row, their position counts.
    """
    fits = [len(texts) == len(each.edges) for texts, each in zip(rows, definitions, strict=True)]
    edges = _columns([edge for each, fit in zip(definitions, fits, strict=True) if fit for edge, _ in each.edges])
    has_spans = all(fits) and len(edges) <= _MAX_COLUMNS
    resolved: list[Row] = []
    for texts, definition, fit in zip(rows, definitions, fits, strict=True):
        above = resolved[-1] if resolved else {}
        row: Row = {}
        start = 0
        for position, text in enumerate(texts):
            edge, continues = definition.edges[position] if fit else (0, False)
            end = bisect_left(edges, edge - _SAME_EDGE_TWIPS) + 1 if has_spans else start + 1
            cell = above.get(start) if continues else _cell(text)
            if cell is not None:
                row[start] = cell.copy() if continues else cell
                row |= dict.fromkeys(range(start + 1, end), cell.copy())
            start = max(end, start + 1)
        resolved.append(row)
    return resolved


def _cell(text: str) -> Cell | None:
    text = one_line(text)
    return Cell(text) if text else None


def _columns(edges: list[int]) -> list[int]:
    """Return the right edges of the table's columns, in ascending order."""
    columns: list[int] = []
    for edge in sorted(edges):
        if not columns or edge > columns[-1] + _SAME_EDGE_TWIPS:
            columns.append(edge)
    return columns
