"""The stage that has a model order the best points anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Protocol

from core.errors import InvalidRequest
from core.messages import SearchOptions
from ingest.retrieval.search import RankedPoint, Search, text_with_header

NO_RERANKER = "The server has no model to rerank with: RERANK_MODEL is not set."
#: Most points that a reranker reads for a query, unless more hits are asked for: each takes tens of milliseconds.
MAX_RERANKED = 32


class Reranker(Protocol):
    """A model that scores chunks for a query."""

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        """Return how well each text answers the query: higher is better, on the model's own scale."""
        ...


class Rerank:
    """Orders the best points by the scores of a reranker. Reads and sets `ranking`."""

    def __init__(self, reranker: Reranker | None) -> None:
        self._reranker = reranker

    def check(self, options: SearchOptions) -> None:
        """Check that a search that insists on reranking can have it.

        Raises:
            InvalidRequest: the server has no reranker.
        """
        if options.rerank and self._reranker is None:
            raise InvalidRequest(NO_RERANKER, param="rerank")

    def point_count(self, options: SearchOptions) -> int:
        """Return how many points the reranker reads for a search: 0 if it is not used."""
        return 0 if self._reranker is None or options.rerank is False else max(MAX_RERANKED, options.top_k)

    def run(self, search: Search) -> Search:
        """Order the best points by their score for the query that each answers best, and drop the others.

        Raises:
            Unavailable: the reranker is shutting down.
        """
        count = self.point_count(search.options)
        if self._reranker is None or not count:
            return search
        best = list(islice(search.ranking, count))
        texts = [text_with_header(ranked.point.payload) for ranked in best]
        rows = [self._reranker.scores(query.text, texts) for query in search.queries]
        scores = [max(column) for column in zip(*rows, strict=True)]
        ranking = [replace(ranked, rerank_score=score) for ranked, score in zip(best, scores, strict=True)]
        return replace(search, ranking=sorted(ranking, key=_worst_last))


def _worst_last(ranked: RankedPoint) -> float:
    return -(ranked.rerank_score or 0.0)
