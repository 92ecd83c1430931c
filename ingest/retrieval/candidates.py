"""The stage that asks the vector store: from queries to rankings of searchable points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from core.messages import SearchOptions
from ingest.retrieval.search import Query, Search, text_key
from ingest.vector_store import ScoredPoint, VectorStore
from ingest.vector_store.fusion import Fusion

#: Points taken from each of the two rankings of a query, at least: a point that is second in neither may be the best in
#: both together. More only if many hits are asked for, or too many of the points are stale or say the same.
MIN_CANDIDATES = 100
#: Points considered for each hit asked for, and at least in all.
OVERFETCH = 4
LEAST_CONSIDERED = 20
MAX_CANDIDATES = 5_000

#: Maps each of these document ids to its searchable generation; documents without one are left out.
ActiveGenerations = Callable[[list[str]], dict[str, int]]


def considered_count(options: SearchOptions) -> int:
    """Return how many of the best points are considered for the hits of a search."""
    return max(LEAST_CONSIDERED, options.top_k * OVERFETCH)


class FetchCandidates:
    """Fetches the best searchable points of each query. Reads `queries`, sets `rankings`."""

    def __init__(
        self,
        store: VectorStore,
        active_generations: ActiveGenerations,
        at_least: Callable[[SearchOptions], int],
    ) -> None:
        """
        Args:
            at_least: returns how many points a later stage reads, which may be more than `considered_count`.
        """
        self._store = store
        self._active_generations = active_generations
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
            points = self._store.search(
                query.vector,
                query.text,
                limit,
                options.collections,
                options.filters,
                with_vectors=options.diversity > 0,
                weights=query.terms.weights,
                fusion=fusion,
            )
            current = self._without_stale(points)
            texts = {text_key(point.payload) for point in current}
            if len(texts) >= min(options.top_k * 2, limit) or len(points) < limit or limit >= MAX_CANDIDATES:
                return current
            limit = min(limit * OVERFETCH, MAX_CANDIDATES)

    def _without_stale(self, points: Sequence[ScoredPoint]) -> list[ScoredPoint]:
        """Drop the points of generations that are not searchable: not yet, or no longer."""
        active = self._active_generations(sorted({point.payload["document_id"] for point in points}))
        return [point for point in points if active.get(point.payload["document_id"]) == point.payload["generation"]]
