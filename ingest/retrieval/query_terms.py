"""The terms of a query with their rarity, and how well a chunk matches them."""

from __future__ import annotations

import re
from functools import cached_property

from ingest.vector_store import ScoredPoint, VectorStore
from ingest.vector_store.point_terms import point_terms
from ingest.vector_store.sparse import QUERY_CHARACTERS, query_terms

#: A chunk that holds this share of the query's terms, weighted by rarity, is a strong match: a little more than half.
STRONG_SHARE = 0.55
#: A term is rare if it weighs at least this share of a term that only one point has. With 10,000 points, a term of up
#: to 120 points is rare.
RARE_SHARE = 0.5
_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")
#: A term id that no point has.
_NO_TERM = 0


class QueryTerms:
    """The terms of one query. Their rarity is looked up in the store when it is first needed, and once."""

    def __init__(self, query: str, store: VectorStore) -> None:
        self._terms = query_terms(query).indices
        codes = codes_in(query[:QUERY_CHARACTERS])
        self._codes = set(query_terms(" ".join(codes)).indices)
        self._store = store

    def match_strongly(self, point: ScoredPoint) -> bool:
        """Return whether the point holds all codes of the query, or most of its terms weighted by rarity.

        At least one rare term must be among them: common words do not make a chunk relevant.
        """
        held = self._held_terms(point)
        if self._codes and self._codes <= held:
            return True
        weights = [weight for term, weight in self._weights.items() if term != _NO_TERM]
        return bool(held) and sum(self._weights[term] for term in held) >= STRONG_SHARE * sum(weights)

    def match_exactly(self, point: ScoredPoint) -> bool:
        """Return whether the point holds all terms of the query or all of its codes, a rare term among them."""
        held = self._held_terms(point)
        return bool(held) and (set(self._terms) <= held or (bool(self._codes) and self._codes <= held))

    @cached_property
    def _weights(self) -> dict[int, float]:
        return self._store.term_weights([_NO_TERM, *self._terms])

    def _held_terms(self, point: ScoredPoint) -> set[int]:
        """Return the terms of the query that the point holds, or nothing if none of them is rare."""
        if point.sparse_score is None or not self._terms:
            return set()
        held = set(point_terms(point.payload).indices) & self._weights.keys()
        least = RARE_SHARE * self._weights[_NO_TERM]
        return held if any(self._weights[term] >= least for term in held) else set()


def codes_in(query: str) -> list[str]:
    """Return the words that have letters and digits, such as part numbers: such a query is about exactly that one."""
    return [word for word in query.split() if _LETTER.search(word) and _DIGIT.search(word)]
