"""Reads what the points of a ranking say. Most points of a ranking are never read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from ingest.vector_store import ScoredPoint, VectorStore

#: Maps each of these document ids to its searchable generation; documents without one are left out.
ActiveGenerations = Callable[[list[str]], dict[str, int]]


class PointReader:
    """Reads the payloads of points, and leaves out those that are gone or not searchable: not yet, or no longer.

    A search ranks hundreds of points. Reading them all, and asking the catalog for all their documents, would take most
    of its time. Points that have a payload have been read, so that they are searchable.
    """

    def __init__(self, store: VectorStore, active_generations: ActiveGenerations) -> None:
        self.store = store
        self._active_generations = active_generations

    def read(self, points: Sequence[ScoredPoint]) -> list[ScoredPoint]:
        """Return the searchable ones of these points, with their payloads, in order.

        Raises:
            Unavailable: a store or catalog server does not answer.
        """
        unread = [point.id for point in points if not point.payload]
        if not unread:
            return list(points)
        payloads = self.store.payloads(unread)
        active = self._active_generations(sorted({payload["document_id"] for payload in payloads.values()}))
        searchable = {
            key: payload
            for key, payload in payloads.items()
            if active.get(payload["document_id"]) == payload["generation"]
        }
        return [
            point if point.payload else replace(point, payload=searchable[point.id])
            for point in points
            if point.payload or point.id in searchable
        ]

    def read_lazily(self, points: Sequence[ScoredPoint], count: int) -> Iterator[ScoredPoint]:
        """Yield the searchable ones of these points, with their payloads, in order; `count` are read at a time.

        Raises:
            Unavailable: a store or catalog server does not answer.
        """
        for start in range(0, len(points), count):
            yield from self.read(points[start : start + count])
