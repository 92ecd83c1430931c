"""The stages of a search, each by itself and in order, over a store and an embedder of a few lines."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from core.errors import InvalidRequest
from core.messages import SearchOptions
from ingest.retrieval.candidates import FetchCandidates
from ingest.retrieval.diversity import Diversify
from ingest.retrieval.merging import MergeRankings
from ingest.retrieval.neighbours import AddNeighbours
from ingest.retrieval.queries import DropRepeatedTexts, PrepareQueries
from ingest.retrieval.query_terms import QueryTerms
from ingest.retrieval.relevance import DropIrrelevant, PutExactMatchesFirst
from ingest.retrieval.reranking import MAX_RERANKED, Rerank
from ingest.retrieval.retriever import Retriever, run_stages
from ingest.retrieval.search import Query, RankedPoint, Search, Stage
from ingest.vector_store import ScoredPoint, VectorStore, point_id
from ingest.vector_store.base import Payload, Vector

OPTIONS = SearchOptions(top_k=2)


class FakeStore:
    """Gives the first points of a list to every query, and counts how often it is asked."""

    def __init__(self, points: Sequence[ScoredPoint] = ()) -> None:
        self.points = points
        self.limits: list[int] = []
        self.weighings = 0

    def search(self, dense: Vector, text: str, limit: int, *_: Any, with_vectors: bool) -> list[ScoredPoint]:
        self.limits.append(limit)
        return list(self.points[:limit])

    def term_weights(self, terms: Sequence[int]) -> dict[int, float]:
        self.weighings += 1
        return dict.fromkeys(terms, 5.0)

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        return {point.id: point.payload for point in self.points if point.id in ids}


class FakeEmbedder:
    """Counts the texts that it embeds at a time."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def embed(self, texts: Sequence[str], *, purpose: str, priority: str) -> list[Vector]:
        self.sizes.append(len(texts))
        return [direction(0) for _ in texts]


class ByLength:
    """A reranker that likes long texts."""

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in texts]


def direction(at: int) -> Vector:
    """Return the unit vector of one of three directions."""
    return np.asarray(np.eye(3)[at], dtype=np.float32)


def point(text: str, score: float = 1.0, document: str = "doc", index: int = 0, **values: Any) -> ScoredPoint:
    payload = {
        "document_id": document, "generation": 1, "chunk_index": index, "text": text, "filename": "a.txt",
        "collection": "default",
    }  # fmt: skip
    return ScoredPoint(payload, score, id=point_id(document, 1, index), **values)


def query(text: str, store: FakeStore | None = None) -> Query:
    return Query(text, direction(0), QueryTerms(text, as_store(store or FakeStore())))


def as_store(store: FakeStore) -> VectorStore:
    return cast(VectorStore, store)


def with_ranking(*points: ScoredPoint, options: SearchOptions = OPTIONS) -> Search:
    return Search(options, queries=[query("any")], ranking=[RankedPoint(one) for one in points])


def texts_of(search: Search) -> list[str]:
    return [ranked.point.payload["text"] for ranked in search.ranking]


def first_ranking(search: Search) -> list[str]:
    return [one.payload["text"] for one in search.rankings[0]]


def all_searchable(documents: Collection[str]) -> dict[str, int]:
    return dict.fromkeys(documents, 1)


def read_counted(points: Sequence[ScoredPoint], read: list[str]) -> Iterator[ScoredPoint]:
    """Yield the points, and note the text of each one that is read."""
    for one in points:
        read.append(one.payload["text"])
        yield one


def test_a_search_goes_through_its_stages_in_this_order() -> None:
    retriever = Retriever(as_store(FakeStore()), FakeEmbedder(), all_searchable, 0.25)
    assert [type(stage) for stage in retriever.stages] == [
        DropRepeatedTexts, PrepareQueries,
        FetchCandidates, PutExactMatchesFirst, DropIrrelevant,
        MergeRankings, Rerank, Diversify, AddNeighbours,
    ]  # fmt: skip


def test_a_stage_is_added_by_adding_it_to_the_list() -> None:
    class AddText:
        def run(self, search: Search) -> Search:
            return replace(search, texts=[*search.texts, "router"])

    embedder = FakeEmbedder()
    stages: list[Stage] = [AddText(), DropRepeatedTexts(), AddText(), PrepareQueries(embedder, as_store(FakeStore()))]
    search = run_stages(stages, Search(OPTIONS, ["router", " ", "whales"]))
    assert [one.text for one in search.queries] == ["router", "whales", "router"]
    assert embedder.sizes == [3]


def test_a_search_without_a_text_asks_neither_model_nor_store() -> None:
    store, embedder = FakeStore([point("router")]), FakeEmbedder()
    retriever = Retriever(as_store(store), embedder, all_searchable, 0.25, ByLength())
    assert retriever.search([" ", ""], OPTIONS) == []
    assert (embedder.sizes, store.limits) == ([], [])


