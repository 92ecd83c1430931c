"""The state that the stages of a search pass on to one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.messages import SearchOptions
from ingest.parsed_document import with_header
from ingest.retrieval.query_terms import QueryTerms
from ingest.vector_store import ScoredPoint, VectorStore
from ingest.vector_store.base import Payload, Vector
from ingest.vector_store.fusion import Fusion


@dataclass(frozen=True)
class Query:
    """A text to search for, ready for the vector store.

    Attributes:
        vector: float32 [dimension], of length 1.
        terms: its words with their rarity.
    """

    text: str
    vector: Vector
    terms: QueryTerms


def text_with_header(payload: Payload) -> str:
    """Return what a point says: its text after the header that says what the text is about."""
    return with_header(payload.get("header") or "", payload["text"])


def text_key(payload: Payload) -> str:
    """Return a key that only points which say the same have: the hash of what they say."""
    return str(payload["content_hash"])


@dataclass(frozen=True)
class RankedPoint:
    """A point with the scores of all stages.

    Attributes:
        point: `score` is the mean over the queries, where a query that did not find the point counts as 0; the other
            scores are the best over the queries.
        store: the store that has the point. Vectors of two stores cannot be compared.
        rerank_score: the cross-encoder's score; None if the search was not reranked.
        places: payloads of other points with nearly the same text, best first.
    """

    point: ScoredPoint
    store: VectorStore
    rerank_score: float | None = None
    places: tuple[Payload, ...] = ()


@dataclass(frozen=True)
class Search:
    """A search between two stages. Rankings are best first.

    Attributes:
        options: the request; no stage changes it.
        texts: the texts to search for.
        queries: the texts with their vectors and terms.
        rankings: for each query, the points that it found.
        ranking: the points that all queries found together. It may be lazy: a stage reads only what it needs.
        fusion: how cosine and BM25 become one score.
        threshold: the least cosine of a relevant point.
    """

    options: SearchOptions
    texts: Sequence[str] = ()
    queries: Sequence[Query] = ()
    rankings: Sequence[Sequence[ScoredPoint]] = ()
    ranking: Iterable[RankedPoint] = ()
    fusion: Fusion = field(default_factory=Fusion)
    threshold: float = 0.0


class Stage(Protocol):
    """A step of the search. Its docstring names the fields of `Search` that it reads and sets."""

    def run(self, search: Search) -> Search:
        """Return the search with this step done; the same object if its options do not ask for the step."""
        ...
