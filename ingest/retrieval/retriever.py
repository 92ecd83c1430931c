"""Search: the query's vector and terms in, relevant chunks of what is searchable now out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, groupby, islice

from core.errors import InvalidRequest
from core.messages import Hit, SearchOptions
from ingest.embedding.service import EmbeddingService
from ingest.retrieval.neighbours import NeighbourExpansion
from ingest.retrieval.ranking import Ranked, diversified, merged
from ingest.retrieval.reranker import Reranker
from ingest.vector_store import ScoredPoint, VectorStore
from ingest.vector_store.base import Vector
from ingest.vector_store.sparse import document_terms, query_terms

#: Candidates fetched for each hit wanted, and at least; more only if too many of them turn out to be stale.
OVERFETCH = 4
MIN_CANDIDATES = 20
MAX_CANDIDATES = 5_000
#: Most chunks that a cross-encoder reads for a query: tens of milliseconds each.
MAX_RERANKED = 32
#: A chunk with this share of the query's terms, counted by rarity, is a strong match: a little more than half.
STRONG_SHARE = 0.55
#: A term is rare if it weighs this share of what one weighs that a single point has: of 10,000 points, 120 have it.
RARE_SHARE = 0.5
#: Words of letters and digits, such as part numbers: who writes one looks for it.
_CODE = re.compile(r"(?=\S*[^\W\d_])(?=\S*\d)\S+")
#: The id of no term that any point has.
_NO_TERM = 0

ActiveGenerations = Callable[[list[str]], dict[str, int]]


class Retriever:
    """Finds chunks. Thread-safe."""

    def __init__(
        self,
        store: VectorStore,
        service: EmbeddingService,
        active_generations: ActiveGenerations,
        default_threshold: float,
        reranker: Reranker | None = None,
    ) -> None:
        """
        Args:
            active_generations: gives the searchable generation of each of these documents that has one.
            default_threshold: least dense cosine of a hit, where a search names none.
            reranker: orders the best candidates anew, unless a search does not want it.
        """
        self._store = store
        self._service = service
        self._active_generations = active_generations
        self._default_threshold = default_threshold
        self._reranker = reranker

    def search(self, queries: Sequence[str], options: SearchOptions) -> list[Hit]:
        """The best chunks for one query or for several together, best first; none if nothing is relevant.

        A chunk is relevant if its cosine to a query reaches the threshold, or if it holds the query's rare terms
        (a part number, a name), which an embedding model may not know.

        Args:
            queries: what of one is over the model's window does not count for the cosine.
            options: where to search, and for how much.

        Raises:
            InvalidRequest: reranking is asked for, and there is no model for it.
            Unavailable: the model is shutting down, or a store or catalog server does not answer.
        """
        if options.rerank and self._reranker is None:
            raise InvalidRequest("The server has no model to rerank with: RERANK_MODEL is not set.", param="rerank")
        asked = [query for query in dict.fromkeys(queries) if query.strip()]
        if not asked:
            return []
        ranking = self._diversified(self._reranked(asked, self._relevant(asked, options), options), options)
        if options.neighbours:
            ranking = NeighbourExpansion(self._store, options.neighbours).expand(ranking)
        return [_hit(ranked) for ranked in islice(ranking, options.top_k)]

    def _relevant(self, queries: Sequence[str], options: SearchOptions) -> Iterable[ScoredPoint]:
        """What is relevant, best first, worked out only as far as it is asked for."""
        vectors = self._service.embed(queries, purpose="query", priority="interactive")
        rankings = [self._relevant_to(*asked, options) for asked in zip(queries, vectors, strict=True)]
        return rankings[0] if len(rankings) == 1 else merged(rankings)

    def _relevant_to(self, query: str, vector: Vector, options: SearchOptions) -> Iterator[ScoredPoint]:
        terms = QueryTerms(query, self._store)
        least = self._default_threshold if options.score_threshold is None else options.score_threshold
        points = self._active_points(query, vector, options)
        points = list(chain.from_iterable(terms.best_first(list(equal)) for _, equal in groupby(points, _score)))
        return (point for point in points if _is_close(point, least) or terms.match_strongly(point))

    def _active_points(self, query: str, vector: Vector, options: SearchOptions) -> list[ScoredPoint]:
        """Fetches until enough of the points are searchable, or there are no more."""
        limit = max(MIN_CANDIDATES, options.top_k * OVERFETCH, MAX_RERANKED if self._reranks(options) else 0)
        while True:
            points = self._store.search(
                vector,
                query,
                limit,
                options.collections,
                options.filters,
                with_vectors=options.diversity > 0,
            )
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

    def _reranks(self, options: SearchOptions) -> bool:
        return self._reranker is not None and options.rerank is not False

    def _reranked(
        self, queries: Sequence[str], points: Iterable[ScoredPoint], options: SearchOptions
    ) -> Iterable[Ranked]:
        if self._reranker is None or not self._reranks(options):
            return map(Ranked, points)
        best = list(islice(points, max(MAX_RERANKED, options.top_k)))
        texts = [point.payload["text"] for point in best]
        scores = [max(found) for found in zip(*(self._reranker.scores(query, texts) for query in queries), strict=True)]
        ranking = [Ranked(point, score) for point, score in zip(best, scores, strict=True)]
        return sorted(ranking, key=lambda ranked: -(ranked.rerank_score or 0.0))

    @staticmethod
    def _diversified(ranking: Iterable[Ranked], options: SearchOptions) -> Iterable[Ranked]:
        if not options.diversity:
            return ranking
        return diversified(list(islice(ranking, max(MIN_CANDIDATES, options.top_k * OVERFETCH))), options.diversity)


class QueryTerms:
    """The terms of a query with their rarity, looked up only if a match of doubtful cosine needs it."""

    def __init__(self, query: str, store: VectorStore) -> None:
        self._terms = query_terms(query).indices
        self._codes = set(query_terms(" ".join(_CODE.findall(query))).indices)
        self._store = store

    @cached_property
    def _weights(self) -> dict[int, float]:
        return self._store.term_weights([_NO_TERM, *self._terms])

    def match_strongly(self, point: ScoredPoint) -> bool:
        """Whether the point holds most of the query, its terms counted by their rarity, or its part numbers.

        A rare term has to be among them: what every other text has says nothing.
        """
        held = self._held_with_a_rare_one(point)
        if self._codes and self._codes <= held:
            return True
        weights = [weight for term, weight in self._weights.items() if term != _NO_TERM]
        return bool(held) and sum(self._weights[term] for term in held) >= STRONG_SHARE * sum(weights)

    def best_first(self, equal: list[ScoredPoint]) -> list[ScoredPoint]:
        """Of points with the same score, those first that hold all of the query's terms, or its part numbers.

        The best by cosine alone and the best by BM25 alone have the same score, and for a word that the model does not
        know its cosine is left to chance.
        """
        return equal if len(equal) == 1 else sorted(equal, key=lambda point: not self._match_exactly(point))

    def _match_exactly(self, point: ScoredPoint) -> bool:
        held = self._held_with_a_rare_one(point)
        return bool(held) and (set(self._terms) <= held or (bool(self._codes) and self._codes <= held))

    def _held_with_a_rare_one(self, point: ScoredPoint) -> set[int]:
        """The query's terms that the point holds; none if there is no rare one among them."""
        if point.sparse_score is None or not self._terms:
            return set()
        held = set(document_terms(point.payload["text"]).indices) & self._weights.keys()
        least = RARE_SHARE * self._weights[_NO_TERM]
        return held if any(self._weights[term] >= least for term in held) else set()


def _score(point: ScoredPoint) -> float:
    return point.score


def _is_close(point: ScoredPoint, least: float) -> bool:
    return point.dense_score is not None and point.dense_score >= least


def _hit(ranked: Ranked) -> Hit:
    point, payload = ranked.point, ranked.point.payload
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
        rerank_score=ranked.rerank_score,
        page=payload.get("page"),
        section=payload.get("section"),
        start=payload.get("start"),
        end=payload.get("end"),
        attributes=payload.get("attributes", {}),
    )
