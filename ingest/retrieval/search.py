"""The state that the stages of a search pass on to one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.messages import SearchOptions
from ingest.retrieval.query_terms import QueryTerms
from ingest.vector_store import ScoredPoint
from ingest.vector_store.base import Vector


@dataclass(frozen=True)
class Query:
    """A text to search for, ready for the vector store.

    Attributes:
        vector: float32 [dimension], of length 1.
        terms: for questions about the rarity of its words.
    """

    text: str
    vector: Vector
    terms: QueryTerms


@dataclass(frozen=True)
class RankedPoint:
    """A point with the scores of all stages.

    Attributes:
        point: `score` is the mean over the queries, where a query that did not find the point counts as 0; the other
            scores are the best over the queries.
        rerank_score: the cross-encoder's score; None if the search was not reranked.
    """

    point: ScoredPoint
    rerank_score: float | None = None


@dataclass(frozen=True)
class Search:
    """A search between two stages. Rankings are best first, and may be lazy: a stage reads only what it needs.

    Attributes:
        options: the request; no stage changes it.
        texts: the texts to search for.
        queries: the texts with their vectors and terms.
        rankings: for each query, the points that it found.
        ranking: the points that all queries found together.
    """

    options: SearchOptions
    texts: Sequence[str] = ()
    queries: Sequence[Query] = ()
    rankings: Sequence[Iterable[ScoredPoint]] = ()
    ranking: Iterable[RankedPoint] = ()


class Stage(Protocol):
    """A step of the search. Its docstring names the fields of `Search` that it reads and sets."""

    def run(self, search: Search) -> Search:
        """Return the search with this step done; the same object if its options do not ask for the step."""
        ...
