"""The stage that asks the vector store: from queries to rankings of searchable points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from core.messages import SearchOptions
from ingest.retrieval.reading import PointReader
from ingest.retrieval.search import Query, Search, text_key
from ingest.vector_store import ScoredPoint
from ingest.vector_store.fusion import Fusion

#: Points taken from each of the two rankings of a query, at least: a point that is second in neither may be the best in
#: both together. More only if many hits are asked for, or too many of the points are stale or say the same.
MIN_CANDIDATES = 100
#: Points considered for each hit asked for, and at least in all.
OVERFETCH = 4
LEAST_CONSIDERED = 20
MAX_CANDIDATES = 5_000
#: Points read beyond those considered, since some are stale or say the same as others.
RESERVE = 10


def considered_count(options: SearchOptions) -> int:
    """Return how many of the best points are considered for the hits of a search."""
    return max(LEAST_CONSIDERED, options.top_k * OVERFETCH)


class FetchCandidates:
    """Fetches the best points of each query. Reads `queries`, sets `rankings`.

    The best of them have been read. Others have no payload yet, and may not be searchable.
    """

    def __init__(self, reader: PointReader, at_least: Callable[[SearchOptions], int]) -> None:
        """
        Args:
            at_least: returns how many points a later stage reads, which may be more than `considered_count`.
        """
        self._reader = reader
        self._at_least = at_least

    def run(self, search: Search) -> Search:
        """Fetch a ranking for each query.

        Raises:
            Unavailable: a store or catalog server does not answer.
        """
        rankings = [self._fetch(query, search.options, search.fusion) for query in search.queries]
        return replace(search, rankings=rankings)

    def _fetch(self, query: Query, options: SearchOptions, fusion: Fusion) -> list[ScoredPoint]:
        """Fetch more and more points until enough of them are searchable and differ, or the store has no more."""
        wanted = max(considered_count(options), self._at_least(options))
        limit = max(MIN_CANDIDATES, wanted)
        while True:
            points = self._reader.store.search(
                query.vector,
                query.text,
                limit,
                options.collections,
                options.filters,
                with_payloads=False,
                weights=query.terms.weights,
                fusion=fusion,
            )
            ranking, is_enough = self._read(points, wanted + RESERVE, min(options.top_k * 2, limit))
            if is_enough or len(points) < limit or limit >= MAX_CANDIDATES:
                return ranking
            limit = min(limit * OVERFETCH, MAX_CANDIDATES)

    def _read(self, points: Sequence[ScoredPoint], count: int, enough: int) -> tuple[list[ScoredPoint], bool]:
        """Read so many points at a time until enough texts are known; return the ranking, and whether there are."""
        read: list[ScoredPoint] = []
        texts: set[str] = set()
        for start in range(0, len(points), count):
            part = self._reader.read(points[start : start + count])
            read += part
            texts.update(text_key(point.payload) for point in part)
            if len(texts) >= enough:
                return [*read, *points[start + count :]], True
        return read, False
