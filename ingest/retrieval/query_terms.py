"""The terms of a query with their rarity, and how well a chunk matches them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ingest.vector_store import ScoredPoint, VectorStore
from ingest.vector_store.point_terms import point_terms
from ingest.vector_store.sparse import code_terms, query_terms
from ingest.vector_store.term_weights import TermWeights

#: A chunk that holds this share of the query's terms, weighted by rarity, is a strong match: a little more than half.
STRONG_SHARE = 0.55
#: No strong match has less of the most that the query can score. The terms of a chunk take long to find.
LEAST_BM25_SHARE = 0.15
#: A term is rare if it weighs at least this share of a term that only one point has. With 10,000 points, a term of up
#: to 120 points is rare.
RARE_SHARE = 0.5


@dataclass(frozen=True)
class QueryTerms:
    """The terms of one query.

    Attributes:
        weights: their rarity in the collections searched.
        codes: the terms of the codes in it, such as part numbers: such a query is about exactly those.
    """

    weights: TermWeights
    codes: frozenset[int] = frozenset()

    @classmethod
    def of(cls, text: str, store: VectorStore, collections: list[str]) -> Self:
        """Return the terms of a text, with their rarity in the collections of these keys.

        Raises:
            Unavailable: the store is on a server that does not answer.
        """
        return cls(store.term_weights(query_terms(text).indices, collections), frozenset(code_terms(text)))

    def bm25_share(self, point: ScoredPoint) -> float:
        """Return the BM25 score of a point as a share of the most that the query can score, 0 to 1."""
        ceiling = self.weights.ceiling
        return min(1.0, (point.sparse_score or 0.0) / ceiling) if ceiling else 0.0

    def match_strongly(self, point: ScoredPoint) -> bool:
        """Return whether the point holds all codes of the query, or most of its terms weighted by rarity.

        At least one rare term must be among them: common words do not make a chunk relevant. A query that is little
        more than its codes needs none, since in a small collection most chunks may hold a code.
        """
        weights = self.weights.weights
        if not weights or self.bm25_share(point) < LEAST_BM25_SHARE:
            return False
        held = set(point_terms(point.payload).indices) & weights.keys()
        holds_codes = bool(self.codes) and self.codes <= held
        holds_most = sum(weights[term] for term in held) >= STRONG_SHARE * sum(weights.values())
        if any(weights[term] >= RARE_SHARE * self.weights.unseen for term in held):
            return holds_codes or holds_most
        return holds_codes and holds_most
