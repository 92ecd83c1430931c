"""The weights of a query's terms: their inverse document frequencies in the collections that are searched. Pure.

A store's engine multiplies each term by its inverse document frequency among all points of the store. A small
collection beside a large one would so inherit the weights of the large one, where other words are rare. So the terms of
a query are sent with factors that replace these frequencies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ingest.vector_store.base import SPARSE

#: Most terms of a query whose weights are looked up. The others weigh as much as these do on average.
MAX_QUERY_TERMS = 48
#: Points of a collection that are counted for a term, at most. If more have it, their number is estimated.
COUNTED_POINTS = 256
#: k1 + 1 of BM25: the most that a term counts, however often a chunk has it.
MOST_TERM_FREQUENCY = 2.2


@dataclass(frozen=True)
class TermWeights:
    """The terms of a query, by their ids.

    Attributes:
        weights: the inverse document frequencies in the collections searched. A term that no point has counts as rare.
        factors: by what the store's own frequencies have to be multiplied to become these; a missing one is 1.
        unseen: the weight of a term that no point has.
        terms: the number of terms, of which `weights` may lack some.
    """

    weights: Mapping[int, float] = field(default_factory=dict)
    factors: Mapping[int, float] = field(default_factory=dict)
    unseen: float = 0.0
    terms: int = 0

    @property
    def ceiling(self) -> float:
        """The most that a text can score by BM25; 0 without terms."""
        if not self.weights:
            return 0.0
        return MOST_TERM_FREQUENCY * sum(self.weights.values()) * max(1.0, self.terms / len(self.weights))


def term_weights(
    terms: Sequence[int],
    in_store: Mapping[int, float],
    points: int,
    counts: Mapping[int, int] | None = None,
    searched: int = 0,
) -> TermWeights:
    """Return the weights of terms.

    Args:
        in_store: the weights of the terms that some point of the store has, as the store computes them.
        points: the number of points in the store.
        counts: for each of the same terms, how many of the points that are searched have it, counted up to
            `COUNTED_POINTS`; None if all points are searched.
        searched: the number of points that are searched.
    """
    if counts is None:
        unseen = weight_of(1, points)
        return TermWeights({term: in_store.get(term, unseen) for term in terms}, {}, unseen, len(terms))
    unseen = weight_of(1, searched)
    weights = dict.fromkeys(terms, unseen)
    factors: dict[int, float] = {}
    for term, own in in_store.items():
        count = counts.get(term, 0)
        if count >= COUNTED_POINTS:
            expected = points_with(own, points) * searched / max(points, 1)
            count = round(min(max(expected, count), searched))
        weights[term] = weight_of(max(count, 1), searched)
        factors[term] = weights[term] / own
    return TermWeights(weights, factors, unseen, len(terms))


def in_store_weights(found: Iterable[tuple[int, Any]]) -> dict[int, float]:
    """Return the weights by which a store multiplied terms.

    Args:
        found: each term, with a point that a search for it alone has found, which has its sparse vector.
    """
    weights = {}
    for term, hit in found:
        vector = hit.vector[SPARSE]
        # The score of a single term is its weight in the point times its inverse document frequency.
        weights[term] = hit.score / vector.values[vector.indices.index(term)]
    return weights


def weight_of(count: int, points: int) -> float:
    """Return the inverse document frequency of a term that `count` of `points` points have, as the engine computes it.

    With a count of 0, one unknown word would outweigh all known words in a small store: callers count it as 1.
    """
    points = max(points, count)
    return math.log((points - count + 0.5) / (count + 0.5) + 1)


def points_with(weight: float, points: int) -> float:
    """Return how many points have a term of this weight: the inverse of `weight_of`."""
    ratio = math.exp(weight) - 1
    return (points + 0.5 - 0.5 * ratio) / (1 + ratio)
