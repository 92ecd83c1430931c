"""The stages that compare points with their query: which points are relevant, and which of equal ones comes first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby

from core.messages import SearchOptions
from ingest.retrieval.query_terms import QueryTerms
from ingest.retrieval.search import Query, Search
from ingest.vector_store import ScoredPoint


class PutExactMatchesFirst:
    """Orders points of equal score: those that hold all terms of their query come first. Reads and sets `rankings`.

    The best point by cosine alone and the best by BM25 alone have the same score, and the cosine of a word that the
    model does not know is a matter of chance.
    """

    def run(self, search: Search) -> Search:
        """Order the points of each ranking when they are read."""
        return _with_each_ranking(search, lambda query, points: _exact_first(query.terms, points))


class DropIrrelevant:
    """Drops points that are neither close to their query nor hold its rare terms. Reads and sets `rankings`.

    Rare terms are part numbers and names, for example, which an embedding model may not know.
    """

    def __init__(self, default_threshold: float) -> None:
        """
        Args:
            default_threshold: least cosine of a relevant point if the request names none.
        """
        self._default_threshold = default_threshold

    def run(self, search: Search) -> Search:
        """Check the points of each ranking when they are read."""
        threshold = self._threshold(search.options)
        return _with_each_ranking(search, lambda query, points: _relevant(query.terms, points, threshold))

    def _threshold(self, options: SearchOptions) -> float:
        return self._default_threshold if options.score_threshold is None else options.score_threshold


def _with_each_ranking(
    search: Search, change: Callable[[Query, Iterable[ScoredPoint]], Iterable[ScoredPoint]]
) -> Search:
    rankings = [change(query, points) for query, points in zip(search.queries, search.rankings, strict=True)]
    return replace(search, rankings=rankings)


def _exact_first(terms: QueryTerms, points: Iterable[ScoredPoint]) -> Iterator[ScoredPoint]:
    for _, group in groupby(points, lambda point: point.score):
        equal = list(group)
        yield from equal if len(equal) == 1 else sorted(equal, key=lambda point: not terms.match_exactly(point))


def _relevant(terms: QueryTerms, points: Iterable[ScoredPoint], threshold: float) -> Iterator[ScoredPoint]:
    return (point for point in points if _is_close(point, threshold) or terms.match_strongly(point))


def _is_close(point: ScoredPoint, threshold: float) -> bool:
    return point.dense_score is not None and point.dense_score >= threshold
