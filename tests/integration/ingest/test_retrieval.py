"""Retrieval over the embedded store: what is relevant, what is stale, and what is there twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.messages import Hit, SearchOptions
from ingest.embedder import EmbeddingService
from ingest.retrieval import Retriever
from ingest.vector_store.edge import EdgeVectorStore
from tests.fakes.fake_embedder import FakeEmbedder
from tests.integration.ingest.conftest import MODEL, make_point


class World:
    """A store, and which generation of each document is searchable: 1 unless said otherwise."""

    def __init__(self, store: EdgeVectorStore, embedder: FakeEmbedder, service: EmbeddingService) -> None:
        self.store = store
        self.embedder = embedder
        self.active: dict[str, int | None] = {}
        self.asked: list[list[str]] = []
        self.retriever = Retriever(store, service, self._active_generations, default_threshold=0.25)

    def search(self, query: str, top_k: int = 3, *collections: str, threshold: float | None = None) -> list[str]:
        return [hit.text for hit in self.hits(query, top_k, *collections, threshold=threshold)]

    def hits(self, query: str, top_k: int = 3, *collections: str, threshold: float | None = None) -> list[Hit]:
        options = SearchOptions(top_k=top_k, collections=list(collections), score_threshold=threshold)
        return self.retriever.search(query, options)

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
        "reset the router", path="a/b.txt", page=2, section="Help", start=5, end=21, attributes=attributes
    )
    world.store.upsert([point])
    (hit,) = world.hits("router reset")
    assert hit.dense_score is not None and hit.sparse_score is not None
    scores = {"score": hit.score, "dense_score": hit.dense_score, "sparse_score": hit.sparse_score}
    assert hit == Hit(
        "doc", 0, "reset the router", filename="a.txt", collection="default", path="a/b.txt", page=2, section="Help",
        start=5, end=21, attributes=attributes, **scores,
    )  # fmt: skip
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
    assert len(world.search("router", 5)) == 5
    assert len(world.asked) == 1


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


def test_half_of_a_query_is_no_strong_match_in_a_small_store_either(world: World) -> None:
    filler = " ".join(f"word{n}" for n in range(40))
    world.store.upsert([make_point(f"{filler} capital")])
    assert world.search("capital of Atlantis") == []
    assert len(world.search("capital word7 of Atlantis")) == 1


def test_the_same_text_of_one_document_is_one_hit(world: World) -> None:
    world.store.upsert([make_point("router reset", index=n, content_hash="same") for n in range(3)])
    world.store.upsert([make_point("router reset", "copy")])
    assert sorted(hit.document_id for hit in world.hits("router", 10)) == ["copy", "doc"]


def test_collections_limit_the_search(world: World) -> None:
    world.store.upsert([make_point("router a", "a", collection="x"), make_point("router b", "b", collection="y")])
    assert world.search("router", 3, "y") == ["router b"]
    assert len(world.search("router", 3, "x", "y")) == 2


def test_nothing_asked_and_nothing_there_give_nothing(world: World) -> None:
    assert world.search("router") == []
    assert world.search("  ") == []
    assert world.search("the of and") == []
