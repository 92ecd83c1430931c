"""The stage that drops points which have nothing to do with their query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from ingest.retrieval.query_terms import QueryTerms
from ingest.retrieval.reading import PointReader
from ingest.retrieval.search import Search
from ingest.vector_store import ScoredPoint

#: The best points that are not close are looked at for the terms that they hold, so many for each query.
MOST_CHECKED = 10


class DropIrrelevant:
    """Drops points that are neither close to their query nor hold its rare terms. Reads and sets `rankings`.

    Rare terms are part numbers and names, for example, which an embedding model may not know.
    """

    def __init__(self, reader: PointReader) -> None:
        self._reader = reader

    def run(self, search: Search) -> Search:
        """Check the points of each ranking.

        Raises:
            Unavailable: a store or catalog server does not answer.
        """
        rankings = [
            self._relevant(query.terms, points, search.threshold)
            for query, points in zip(search.queries, search.rankings, strict=True)
        ]
        return replace(search, rankings=rankings)

    def _relevant(self, terms: QueryTerms, points: Sequence[ScoredPoint], threshold: float) -> list[ScoredPoint]:
        close = {point.id for point in points if point.dense_score is not None and point.dense_score >= threshold}
        others = [point for point in points if point.id not in close and point.sparse_score is not None]
        checked = islice(self._reader.read_lazily(others, MOST_CHECKED), MOST_CHECKED)
        strong = {point.id: point for point in checked if terms.match_strongly(point)}
        return [strong.get(point.id, point) for point in points if point.id in close or point.id in strong]
