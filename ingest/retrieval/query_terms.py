"""The terms of a query with their rarity, and how well a chunk matches them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from ingest.vector_store import ScoredPoint, VectorStore
from ingest.vector_store.point_terms import name_terms, point_terms
from ingest.vector_store.sparse import code_terms, query_terms
from ingest.vector_store.term_weights import TermWeights

#: Words that say that files are meant, not which.
_WORDS_FOR_FILES = "folder folders directory directories file files filename document documents documentation"
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
        subject: its terms without those of words for files and folders: what files it asks for.
    """

    weights: TermWeights
    codes: frozenset[int] = frozenset()
    subject: frozenset[int] = frozenset()

    @classmethod
    def of(cls, text: str, store: VectorStore, collections: list[str]) -> Self:
        """Return the terms of a text, with their rarity in the collections of these keys.

        Raises:
            Unavailable: the store is on a server that does not answer.
        """
        terms = query_terms(text).indices
        subject = frozenset(terms).difference(query_terms(_WORDS_FOR_FILES).indices)
        return cls(store.term_weights(terms, collections), frozenset(code_terms(text)), subject)

    def bm25_share(self, point: ScoredPoint) -> float:
        """Return the BM25 score of a point as a share of the most that the query can score, 0 to 1."""
        ceiling = self.weights.ceiling
        return min(1.0, (point.sparse_score or 0.0) / ceiling) if ceiling else 0.0

    def match_strongly(self, point: ScoredPoint) -> bool:
        """Return whether the point holds all codes of the query, or most of its terms weighted by rarity.

        It also does if the names of its file and folders hold all that the query asks for, as in "What is in the Osprey
        folder?". At least one rare term must be among them: common words do not make a chunk relevant. A query that is
        little more than its codes needs none, since in a small collection most chunks may hold a code.
        """
        weights = self.weights.weights
        if self._is_rare(self.subject) and self.subject <= set(name_terms(point.payload).indices):
            return True
        if not weights or self.bm25_share(point) < LEAST_BM25_SHARE:
            return False
        held = set(point_terms(point.payload).indices) & weights.keys()
        holds_codes = bool(self.codes) and self.codes <= held
        holds_most = sum(weights[term] for term in held) >= STRONG_SHARE * sum(weights.values())
        if self._is_rare(held):
            return holds_codes or holds_most
        return holds_codes and holds_most

    def _is_rare(self, terms: Iterable[int]) -> bool:
        return any(self.weights.weights.get(term, 0.0) >= RARE_SHARE * self.weights.unseen for term in terms)
