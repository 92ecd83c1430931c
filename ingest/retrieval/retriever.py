"""Search: a list of stages from the texts of a request to its hits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from core.messages import Hit, HitPlace, SearchOptions
from ingest.retrieval.candidates import FetchCandidates, considered_count
from ingest.retrieval.diversity import Diversify
from ingest.retrieval.explanation import Explanation
from ingest.retrieval.highlights import highlights
from ingest.retrieval.merging import MergeRankings, interleaved
from ingest.retrieval.neighbours import AddNeighbours
from ingest.retrieval.paragraphs import CompleteParagraphs
from ingest.retrieval.queries import DropEmptyTexts, PrepareQueries, QueryEmbedder
from ingest.retrieval.reading import ActiveGenerations, PointReader
from ingest.retrieval.relevance import DropIrrelevant
from ingest.retrieval.repeated_texts import CollapseRepeatedTexts, collapsed
from ingest.retrieval.reranking import Rerank, Reranker
from ingest.retrieval.search import Query, RankedPoint, Search, Stage
from ingest.vector_store import VectorStore
from ingest.vector_store.base import Payload
from ingest.vector_store.fusion import Fusion

#: Searches for longer texts than this (in characters, in all) run one at a time. Their work in Python holds the
#: interpreter's lock: with sixteen at once, each step of a short search would wait for all of them.
LONG_CHARACTERS = 2000


class Retriever:
    """Finds chunks in the store of one model. Thread-safe: the stages keep nothing between two searches.

    Attributes:
        default_threshold: least cosine of a relevant chunk.
        rerank: the stage that has a model order the best points.
        stages: what a search goes through in this store, in order.
    """

    def __init__(
        self,
        store: VectorStore,
        embedder: QueryEmbedder,
        active_generations: ActiveGenerations,
        default_threshold: float,
        reranker: Reranker | None = None,
    ) -> None:
        """
        Args:
            default_threshold: least cosine of a relevant chunk, if neither the search nor its scope names one.
            reranker: orders the best candidates anew, unless a search declines it.
        """
        self.default_threshold = default_threshold
        self._long_search = threading.Lock()
        self.rerank = Rerank(reranker)
        reader = PointReader(store, active_generations)
        self.stages: Sequence[Stage] = (
            # texts → queries
            DropEmptyTexts(),
            PrepareQueries(embedder, store),
            # queries → a ranking for each
            FetchCandidates(reader, at_least=self.rerank.point_count),
            DropIrrelevant(reader),
            # rankings → one ranking
            MergeRankings(store),
            CollapseRepeatedTexts(reader, at_least=self.rerank.point_count),
            self.rerank,
        )

    def search(self, texts: Sequence[str], options: SearchOptions) -> list[Hit]:
        """Return the best chunks for all texts together: see `search_together`."""
        return search_together([Scope(self, options.collections)], texts, options)

    def rank(self, search: Search, explanation: Explanation | None = None) -> Search:
        """Return the search after all stages, with its ranking.

        Raises:
            Unavailable: the model is shutting down, or a store or catalog server does not answer.
        """
        is_long = sum(map(len, search.texts)) > LONG_CHARACTERS
        with self._long_search if is_long else nullcontext():
            return run_stages(self.stages, search, explanation)


@dataclass(frozen=True)
class Scope:
    """A part of what is searched: some collections of one model.

    Attributes:
        collections: their keys; none means all.
        fusion: how cosine and BM25 become one score.
        threshold: least cosine of a relevant chunk, if the search names none; None: the retriever's.
    """

    retriever: Retriever
    collections: Sequence[str] = ()
    fusion: Fusion = field(default_factory=Fusion)
    threshold: float | None = None

    def search(self, texts: Sequence[str], options: SearchOptions) -> Search:
        """Return a search within this scope. The collections of `options` do not count."""
        thresholds = (options.score_threshold, self.threshold, self.retriever.default_threshold)
        threshold = next(one for one in thresholds if one is not None)
        within = msgspec.structs.replace(options, collections=list(self.collections))
        return Search(within, texts, fusion=self.fusion, threshold=threshold)


#: What the points of all models go through together, in order, once those that say the same share a place.
LAST_STAGES: Sequence[Stage] = (Diversify(), AddNeighbours(), CompleteParagraphs())


def search_together(
    scopes: Sequence[Scope], texts: Sequence[str], options: SearchOptions, explanation: Explanation | None = None
) -> list[Hit]:
    """Return the best chunks for all texts together, best first, or none if nothing is relevant.

    A chunk is relevant if its cosine to a text reaches the threshold, or if it holds the text's rare terms
    (a part number, a name), which an embedding model may not know.

    Args:
        scopes: where to search. The collections of `options` do not count.
        texts: what exceeds a model's window does not count for the cosine.
        options: for how much to search.
        explanation: takes what the stages take, and the ranks of what they find.

    Raises:
        InvalidRequest: the search insists on reranking, and the server has no model for it.
        Unavailable: a model is shutting down, or a store or catalog server does not answer.
    """
    for scope in scopes:
        scope.retriever.rerank.check(options)
    searches = [scope.retriever.rank(scope.search(texts, options), explanation) for scope in scopes]
    rankings = [list(search.ranking) for search in searches]
    if explanation is not None:
        for search in searches:
            explanation.add_scope(search)
    limit = considered_count(options)
    ranking = rankings[0][:limit] if len(rankings) == 1 else collapsed(interleaved(rankings), limit)
    if explanation is not None:
        explanation.add_ranking("rank", ranking)
    found = run_stages(LAST_STAGES, Search(options, texts=texts, ranking=ranking), explanation)
    queries = [query for search in searches for query in search.queries]
    return [_hit(ranked, queries) for ranked in islice(found.ranking, options.top_k)]


def run_stages(stages: Sequence[Stage], search: Search, explanation: Explanation | None = None) -> Search:
    """Return the search after all stages, in order."""
    for stage in stages:
        if explanation is None:
            search = stage.run(search)
            continue
        with explanation.timing(stage) as after:
            search = stage.run(search)
            after.append(search)
        if isinstance(stage, MergeRankings):
            explanation.add_ranking("fused_rank", search.ranking)
    return search


def _hit(ranked: RankedPoint, queries: Sequence[Query]) -> Hit:
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
        last_page=payload.get("last_page", payload.get("page")),
        section=payload.get("section"),
        header=payload.get("header", ""),
        start=payload.get("start"),
        end=payload.get("end"),
        attributes=payload.get("attributes", {}),
        highlights=highlights(payload["text"], [query.terms.weights.weights for query in queries]),
        also_in=[_place(place) for place in ranked.places],
        before=payload.get("before", ""),
        after=payload.get("after", ""),
    )


def _place(payload: Payload) -> HitPlace:
    return HitPlace(
        document_id=payload["document_id"],
        chunk_index=payload["chunk_index"],
        filename=payload["filename"],
        collection=payload["collection"],
        path=payload.get("path"),
        page=payload.get("page"),
        section=payload.get("section"),
    )
