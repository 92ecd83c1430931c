"""Rankings of what several queries found, and the choice of hits that differ from one another. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ingest.vector_store import ScoredPoint


@dataclass(frozen=True)
class Ranked:
    """A point with the scores of all stages.

    Attributes:
        point: `score` is the mean over the queries, that of a query which did not find it counted as 0; the other
            scores are the best over the queries.
        rerank_score: what the cross-encoder says; None without one.
    """

    point: ScoredPoint
    rerank_score: float | None = None


def merged(rankings: Sequence[Iterable[ScoredPoint]]) -> list[ScoredPoint]:
    """One ranking of the points that several queries found, best first."""
    found: dict[str, ScoredPoint] = {}
    for point in (point for ranking in rankings for point in ranking):
        point = replace(point, score=point.score / len(rankings))
        known = found.get(point.id)
        found[point.id] = point if known is None else _joined(known, point)
    return sorted(found.values(), key=lambda point: (-point.score, -(point.dense_score or 0.0), point.id))


def _joined(one: ScoredPoint, other: ScoredPoint) -> ScoredPoint:
    return replace(
        one,
        score=one.score + other.score,
        dense_score=_best(one.dense_score, other.dense_score),
        sparse_score=_best(one.sparse_score, other.sparse_score),
    )


def _best(*scores: float | None) -> float | None:
    return max((score for score in scores if score is not None), default=None)


def diversified(ranking: Sequence[Ranked], diversity: float) -> list[Ranked]:
    """Maximal marginal relevance: again and again the hit that is best by its rank, less its likeness to those before.

    Args:
        ranking: best first, the points with their vectors.
        diversity: weight of the likeness (the greatest cosine to a hit before it), 0 to 1.
    """
    left, chosen = list(ranking), list[Ranked]()
    # Ranks, not scores: those of the stages have different scales.
    relevance = {item.point.id: 1 - rank / len(ranking) for rank, item in enumerate(ranking)}
    likeness = dict.fromkeys(relevance, 0.0)
    while left:
        best = max(
            left, key=lambda item: (1 - diversity) * relevance[item.point.id] - diversity * likeness[item.point.id]
        )
        left.remove(best)
        chosen.append(best)
        for item in left:
            likeness[item.point.id] = max(likeness[item.point.id], _cosine(item.point, best.point))
    return chosen


def _cosine(one: ScoredPoint, other: ScoredPoint) -> float:
    return float(one.vector @ other.vector) if one.vector is not None and other.vector is not None else 0.0
