"""The stage that puts points that differ from one another first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from ingest.retrieval.candidates import candidate_count
from ingest.retrieval.search import RankedPoint, Search
from ingest.vector_store import ScoredPoint


class Diversify:
    """Orders the best points by maximal marginal relevance, if the request asks for diversity. Sets `ranking`."""

    def run(self, search: Search) -> Search:
        """Order the best points anew and drop the others."""
        diversity = search.options.diversity
        if not diversity:
            return search
        best = list(islice(search.ranking, candidate_count(search.options)))
        return replace(search, ranking=diversified(best, diversity))


def diversified(ranking: Sequence[RankedPoint], diversity: float) -> list[RankedPoint]:
    """Return the points by maximal marginal relevance: each next one is well ranked and unlike those before it.

    Args:
        ranking: best first; the points have their vectors.
        diversity: weight of the similarity, which is the greatest cosine to a point before; 0 to 1.
    """
    remaining, chosen = list(ranking), list[RankedPoint]()
    # Ranks, not scores: the scores of the stages have different scales.
    relevance = {item.point.id: 1 - rank / len(ranking) for rank, item in enumerate(ranking)}
    similarity = dict.fromkeys(relevance, 0.0)
    while remaining:
        best = max(
            remaining,
            key=lambda item: (1 - diversity) * relevance[item.point.id] - diversity * similarity[item.point.id],
        )
        remaining.remove(best)
        chosen.append(best)
        for item in remaining:
            similarity[item.point.id] = max(similarity[item.point.id], _cosine(item.point, best.point))
    return chosen


def _cosine(one: ScoredPoint, other: ScoredPoint) -> float:
    return float(one.vector @ other.vector) if one.vector is not None and other.vector is not None else 0.0
