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
#: By how much the words that a point shares with its query lower the least cosine: by this multiple of the part that it
#: has of what the query can score by BM25, of which so much counts, in the distance from the floor to the threshold.
SHARED_WORDS, MOST_SHARED = 1.2, 0.3


class DropIrrelevant:
    """Drops points that are neither close to their query nor hold its rare terms. Reads and sets `rankings`.

    A point that shares words with the query needs less closeness than one that shares none, unless the search names its
    own threshold. Rare terms are part numbers and names, for example, which an embedding model may not know.
    """

    def __init__(self, reader: PointReader) -> None:
        self._reader = reader

    def run(self, search: Search) -> Search:
        """Check the points of each ranking.

        Raises:
            Unavailable: a store or catalog server does not answer.
        """
        rankings = [
            self._relevant(search, query.terms, points)
            for query, points in zip(search.queries, search.rankings, strict=True)
        ]
        return replace(search, rankings=rankings)

    def _relevant(self, search: Search, terms: QueryTerms, points: Sequence[ScoredPoint]) -> list[ScoredPoint]:
        close = {point.id for point in points if _is_close(search, terms, point)}
        others = [point for point in points if point.id not in close and point.sparse_score is not None]
        checked = islice(self._reader.read_lazily(others, MOST_CHECKED), MOST_CHECKED)
        strong = {point.id: point for point in checked if terms.match_strongly(point)}
        return [strong.get(point.id, point) for point in points if point.id in close or point.id in strong]


def _is_close(search: Search, terms: QueryTerms, point: ScoredPoint) -> bool:
    if point.dense_score is None:
        return False
    above = search.threshold - search.fusion.cosine_floor
    if search.options.score_threshold is not None or above <= 0:
        return point.dense_score >= search.threshold
    return point.dense_score >= search.threshold - SHARED_WORDS * min(MOST_SHARED, terms.bm25_share(point)) * above
