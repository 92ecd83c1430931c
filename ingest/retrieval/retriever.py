"""Search: a list of stages from the texts of a request to its hits."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice

from core.messages import Hit, SearchOptions
from ingest.retrieval.candidates import ActiveGenerations, FetchCandidates
from ingest.retrieval.diversity import Diversify
from ingest.retrieval.merging import MergeRankings
from ingest.retrieval.neighbours import AddNeighbours
from ingest.retrieval.queries import DropRepeatedTexts, PrepareQueries, QueryEmbedder
from ingest.retrieval.relevance import DropIrrelevant, PutExactMatchesFirst
from ingest.retrieval.reranking import Rerank, Reranker
from ingest.retrieval.search import RankedPoint, Search, Stage
from ingest.vector_store import VectorStore

#: Searches for longer texts than this (in characters, in all) run one at a time. Their work in Python holds the
#: interpreter's lock: with sixteen at once, each step of a short search would wait for all of them.
LONG_CHARACTERS = 2000


class Retriever:
    """Finds chunks. Thread-safe: the stages keep nothing between two searches.

    Attributes:
        stages: what a search goes through, in order.
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
            default_threshold: least cosine of a relevant chunk, if a search names none.
            reranker: orders the best candidates anew, unless a search declines it.
        """
        self._long_search = threading.Lock()
        self._rerank = Rerank(reranker)
        self.stages: Sequence[Stage] = (
            # texts → queries
            DropRepeatedTexts(),
            PrepareQueries(embedder, store),
            # queries → a ranking for each
            FetchCandidates(store, active_generations, at_least=self._rerank.point_count),
            PutExactMatchesFirst(),
            DropIrrelevant(default_threshold),
            # rankings → one ranking
            MergeRankings(),
            self._rerank,
            Diversify(),
            AddNeighbours(store),
        )

    def search(self, texts: Sequence[str], options: SearchOptions) -> list[Hit]:
        """Return the best chunks for all texts together, best first, or none if nothing is relevant.

        A chunk is relevant if its cosine to a text reaches the threshold, or if it holds the text's rare terms
        (a part number, a name), which an embedding model may not know.

        Args:
            texts: what exceeds the model's window does not count for the cosine.
            options: where to search, and for how much.

        Raises:
            InvalidRequest: the search insists on reranking, and the server has no model for it.
            Unavailable: the model is shutting down, or a store or catalog server does not answer.
        """
        self._rerank.check(options)
        is_long = sum(map(len, texts)) > LONG_CHARACTERS
        with self._long_search if is_long else nullcontext():
            found = run_stages(self.stages, Search(options, texts))
            return [_hit(ranked) for ranked in islice(found.ranking, options.top_k)]


def run_stages(stages: Sequence[Stage], search: Search) -> Search:
    """Return the search after all stages, in order."""
    for stage in stages:
        search = stage.run(search)
    return search


def _hit(ranked: RankedPoint) -> Hit:
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
    )
