"""Retrieval over the embedded store: relevance, stale points and repeated texts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from core.errors import InvalidRequest
from core.messages import Filter, Highlight, Hit, SearchOptions
from ingest.embedding.service import EmbeddingService
from ingest.retrieval.retriever import Retriever
from ingest.vector_store.edge import EdgeVectorStore
from tests.fakes.fake_embedder import FakeEmbedder
from tests.integration.ingest.conftest import MODEL, make_point
from tests.support import wait_until


class World:
    """A store and a retriever. `active` sets the searchable generation of a document, which is 1 otherwise."""

    def __init__(self, store: EdgeVectorStore, embedder: FakeEmbedder, service: EmbeddingService) -> None:
        self.store = store
        self.embedder = embedder
        self.service = service
        self.active: dict[str, int | None] = {}
        self.asked: list[list[str]] = []
        self.retriever = Retriever(store, service, self._active_generations, default_threshold=0.25)

    def search(self, query: str, top_k: int = 3, *collections: str, threshold: float | None = None) -> list[str]:
        return [hit.text for hit in self.hits(query, top_k, *collections, threshold=threshold)]

    def hits(self, query: str, top_k: int = 3, *collections: str, threshold: float | None = None) -> list[Hit]:
        options = SearchOptions(top_k=top_k, collections=list(collections), score_threshold=threshold)
        return self.retriever.search([query], options)

    def found(self, *queries: str, top_k: int = 3, **options: Any) -> list[Hit]:
        return self.retriever.search(queries, SearchOptions(top_k=top_k, **options))

    def _active_generations(self, document_ids: list[str]) -> dict[str, int]:
        self.asked.append(document_ids)
        found = {document_id: self.active.get(document_id, 1) for document_id in document_ids}
        return {document_id: generation for document_id, generation in found.items() if generation is not None}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    store, embedder = EdgeVectorStore(tmp_path, MODEL, FakeEmbedder.dimension), FakeEmbedder()
    service = EmbeddingService(embedder)
    yield World(store, embedder, service)
    service.close()
    store.close()


def test_hits_carry_all_that_a_citation_needs(world: World) -> None:
    attributes = {"author": "Ana"}
    point = make_point(
        "reset the router", path="a/b.txt", page=2, last_page=2, section="Help", start=5, end=21, attributes=attributes
    )
    world.store.upsert([point])
    (hit,) = world.hits("router reset")
    assert hit.dense_score is not None and hit.sparse_score is not None
    assert hit.highlights == [Highlight("reset the router", 0, 16)]
    scores = {
        "highlights": hit.highlights,
        "score": hit.score,
        "dense_score": hit.dense_score,
        "sparse_score": hit.sparse_score,
    }
    assert hit == Hit(
        "doc", 0, "reset the router", filename="a.txt", collection="default", path="a/b.txt", page=2, last_page=2,
        section="Help", start=5, end=21, attributes=attributes,
        **scores,
    )  # fmt: skip
    assert hit.rerank_score is None
    assert world.embedder.purposes == ["query"]


def test_only_the_searchable_generation_is_found(world: World) -> None:
    world.store.upsert([make_point(f"router generation {n}", generation=n) for n in (1, 2, 3)])
    world.store.upsert([make_point("router of a deleted file", "deleted")])
    world.active = {"doc": 2, "deleted": None}
    assert world.search("router") == ["router generation 2"]


def test_stale_points_do_not_crowd_out_the_others(world: World) -> None:
    world.store.upsert([make_point(f"router {n}", "stale", index=n) for n in range(150)])
    world.store.upsert([make_point("a router with many other words in it", "fresh")])
    world.active = {"stale": 7}
    assert world.search("router", 1) == ["a router with many other words in it"]
    assert len(world.asked) > 1


def test_one_fetch_is_enough_where_nothing_is_stale(world: World) -> None:
    world.store.upsert([make_point(f"router {n}", index=n) for n in range(100)])
    with patch.object(world.store, "search", wraps=world.store.search) as search:
        assert len(world.search("router", 5)) == 5
    assert search.call_count == 1


@pytest.mark.parametrize("options", [{}, {"diversity": 0.5}, {"neighbours": 1}, {"score_threshold": 0.6}])
def test_the_hits_are_those_of_a_search_that_reads_all_points(world: World, options: dict[str, Any]) -> None:
    chosen = Random(3)
    texts = [
        " ".join(f"{chosen.choice('abcdefgh')}{int(chosen.paretovariate(0.7))}" for _ in range(8)) for _ in range(40)
    ]
    points = [make_point(chosen.choice(texts), f"doc-{at // 3}", index=at % 3) for at in range(96)]
    world.store.upsert(points)
    world.active = {"doc-3": 2, "doc-8": None}
    for queries in [*([text] for text in texts[:4]), texts[:3]]:
        hits = world.found(*queries, top_k=4, **options)
        assert hits
        with patch("ingest.retrieval.candidates.RESERVE", len(points)):
            assert hits == world.found(*queries, top_k=4, **options)


def test_what_is_far_from_the_query_is_left_out(world: World) -> None:
    world.store.upsert([make_point("whales sing", "a"), make_point("router reset", "b")])
    assert world.search("router") == ["router reset"]
    assert world.search("zebras") == []
    assert world.search("router", threshold=-1) == ["router reset", "whales sing"]


def test_a_rare_term_is_found_whatever_the_cosine(world: World) -> None:
    filler = " ".join(f"word{n}" for n in range(40))
    world.store.upsert([make_point(f"{filler} ERR-4711", "code"), make_point("nothing of the kind", "other")])
    (hit,) = world.hits("ERR-4711")
    assert hit.document_id == "code"
    assert hit.dense_score is not None and hit.dense_score < 0.25
    assert world.search("what does ERR-4711 mean", threshold=0.99) == [hit.text]


def test_a_common_term_is_no_reason_to_keep_a_chunk(world: World) -> None:
    filler = " ".join(f"word{n}" for n in range(40))
    world.store.upsert([make_point(f"{filler} capital {n}", f"doc-{n}") for n in range(10)])
    assert world.search("capital of Atlantis") == []


def test_a_part_number_is_found_however_many_other_words_are_in_the_question(world: World) -> None:
    filler = " ".join(f"word{n}" for n in range(40))
    world.store.upsert([make_point(f"{filler} zz278x1", "code"), make_point("nothing of the kind", "other")])
    question = "please explain thoroughly everything concerning zz278x1"
    assert [hit.document_id for hit in world.hits(question, threshold=0.99)] == ["code"]


def test_a_threshold_holds_for_words_that_every_text_has(world: World) -> None:
    world.store.upsert([make_point(f"the engine of car number{n}", f"doc-{n}") for n in range(12)])
    assert world.search("engine", threshold=0.99) == []
    assert len(world.search("engine", 20, threshold=-1)) == 12


def test_the_only_text_with_a_word_comes_before_one_that_is_close_by_chance(world: World) -> None:
    filler = " ".join(f"word{n}" for n in range(40))
    world.store.upsert([make_point(f"{filler} zebrafinch", "holds it"), make_point("nothing of the kind", "other")])
    # The cosine of a word that the model does not know is a matter of chance.
    close = 0.6 * world.embedder.vector("zebrafinch") + 0.8 * world.embedder.vector("unrelated")
    by_chance = replace(make_point("an unrelated text", "close"), vector=close)
    world.store.upsert([by_chance])
    assert [hit.document_id for hit in world.hits("zebrafinch", 2)] == ["holds it", "close"]


def test_half_of_a_query_is_no_strong_match_in_a_small_store_either(world: World) -> None:
    filler = " ".join(f"word{n}" for n in range(120))
    world.store.upsert([make_point(f"{filler} capital")])
    assert world.search("capital of Atlantis") == []
    assert len(world.search("capital word7 of Atlantis")) == 1


def test_the_same_text_is_one_hit_that_names_the_other_documents(world: World) -> None:
    world.store.upsert([make_point("router reset", index=n, content_hash="same") for n in range(3)])
    world.store.upsert([make_point("router reset", "copy")])
    (hit,) = world.hits("router", 10)
    assert {hit.document_id, *(place.document_id for place in hit.also_in)} == {"copy", "doc"}


def test_collections_limit_the_search(world: World) -> None:
    world.store.upsert([make_point("router a", "a", collection="x"), make_point("router b", "b", collection="y")])
    assert world.search("router", 3, "y") == ["router b"]
    assert len(world.search("router", 3, "x", "y")) == 2


def test_nothing_asked_and_nothing_there_give_nothing(world: World) -> None:
    assert world.search("router") == []
    assert world.search("  ") == []
    assert world.search("the of and") == []


def test_filters_and_stale_points_leave_only_what_is_asked_for(world: World) -> None:
    world.store.upsert([make_point(f"router {n}", f"doc-{n}", attributes={"floor": n}) for n in range(60)])
    hits = world.found("router", top_k=5, filters=Filter("lt", "floor", 2), score_threshold=-1)
    assert sorted(hit.document_id for hit in hits) == ["doc-0", "doc-1"]


def test_several_queries_are_answered_by_one_ranking(world: World) -> None:
    world.store.upsert([make_point("router reset", "a"), make_point("whales sing", "b"), make_point("tea", "c")])
    hits = world.found("router reset", "  ", "whales sing", "router reset")
    assert {hit.document_id for hit in hits} == {"a", "b"}
    assert world.embedder.batches == [["router reset", "whales sing"]]
    assert all(0 < hit.score <= 1 for hit in hits)
    both = world.found("router reset", "router")
    assert [hit.document_id for hit in both] == ["a"]
    assert both[0].dense_score == pytest.approx(world.found("router reset")[0].dense_score)


def test_a_hit_that_says_the_same_again_goes_behind_others(world: World) -> None:
    texts = ["reset the router now", "reset the router now please", "reset takes an hour", "router lamp blinks"]
    world.store.upsert([make_point(text, f"doc-{n}") for n, text in enumerate(texts)])
    plain = [hit.text for hit in world.found("reset the router", top_k=2, score_threshold=-1)]
    varied = [hit.text for hit in world.found("reset the router", top_k=2, score_threshold=-1, diversity=0.7)]
    assert sorted(plain) == sorted(texts[:2])
    assert varied[0] == plain[0] and varied[1] in texts[2:]


def page_of_sentences(count: int) -> tuple[str, list[tuple[int, int]]]:
    """Return a text and the spans of its chunks, each of which repeats the last word of the one before."""
    words = [f"{'router' if n % 8 == 0 else 'word'}{n}." for n in range(count)]
    text, spans, start = " ".join(words), [], 0
    for at in range(4, count + 1, 4):
        end = len(" ".join(words[:at]))
        spans.append((start, end))
        start = end - len(words[at - 1])
    return text, spans


def put_page(world: World, count: int = 40) -> str:
    text, spans = page_of_sentences(count)
    world.store.upsert(
        [make_point(text[start:end], index=n, start=start, end=end) for n, (start, end) in enumerate(spans)]
    )
    return text


def test_a_hit_is_widened_by_the_chunks_around_it(world: World) -> None:
    text = put_page(world)
    (hit,) = world.found("router16", top_k=1, neighbours=1)
    (alone,) = world.found("router16", top_k=1)
    assert hit.start is not None and hit.end is not None and alone.start is not None and alone.end is not None
    assert hit.text == text[hit.start : hit.end], "the overlap is there once"
    assert hit.start < alone.start and alone.end < hit.end
    assert alone.text in hit.text and hit.chunk_index == alone.chunk_index
    (first,) = world.found("router0", top_k=1, neighbours=5)
    assert first.start == 0 and first.text == text[: first.end]


def test_no_chunk_is_in_two_widened_hits(world: World) -> None:
    text = put_page(world)
    hits = world.found("router16 router20 router24", top_k=9, neighbours=2, score_threshold=-1)
    spans = sorted((hit.start or 0, hit.end or 0) for hit in hits)
    assert sum(hit.text.count("router24.") for hit in hits) <= 2, "once, and once as an overlap"
    assert all(text[start:end] in [hit.text for hit in hits] for start, end in spans)
    assert len(hits) < 9 and len(text.split()) <= sum(len(hit.text.split()) for hit in hits) < len(text.split()) + 10


def test_neighbours_are_of_the_same_generation(world: World) -> None:
    world.store.upsert([make_point("router reset", index=1), make_point("old words", generation=7, index=2)])
    assert [hit.text for hit in world.found("router reset", neighbours=2)] == ["router reset"]


class ByLength:
    """A reranker that likes long texts."""

    def scores(self, query: str, texts: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in texts]


def test_a_reranker_orders_the_best_anew(world: World) -> None:
    world.store.upsert([make_point(f"router {'x ' * n}reset", f"doc-{n}") for n in range(5)])
    with pytest.raises(InvalidRequest, match="RERANK_MODEL"):
        world.found("router reset", rerank=True)
    world.retriever = Retriever(world.store, world.service, world._active_generations, 0.25, ByLength())
    hits = world.found("router reset", top_k=2)
    assert [hit.document_id for hit in hits] == ["doc-4", "doc-3"]
    assert [hit.rerank_score for hit in hits] == [float(len(hit.text)) for hit in hits]
    plain = world.found("router reset", top_k=2, rerank=False)
    assert plain[0].document_id == "doc-0" and plain[0].rerank_score is None


def test_long_queries_are_searched_for_one_at_a_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    put_page(world)
    begun = threading.Semaphore(0)
    monkeypatch.setattr(world.retriever.rerank, "check", lambda _: begun.release())
    world.embedder.proceed.clear()
    world.embedder.entered.clear()
    with ThreadPoolExecutor(4) as pool:
        long = [pool.submit(world.search, f"paragraph{number} " * 300) for number in range(3)]
        for _ in long:
            assert begun.acquire(timeout=20)
        assert world.embedder.entered.wait(20)
        short = pool.submit(world.search, "router")
        assert begun.acquire(timeout=20)
        wait_until(lambda: world.service._interactive._waiting.short == 1)
        world.embedder.proceed.set()
        for search in (*long, short):
            search.result(20)
    sizes = [len(batch) for batch in world.embedder.batches]
    assert sizes == [1, 1, 1, 1], "no two long queries were embedded together"
    assert world.embedder.batches[1] == ["router"]
