"""The stage that puts points that differ from one another first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice

from ingest.retrieval.candidates import considered_count
from ingest.retrieval.search import RankedPoint, Search
from ingest.vector_store.base import Vector

#: A store and the id of a point in it.
PointKey = tuple[int, str]
_WORD = re.compile(r"[^\W_]{2,}")


class Diversify:
    """Orders the best points by maximal marginal relevance, if the request asks for diversity. Sets `ranking`."""

    def run(self, search: Search) -> Search:
        """Order the best points anew and drop the others.

        Raises:
            Unavailable: a store's server does not answer.
        """
        diversity = search.options.diversity
        if not diversity:
            return search
        best = list(islice(search.ranking, considered_count(search.options)))
        return replace(search, ranking=diversified(best, diversity, _vectors(best)))


def diversified(
    ranking: Sequence[RankedPoint], diversity: float, vectors: Mapping[PointKey, Vector]
) -> list[RankedPoint]:
    """Return the points by maximal marginal relevance: each next one is well ranked and unlike those before it.

    Args:
        ranking: best first.
        diversity: weight of the similarity, which is the greatest to a point before; 0 to 1.
        vectors: of the points. Points without one are compared by their words.
    """
    words = {id(item): frozenset(_WORD.findall(item.point.payload["text"].lower())) for item in ranking}
    remaining, chosen = list(ranking), list[RankedPoint]()
    # Ranks, not scores: the scores of the stages have different scales.
    relevance = {id(item): 1 - rank / len(ranking) for rank, item in enumerate(ranking)}
    similarity = dict.fromkeys(relevance, 0.0)
    while remaining:
        best = max(remaining, key=lambda item: (1 - diversity) * relevance[id(item)] - diversity * similarity[id(item)])
        remaining.remove(best)
        chosen.append(best)
        for item in remaining:
            likeness = _cosine(item, best, vectors)
            if likeness is None:
                likeness = _shared_words(words[id(item)], words[id(best)])
            similarity[id(item)] = max(similarity[id(item)], likeness)
    return chosen


def _vectors(ranking: Sequence[RankedPoint]) -> dict[PointKey, Vector]:
    vectors: dict[PointKey, Vector] = {}
    for store in {id(ranked.store): ranked.store for ranked in ranking}.values():
        found = store.vectors([ranked.point.id for ranked in ranking if ranked.store is store])
        vectors |= {(id(store), key): vector for key, vector in found.items()}
    return vectors


def _key_of(ranked: RankedPoint) -> PointKey:
    """Return what tells the points of several stores apart."""
    return id(ranked.store), ranked.point.id


def _cosine(one: RankedPoint, other: RankedPoint, vectors: Mapping[PointKey, Vector]) -> float | None:
    """Return the cosine of two points, or None if they are of different models, whose vectors cannot be compared."""
    first, second = vectors.get(_key_of(one)), vectors.get(_key_of(other))
    if one.store is not other.store or first is None or second is None:
        return None
    return float(first @ second)


def _shared_words(one: frozenset[str], other: frozenset[str]) -> float:
    """Return the cosine of two sets of words."""
    return len(one & other) / (len(one) * len(other)) ** 0.5 if one and other else 0.0
