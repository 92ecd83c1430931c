"""Search: the query's vector and terms in, relevant chunks of what is searchable now out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from core.messages import Hit, SearchOptions
from ingest.embedding_service import EmbeddingService
from ingest.vector_store import ScoredPoint, VectorStore
from ingest.vector_store.sparse import document_terms, query_terms

#: Candidates fetched for each hit wanted, and at least; more only if too many of them turn out to be stale.
OVERFETCH = 4
MIN_CANDIDATES = 20
MAX_CANDIDATES = 5_000
#: A chunk with this share of the query's terms, counted by rarity, is a strong match: a little more than half.
STRONG_SHARE = 0.55

ActiveGenerations = Callable[[list[str]], dict[str, int]]


class Retriever:
    """Finds chunks. Thread-safe."""

    def __init__(
        self,
        store: VectorStore,
        service: EmbeddingService,
        active_generations: ActiveGenerations,
        default_threshold: float,
    ) -> None:
        """
        Args:
            active_generations: gives the searchable generation of each of these documents that has one.
            default_threshold: least dense cosine of a hit, where a search names none.
        """
        self._store = store
        self._service = service
        self._active_generations = active_generations
        self._default_threshold = default_threshold

    def search(self, query: str, options: SearchOptions) -> list[Hit]:
        """The best chunks for a query, best first; none if nothing is relevant.

        A chunk is relevant if its cosine to the query reaches the threshold, or if it holds the query's rare terms
        (a part number, a name), which an embedding model may not know.

        Args:
            query: what is over the model's window does not count for the cosine.
            options: where to search, and for how much.

        Raises:
            Unavailable: the model is shutting down, or a store or catalog server does not answer.
        """
        if not query.strip():
            return []
        points = self._active_points(query, options)
        terms = QueryTerms(query, self._store)
        least = self._default_threshold if options.score_threshold is None else options.score_threshold
        relevant = (point for point in points if _is_close(point, least) or terms.match_strongly(point))
        return [_hit(point) for point, _ in zip(relevant, range(options.top_k), strict=False)]

    def _active_points(self, query: str, options: SearchOptions) -> list[ScoredPoint]:
        """Fetches until enough of the points are searchable, or there are no more."""
        vector = self._service.embed([query], purpose="query", priority="interactive")[0]
        limit = max(MIN_CANDIDATES, options.top_k * OVERFETCH)
        while True:
            points = self._store.search(vector, query, limit, options.collections, options.filters)
            current = self._without_stale(points)
            if len(current) >= min(options.top_k * 2, limit) or len(points) < limit or limit >= MAX_CANDIDATES:
                return current
            limit = min(limit * OVERFETCH, MAX_CANDIDATES)

    def _without_stale(self, points: Sequence[ScoredPoint]) -> list[ScoredPoint]:
        """Drops points of generations that are not the searchable one, and a document's repeated texts."""
        active = self._active_generations(sorted({point.payload["document_id"] for point in points}))
        first: dict[tuple[str, str], ScoredPoint] = {}
        for point in points:
            payload = point.payload
            if active.get(payload["document_id"]) == payload["generation"]:
                first.setdefault((payload["document_id"], payload["text"]), point)
        return list(first.values())


class QueryTerms:
    """The terms of a query with their rarity, looked up only if a match of doubtful cosine needs it."""

    def __init__(self, query: str, store: VectorStore) -> None:
        self._terms = query_terms(query).indices
        self._store = store

    @cached_property
    def _weights(self) -> dict[int, float]:
        return self._store.term_weights(self._terms)

    def match_strongly(self, point: ScoredPoint) -> bool:
        """Whether the point holds most of the query, its terms counted by their rarity."""
        if point.sparse_score is None or not self._terms:
            return False
        held = set(document_terms(point.payload["text"]).indices)
        share = sum(weight for term, weight in self._weights.items() if term in held)
        return share >= STRONG_SHARE * sum(self._weights.values())


def _is_close(point: ScoredPoint, least: float) -> bool:
    return point.dense_score is not None and point.dense_score >= least


def _hit(point: ScoredPoint) -> Hit:
    payload = point.payload
    return Hit(
        document_id=payload["document_id"],
        chunk_index=payload["chunk_index"],
        text=payload["text"],
        score=point.score,
        filename=payload["filename"],
        collection=payload["collection"],
        path=payload.get("path"),
        dense_score=point.dense_score,
        sparse_score=point.sparse_score,
        page=payload.get("page"),
        section=payload.get("section"),
        start=payload.get("start"),
        end=payload.get("end"),
        attributes=payload.get("attributes", {}),
    )
