"""The stage that makes one ranking of those of several queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ingest.retrieval.search import RankedPoint, Search
from ingest.vector_store import ScoredPoint, VectorStore


class MergeRankings:
    """Merges the rankings of all queries. Reads `rankings`, sets `ranking`."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store

    def run(self, search: Search) -> Search:
        """Merge the rankings."""
        rankings = search.rankings
        points = rankings[0] if len(rankings) == 1 else merged(rankings)
        return replace(search, ranking=[RankedPoint(point, self._store) for point in points])


def merged(rankings: Sequence[Iterable[ScoredPoint]]) -> list[ScoredPoint]:
    """Return the points of all rankings, best first by the mean of their scores."""
    found: dict[str, ScoredPoint] = {}
    for point in (point for ranking in rankings for point in ranking):
        point = replace(point, score=point.score / len(rankings))
        known = found.get(point.id)
        found[point.id] = point if known is None else _with_both_scores(known, point)
    return sorted(found.values(), key=lambda point: (-point.score, -(point.dense_score or 0.0), point.id))


def interleaved(rankings: Sequence[Sequence[RankedPoint]]) -> list[RankedPoint]:
    """Return the points of several models by their ranks within each, or by a reranker's scores if all have them.

    The scores of a search with one model cannot be compared with those of another. Of equal ranks, the better score
    comes first.
    """
    points = [(rank, ranked) for ranking in rankings for rank, ranked in enumerate(ranking)]
    if all(ranked.rerank_score is not None for _, ranked in points):
        return [ranked for _, ranked in sorted(points, key=lambda item: -(item[1].rerank_score or 0.0))]
    return [ranked for _, ranked in sorted(points, key=lambda item: (item[0], -item[1].point.score))]


def _with_both_scores(one: ScoredPoint, other: ScoredPoint) -> ScoredPoint:
    return replace(
        one,
        payload=one.payload or other.payload,
        score=one.score + other.score,
        dense_score=_best(one.dense_score, other.dense_score),
        sparse_score=_best(one.sparse_score, other.sparse_score),
    )


def _best(*scores: float | None) -> float | None:
    return max((score for score in scores if score is not None), default=None)
