"""The stage that asks the vector store: from queries to rankings of searchable points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from core.messages import SearchOptions
from ingest.retrieval.search import Query, Search
from ingest.vector_store import ScoredPoint, VectorStore

#: Candidates fetched for each hit asked for, and at least in all; more only if too many of them turn out to be stale.
OVERFETCH = 4
MIN_CANDIDATES = 20
MAX_CANDIDATES = 5_000

#: Maps each of these document ids to its searchable generation; documents without one are left out.
ActiveGenerations = Callable[[list[str]], dict[str, int]]


def candidate_count(options: SearchOptions) -> int:
    """Return how many points are considered for a search."""
    return max(MIN_CANDIDATES, options.top_k * OVERFETCH)


class FetchCandidates:
    """Fetches the best searchable points of each query. Reads `queries`, sets `rankings`."""

    def __init__(
        self, store: VectorStore, active_generations: ActiveGenerations, at_least: Callable[[SearchOptions], int]
    ) -> None:
        """
        Args:
            at_least: returns how many points a later stage reads, which may be more than `candidate_count`.
        """
        self._store = store
        self._active_generations = active_generations
        self._at_least = at_least

    def run(self, search: Search) -> Search:
        """Fetch a ranking for each query.

        Raises:
            Unavailable: a store or catalog server does not answer.
        """
        return replace(search, rankings=[self._fetch(query, search.options) for query in search.queries])

    def _fetch(self, query: Query, options: SearchOptions) -> list[ScoredPoint]:
        """Fetch more and more points until enough of them are searchable, or the store has no more."""
        limit = max(candidate_count(options), self._at_least(options))
        while True:
            points = self._store.search(
                query.vector,
                query.text,
                limit,
                options.collections,
                options.filters,
                with_vectors=options.diversity > 0,
            )
            current = without_repeated_texts(self._without_stale(points))
            if len(current) >= min(options.top_k * 2, limit) or len(points) < limit or limit >= MAX_CANDIDATES:
                return current
            limit = min(limit * OVERFETCH, MAX_CANDIDATES)

    def _without_stale(self, points: Sequence[ScoredPoint]) -> list[ScoredPoint]:
        """Drop the points of generations that are not searchable: not yet, or no longer."""
        active = self._active_generations(sorted({point.payload["document_id"] for point in points}))
        return [point for point in points if active.get(point.payload["document_id"]) == point.payload["generation"]]


def without_repeated_texts(points: Iterable[ScoredPoint]) -> list[ScoredPoint]:
    """Keep the best of the points of one document that have the same text."""
    first: dict[tuple[str, str], ScoredPoint] = {}
    for point in points:
        first.setdefault((point.payload["document_id"], point.payload["text"]), point)
    return list(first.values())
