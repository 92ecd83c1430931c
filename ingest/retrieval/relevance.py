"""The stage that drops points which have nothing to do with their query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ingest.retrieval.query_terms import QueryTerms
from ingest.retrieval.search import Search
from ingest.vector_store import ScoredPoint

#: The best points that are not close are looked at for the terms that they hold, so many for each query.
MOST_CHECKED = 10


class DropIrrelevant:
    """Drops points that are neither close to their query nor hold its rare terms. Reads and sets `rankings`.

    Rare terms are part numbers and names, for example, which an embedding model may not know.
    """

    def run(self, search: Search) -> Search:
        """Check the points of each ranking."""
        rankings = [
            _relevant(query.terms, points, search.threshold)
            for query, points in zip(search.queries, search.rankings, strict=True)
        ]
        return replace(search, rankings=rankings)


def _relevant(terms: QueryTerms, points: Sequence[ScoredPoint], threshold: float) -> list[ScoredPoint]:
    checked = 0
    found: list[ScoredPoint] = []
    for point in points:
        if point.dense_score is not None and point.dense_score >= threshold:
            found.append(point)
        elif point.sparse_score is not None and checked < MOST_CHECKED:
            checked += 1
            if terms.match_strongly(point):
                found.append(point)
    return found