def test_candidates_are_fetched_until_enough_are_searchable() -> None:
    stale = [point(f"stale {n}", document="stale", index=n) for n in range(30)]
    store = FakeStore([*stale, point("same", document="a"), point("same", document="a", index=1), point("last")])
    stage = FetchCandidates(as_store(store), lambda _: {"doc": 1, "a": 1}, at_least=lambda _: 24)
    search = stage.run(Search(OPTIONS, queries=[query("router")]))
    assert first_ranking(search) == ["same", "last"]
    assert store.limits == [24, 96]


def test_of_equal_points_the_one_with_all_terms_comes_first() -> None:
    ranking = [
        point("best", 0.9),
        point("reset the router", 0.5, sparse_score=1.0),
        point("router reset later", 0.5, sparse_score=1.0),
        point("reset router later", 0.4, sparse_score=1.0),
    ]
    search = Search(OPTIONS, queries=[query("reset router later")], rankings=[ranking])
    assert first_ranking(PutExactMatchesFirst().run(search)) == [
        "best", "router reset later", "reset the router", "reset router later",
    ]  # fmt: skip


def test_points_are_relevant_if_they_are_close_or_hold_the_terms() -> None:
    ranking = [
        point("close", dense_score=0.3),
        point("far", dense_score=0.2),
        point("holds zz278x1", dense_score=0.1, sparse_score=1.0),
    ]
    search = Search(OPTIONS, queries=[query("tell me about zz278x1")], rankings=[ranking])
    assert first_ranking(DropIrrelevant(0.25).run(search)) == ["close", "holds zz278x1"]
    strict = replace(search, options=SearchOptions(top_k=2, score_threshold=0.35))
    assert first_ranking(DropIrrelevant(0.25).run(strict)) == ["holds zz278x1"]


def test_relevance_is_worked_out_only_as_far_as_hits_are_read() -> None:
    read: list[str] = []
    store = FakeStore()
    points = [point(f"close {n}", score=1 - n / 100, dense_score=0.9) for n in range(20)]
    points.append(point("doubtful", 0.1, dense_score=0.1, sparse_score=1.0))
    search = Search(OPTIONS, queries=[query("doubtful", store)], rankings=[read_counted(points, read)])
    stages: list[Stage] = [PutExactMatchesFirst(), DropIrrelevant(0.25), MergeRankings(), Rerank(None), Diversify()]
    found = iter(run_stages(stages, search).ranking)
    assert read == []
    assert [next(found).point.payload["text"] for _ in range(2)] == ["close 0", "close 1"]
    assert len(read) <= 3 and store.weighings == 0
    assert len(list(found)) == 19 and store.weighings == 1


def test_rankings_are_merged_by_the_mean_of_their_scores() -> None:
    a, b, c = (point(name, document=name) for name in "abc")
    rankings = [
        [replace(a, score=0.9, dense_score=0.1), replace(b, score=0.8, dense_score=0.7)],
        [replace(b, score=0.6, dense_score=0.2, sparse_score=3.0), replace(c, score=0.5)],
    ]
    search = MergeRankings().run(Search(OPTIONS, rankings=rankings))
    found = [ranked.point for ranked in search.ranking]
    assert [(one.payload["text"], round(one.score, 3)) for one in found] == [("b", 0.7), ("a", 0.45), ("c", 0.25)]
    assert (found[0].dense_score, found[0].sparse_score) == (0.7, 3.0)


def test_the_reranker_orders_the_best_and_is_left_out_on_request() -> None:
    search = with_ranking(point("aa"), point("a", index=1), point("aaa", index=2))
    reranked = Rerank(ByLength()).run(search)
    assert [(ranked.point.payload["text"], ranked.rerank_score) for ranked in reranked.ranking] == [
        ("aaa", 3.0), ("aa", 2.0), ("a", 1.0),
    ]  # fmt: skip
    declined = SearchOptions(top_k=2, rerank=False)
    assert Rerank(ByLength()).run(replace(search, options=declined)).ranking is search.ranking
    assert Rerank(None).run(search) is search
    assert [Rerank(ByLength()).point_count(one) for one in (OPTIONS, declined)] == [MAX_RERANKED, 0]
    with pytest.raises(InvalidRequest, match="RERANK_MODEL"):
        Rerank(None).check(SearchOptions(top_k=2, rerank=True))


def test_diversity_puts_a_point_that_differs_before_one_that_is_alike() -> None:
    points = [point(str(n), index=n, vector=direction(at)) for n, at in enumerate((0, 0, 1))]
    plain = with_ranking(*points)
    assert Diversify().run(plain) is plain
    varied = Diversify().run(with_ranking(*points, options=SearchOptions(top_k=2, diversity=0.7)))
    assert texts_of(varied) == ["0", "2", "1"]


def test_neighbours_are_merged_into_a_hit_and_are_no_hits_themselves() -> None:
    chunks = [point(f"part {n}", index=n) for n in range(5)]
    plain = with_ranking(chunks[2], chunks[1], chunks[4])
    stage = AddNeighbours(as_store(FakeStore(chunks)))
    assert stage.run(plain) is plain
    wider = stage.run(replace(plain, options=SearchOptions(top_k=2, neighbours=1)))
    assert texts_of(wider) == ["part 1\npart 2\npart 3", "part 4"]
