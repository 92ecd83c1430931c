"""The stages of a search, each by itself and in order, over a store and an embedder of a few lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from core.errors import InvalidRequest
from core.messages import SearchOptions
from ingest.parsed_document import content_hash_of
from ingest.retrieval.candidates import LEAST_CONSIDERED, RESERVE, FetchCandidates
from ingest.retrieval.diversity import Diversify
from ingest.retrieval.merging import MergeRankings
from ingest.retrieval.neighbours import AddNeighbours
from ingest.retrieval.paragraphs import CompleteParagraphs
from ingest.retrieval.queries import DropEmptyTexts, PrepareQueries
from ingest.retrieval.query_terms import QueryTerms
from ingest.retrieval.reading import ActiveGenerations, PointReader
from ingest.retrieval.relevance import DropIrrelevant
from ingest.retrieval.repeated_texts import CollapseRepeatedTexts
from ingest.retrieval.reranking import MAX_RERANKED, Rerank
from ingest.retrieval.retriever import LAST_STAGES, Retriever, Scope, run_stages, search_together
from ingest.retrieval.search import Query, RankedPoint, Search, Stage
from ingest.vector_store import ScoredPoint, VectorStore, point_id
from ingest.vector_store.base import Payload, Vector
from ingest.vector_store.fusion import Fusion, fuse
from ingest.vector_store.sparse import code_terms, query_terms
from ingest.vector_store.term_weights import COUNTED_POINTS, TermWeights, points_with, term_weights, weight_of

OPTIONS = SearchOptions(top_k=2)
LONG_TEXT = " ".join(f"word{'abcdefghijklmnopqrstuvwxyz'[n % 26] * (n // 26 + 1)}" for n in range(60))


class FakeStore:
    """Gives the first points of a list to every query, and counts how often it is asked and what is read."""

    def __init__(self, points: Sequence[ScoredPoint] = (), vectors: Sequence[Vector] = ()) -> None:
        self.points = points
        self.of_points = dict(zip((one.id for one in points), vectors, strict=False))
        self.limits: list[int] = []
        self.read: list[str] = []
        self.weighings = 0

    def search(
        self, dense: Vector, text: str, limit: int, *_: Any, with_payloads: bool = True, **__: Any
    ) -> list[ScoredPoint]:
        self.limits.append(limit)
        return [one if with_payloads else replace(one, payload={}) for one in self.points[:limit]]

    def term_weights(self, terms: Sequence[int], _: Sequence[str] = ()) -> TermWeights:
        self.weighings += 1
        return TermWeights(dict.fromkeys(terms, 5.0), {}, 5.0, len(terms))

    def payloads(self, ids: Sequence[str]) -> dict[str, Payload]:
        self.read += ids
        return {point.id: point.payload for point in self.points if point.id in ids}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        return {key: vector for key, vector in self.of_points.items() if key in ids}


STORE = FakeStore()


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
        "collection": "default", "content_hash": content_hash_of(text),
    }  # fmt: skip
    return ScoredPoint(payload, score, id=point_id(document, 1, index), **values)


def query(text: str, store: FakeStore | None = None) -> Query:
    return Query(text, direction(0), QueryTerms.of(text, as_store(store or FakeStore()), []))


def as_store(store: FakeStore) -> VectorStore:
    return cast(VectorStore, store)


def with_ranking(*points: ScoredPoint, options: SearchOptions = OPTIONS) -> Search:
    return Search(options, queries=[query("any")], ranking=[ranked(one) for one in points])


def ranked(one: ScoredPoint, store: FakeStore | None = None, **values: Any) -> RankedPoint:
    return RankedPoint(one, as_store(store or STORE), **values)


def texts_of(search: Search) -> list[str]:
    return [one.point.payload["text"] for one in search.ranking]


def reader(store: FakeStore | None = None, active: ActiveGenerations | None = None) -> PointReader:
    return PointReader(as_store(store or STORE), active or all_searchable)


def first_ranking(search: Search) -> list[str]:
    return [one.payload["text"] for one in search.rankings[0]]


def all_searchable(documents: Collection[str]) -> dict[str, int]:
    return dict.fromkeys(documents, 1)


def test_a_search_goes_through_its_stages_in_this_order() -> None:
    retriever = Retriever(as_store(FakeStore()), FakeEmbedder(), all_searchable, 0.25)
    assert [type(stage) for stage in retriever.stages] == [
        DropEmptyTexts, PrepareQueries, FetchCandidates, DropIrrelevant,
        MergeRankings, CollapseRepeatedTexts, Rerank,
    ]  # fmt: skip
    assert [type(stage) for stage in LAST_STAGES] == [Diversify, AddNeighbours, CompleteParagraphs]


def test_a_stage_is_added_by_adding_it_to_the_list() -> None:
    class AddText:
        def run(self, search: Search) -> Search:
            return replace(search, texts=[*search.texts, "router"])

    embedder = FakeEmbedder()
    stages: list[Stage] = [AddText(), DropEmptyTexts(), AddText(), PrepareQueries(embedder, as_store(FakeStore()))]
    search = run_stages(stages, Search(OPTIONS, ["router", " ", "whales"]))
    assert [one.text for one in search.queries] == ["router", "whales", "router"]
    assert embedder.sizes == [3]


def test_a_search_without_a_text_asks_neither_model_nor_store() -> None:
    store, embedder = FakeStore([point("router")]), FakeEmbedder()
    retriever = Retriever(as_store(store), embedder, all_searchable, 0.25, ByLength())
    assert retriever.search([" ", "", "the of and", "?!"], OPTIONS) == []
    assert (embedder.sizes, store.limits) == ([], [])


def test_candidates_are_fetched_until_enough_are_searchable() -> None:
    stale = [point(f"stale {n}", document="stale", index=n) for n in range(120)]
    store = FakeStore([*stale, point("same", document="a"), point("same", document="a", index=1), point("last")])
    stage = FetchCandidates(reader(store, lambda _: {"doc": 1, "a": 1}), at_least=lambda _: 24)
    search = stage.run(Search(OPTIONS, queries=[query("router")]))
    assert first_ranking(search) == ["same", "same", "last"]
    assert store.limits == [100, 400]


def test_only_the_best_points_are_read_and_those_that_may_repeat_them() -> None:
    points = [point(f"text {n}", 1 - n / 1000, f"doc-{n}", dense_score=0.9 - n / 1000) for n in range(90)]
    copy = replace(point("text 0", 0.1, "copy"), dense_score=0.9)
    store, asked = FakeStore([*points, copy]), list[str]()

    def active(documents: list[str]) -> dict[str, int]:
        asked.extend(documents)
        return {**all_searchable(documents), "doc-1": 2}

    hits = Retriever(as_store(store), FakeEmbedder(), active, 0.25).search(["router"], SearchOptions(top_k=3))
    assert [hit.text for hit in hits] == ["text 0", "text 2", "text 3"]
    assert [place.document_id for place in hits[0].also_in] == ["copy"]
    assert len(store.read) == len(asked) == LEAST_CONSIDERED + RESERVE + 1


def test_points_are_relevant_if_they_are_close_or_hold_the_terms() -> None:
    asked = query("tell me about zz-278x1")
    ranking = [
        point("close", dense_score=0.3),
        point("far", index=1, dense_score=0.2),
        point("holds ZZ278X1", index=2, dense_score=0.1, sparse_score=0.2 * asked.terms.weights.ceiling),
        point("tell 278x1 me", index=3, dense_score=0.1, sparse_score=0.3 * asked.terms.weights.ceiling),
        point("has 278x1", index=4, dense_score=0.1, sparse_score=0.2 * asked.terms.weights.ceiling),
    ]
    search = Search(OPTIONS, threshold=0.25, queries=[asked], rankings=[ranking])
    assert first_ranking(DropIrrelevant(reader()).run(search)) == ["close", "holds ZZ278X1", "tell 278x1 me"]
    strict = replace(search, threshold=0.35)
    assert first_ranking(DropIrrelevant(reader()).run(strict)) == ["holds ZZ278X1", "tell 278x1 me"]


def test_a_point_that_shares_words_needs_less_closeness_unless_the_search_names_a_threshold() -> None:
    asked = query("the warranty of the pump")
    half = 0.5 * asked.terms.weights.ceiling
    ranking = [
        point("nothing shared", dense_score=0.3),
        point("the pump", index=1, dense_score=0.3, sparse_score=half),
        point("a pump", index=2, dense_score=0.2, sparse_score=half),
    ]
    search = Search(OPTIONS, threshold=0.4, fusion=Fusion(cosine_floor=0.1), queries=[asked], rankings=[ranking])
    assert first_ranking(DropIrrelevant(reader()).run(search)) == ["the pump"]
    named = replace(search, options=SearchOptions(top_k=2, score_threshold=0.4))
    assert first_ranking(DropIrrelevant(reader()).run(named)) == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("AX-0042", True),
        ("about ax0042", True),
        ("What is 00501?", True),
        ("AX-0042 mortgage rates abroad", False),
        ("part", False),
    ],
)
def test_a_code_that_most_points_hold_is_found_if_the_query_has_little_else(text: str, is_found: bool) -> None:
    held = query_terms("part AX-0042, 00501").indices
    weights = {term: weight_of(2 if term in held else 1, 2) for term in query_terms(text).indices}
    terms = QueryTerms(TermWeights(weights, {}, weight_of(1, 2), len(weights)), frozenset(code_terms(text)))
    one = point("part AX-0042, 00501", dense_score=0.1, sparse_score=terms.weights.ceiling)
    assert terms.match_strongly(one) == is_found


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("What is in the Osprey folder?", True),
        ("Which files does the folder osprey have?", True),
        ("What is in the Heron folder?", False),
        ("What is in the folder?", False),
        ("What is the wing span of an osprey?", False),
        ("What is in the documents?", False),
    ],
)
def test_a_query_for_a_folder_finds_what_is_in_it(text: str, is_found: bool) -> None:
    one = point("All pumps are painted.", dense_score=0.1, sparse_score=1.0)
    one = replace(one, payload={**one.payload, "path": "Documents/Osprey/status.md", "filename": "status.md"})
    common = set(query_terms("documents").indices)
    indices = query_terms(text).indices
    weights = {term: weight_of(900 if term in common else 3, 1000) for term in indices}
    subject = QueryTerms.of(text, as_store(STORE), []).subject
    assert QueryTerms(TermWeights(weights, {}, weight_of(0, 1000)), subject=subject).match_strongly(one) == is_found


def test_rankings_are_merged_by_the_mean_of_their_scores() -> None:
    a, b, c = (point(name, document=name) for name in "abc")
    rankings = [
        [replace(a, score=0.9, dense_score=0.1), replace(b, score=0.8, dense_score=0.7)],
        [replace(b, score=0.6, dense_score=0.2, sparse_score=3.0), replace(c, score=0.5)],
    ]
    search = MergeRankings(as_store(STORE)).run(Search(OPTIONS, rankings=rankings))
    found = [one.point for one in search.ranking]
    assert [(one.payload["text"], round(one.score, 3)) for one in found] == [("b", 0.7), ("a", 0.45), ("c", 0.25)]
    assert (found[0].dense_score, found[0].sparse_score) == (0.7, 3.0)


def test_the_reranker_orders_the_best_and_is_left_out_on_request() -> None:
    search = with_ranking(point("aa"), point("a", index=1), point("aaa", index=2))
    reranked = Rerank(ByLength()).run(search)
    assert [(one.point.payload["text"], one.rerank_score) for one in reranked.ranking] == [
        ("aaa", 3.0), ("aa", 2.0), ("a", 1.0),
    ]  # fmt: skip
    declined = SearchOptions(top_k=2, rerank=False)
    assert Rerank(ByLength()).run(replace(search, options=declined)).ranking is search.ranking
    assert Rerank(None).run(search) is search
    assert [Rerank(ByLength()).point_count(one) for one in (OPTIONS, declined)] == [MAX_RERANKED, 0]
    with pytest.raises(InvalidRequest, match="RERANK_MODEL"):
        Rerank(None).check(SearchOptions(top_k=2, rerank=True))


def test_diversity_puts_a_point_that_differs_before_one_that_is_alike() -> None:
    points = [point(str(n), index=n) for n in range(3)]
    store = FakeStore(points, [direction(at) for at in (0, 0, 1)])
    plain = with_ranking(*points)
    assert Diversify().run(plain) is plain
    options = SearchOptions(top_k=2, diversity=0.7)
    varied = Diversify().run(Search(options, ranking=[ranked(one, store) for one in points]))
    assert texts_of(varied) == ["0", "2", "1"]


def test_neighbours_are_merged_into_a_hit_and_are_no_hits_themselves() -> None:
    chunks = [point(f"part {n}", index=n) for n in range(5)]
    plain = with_ranking(chunks[2], chunks[1], chunks[4])
    store = FakeStore(chunks)
    plain = replace(plain, ranking=[replace(one, store=as_store(store)) for one in plain.ranking])
    stage = AddNeighbours()
    assert stage.run(plain) is plain
    wider = stage.run(replace(plain, options=SearchOptions(top_k=2, neighbours=1)))
    assert texts_of(wider) == ["part 1\npart 2\npart 3", "part 4"]


def test_points_of_two_models_are_compared_by_their_words() -> None:
    one = point("reset the router")
    others = [point("reset the router again", document="b"), point("bananas are yellow", document="c")]
    store, other = FakeStore([one], [direction(0)]), FakeStore(others, [direction(1), direction(0)])
    points = [ranked(one, store), *(ranked(each, other) for each in others)]
    varied = Diversify().run(Search(SearchOptions(top_k=2, diversity=0.7), ranking=points))
    assert texts_of(varied) == ["reset the router", "bananas are yellow", "reset the router again"]


def test_the_hits_of_two_models_are_ordered_by_their_ranks() -> None:
    stores = [
        FakeStore([point(f"{name}{n}", 1 - n / 10 - less, name, n, dense_score=0.9) for n in range(3)])
        for name, less in (("a", 0.0), ("b", 0.5))
    ]
    retrievers = [Retriever(as_store(store), FakeEmbedder(), all_searchable, 0.25) for store in stores]
    hits = search_together([Scope(one) for one in retrievers], ["router"], SearchOptions(top_k=4))
    assert [hit.text for hit in hits] == ["a0", "b0", "a1", "b1"]


def test_equal_texts_take_one_place_and_name_the_others() -> None:
    copies = [point("The limit  is 30 days.", 0.9, f"copy{n}") for n in range(3)]
    search = with_ranking(*copies, point("The limit is 45 days.", 0.5, "other"))
    collapsed = CollapseRepeatedTexts(reader()).run(search)
    assert texts_of(collapsed) == ["The limit  is 30 days.", "The limit is 45 days."]
    first = next(iter(collapsed.ranking))
    assert [place["document_id"] for place in first.places] == ["copy1", "copy2"]


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        (("wordb", "wordb,"), True),
        (("wordb", "WORDB"), True),
        (("wordb", "wordings"), True),
        (("wordb", "Osprey"), False),
        (("wordb", "12"), False),
        (("wordb", "wordb not"), False),
        (("wordb wordc wordd worde wordf", "five other words are here"), False),
    ],
)
def test_texts_that_differ_in_little_that_matters_take_one_place(change: tuple[str, str], is_same: bool) -> None:
    search = with_ranking(point(LONG_TEXT, 0.9), point(LONG_TEXT.replace(*change), 0.8, "other"))
    assert len(list(CollapseRepeatedTexts(reader()).run(search).ranking)) == (1 if is_same else 2)


def test_the_same_words_in_another_order_are_another_text() -> None:
    words = LONG_TEXT.split()
    search = with_ranking(point(LONG_TEXT, 0.9), point(" ".join(reversed(words)), 0.8, "other"))
    assert len(list(CollapseRepeatedTexts(reader()).run(search).ranking)) == 2


def test_the_score_of_a_point_is_that_of_cosine_and_bm25_on_scales_from_0_to_1() -> None:
    fusion = Fusion(0.5, {"contracts": 0.2}, cosine_floor=0.6)
    assert fusion.score("x", 0.8, 0.5) == pytest.approx(0.5)
    assert fusion.score("contracts", 0.8, 0.25) == pytest.approx(0.2 * 0.5 + 0.8 * 0.25)
    assert fusion.score("contracts", 0.8, None) == pytest.approx(0.5), "a query without terms has no BM25"
    assert fusion.score("x", None, 0.4) == pytest.approx(0.4), "and one without a vector no cosine"
    assert fusion.score("x", 0.1, 0.0) == 0


def test_a_point_that_is_second_in_both_rankings_may_be_the_best() -> None:
    weights = TermWeights({1: 1.0}, {}, 1.0, 1)
    found = fuse({"a": 0.8, "b": 0.7, "c": 0.1}, {"c": 2.0, "b": 1.9}, weights, Fusion(), {})
    assert [one.id for one in found] == ["b", "c", "a"]
    assert [one.dense_score for one in found] == [0.7, 0.1, 0.8]


def test_terms_weigh_what_they_do_in_the_collections_searched() -> None:
    in_store = {1: weight_of(5, 10_000), 2: weight_of(5_000, 10_000)}
    small = term_weights([1, 2, 3], in_store, 10_000, {1: 5, 2: 0}, 10)
    assert small.weights[1] == pytest.approx(weight_of(5, 10)), "half of the small collection has it"
    assert small.weights[2] == small.weights[3] == small.unseen == weight_of(1, 10)
    assert small.factors[1] * in_store[1] == pytest.approx(small.weights[1])
    large = term_weights([2], in_store, 10_000, {2: COUNTED_POINTS}, 5_000)
    assert large.weights[2] == pytest.approx(weight_of(2_500, 5_000), rel=0.01)
    assert points_with(weight_of(7, 900), 900) == pytest.approx(7)


def test_terms_that_are_not_looked_up_count_on_average() -> None:
    assert TermWeights({1: 2.0, 2: 4.0}, {}, 5.0, 4).ceiling == pytest.approx(2.2 * 12)
    assert TermWeights().ceiling == 0


def test_a_query_with_a_code_is_about_that_code() -> None:
    assert code_terms("Where is part AB-1207?") == code_terms("ab1207")
    assert set(code_terms("What does clause 12.3 say?")) <= set(query_terms("clause 12.3").indices)
    assert code_terms("In which year, 2019 or 2020?") == []
