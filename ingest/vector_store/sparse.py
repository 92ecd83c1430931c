"""BM25's side of a point: terms hashed to 32 bits with their saturated frequencies. The stores add the IDF.

The encoder is the one of `qdrant-edge-py` and needs no server: English stemming and stop words, accents folded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from qdrant_edge import Bm25, Bm25Config


@dataclass(frozen=True)
class SparseTerms:
    """Term ids (unsigned 32 bits, each once) and their weights."""

    indices: list[int]
    values: list[float]

    def __bool__(self) -> bool:
        return bool(self.indices)


def query_terms(text: str) -> SparseTerms:
    """The terms of a query, each with weight 1; empty if it consists of stop words."""
    vector = _encoder().embed_query(text)
    return SparseTerms(list(vector.indices), list(vector.values))


def document_terms(text: str) -> SparseTerms:
    """The terms of a chunk, weighted by frequency and length (k 1.2, b 0.75)."""
    vector = _encoder().embed_document(text)
    return SparseTerms(list(vector.indices), list(vector.values))


@cache
def _encoder() -> Bm25:
    return Bm25(Bm25Config(language="english", ascii_folding=True))
