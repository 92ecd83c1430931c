"""Contract tests of all vector stores, and tests of the store on a server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from qdrant_client import QdrantClient

from core.errors import ConfigurationError, Unavailable
from core.settings import load_settings
from ingest.vector_store import VectorStore, open_vector_store, point_id
from ingest.vector_store.base import DocumentMeta
from ingest.vector_store.fusion import Fusion
from ingest.vector_store.server import ServerVectorStore
from ingest.vector_store.sparse import query_terms
from ingest.vector_store.terms import CONTENT_BUCKET, TERMS
from tests.fakes.fake_embedder import FakeEmbedder
from tests.integration.ingest.conftest import MODEL, OpenStore, make_point, where

TEXTS = ["the router needs a reset", "bananas are yellow", "error ERR-4711 on the router", "whales sing at night"]


def fill(store: VectorStore) -> None:
    store.upsert([make_point(text, document_id=f"doc-{n}") for n, text in enumerate(TEXTS)])


def found(store: VectorStore, query: str, *collections: str, limit: int = 10) -> list[str]:
    hits = store.search(FakeEmbedder().vector(query), query, limit, collections)
    return [hit.payload["text"] for hit in hits]


def test_a_point_id_depends_on_document_generation_and_index() -> None:
    ids = {point_id(document, generation, index) for document in "ab" for generation in (1, 2) for index in (1, 12)}
    assert len(ids) == 8
    assert point_id("a", 1, 1) == point_id("a", 1, 1)


def test_a_search_fuses_both_rankings_and_keeps_both_scores(store: VectorStore) -> None:
    fill(store)
    hits = store.search(FakeEmbedder().vector("router reset"), "router reset", 10)
    assert [hit.payload["text"] for hit in hits][:2] == [TEXTS[0], TEXTS[2]]
    ceiling = store.term_weights(query_terms("router reset").indices).ceiling
    assert hits[0].sparse_score is not None and hits[0].dense_score is not None
    assert hits[0].score == pytest.approx(hits[0].dense_score / 2 + hits[0].sparse_score / ceiling / 2)
    assert hits[0].dense_score is not None and hits[0].dense_score > hits[1].dense_score
    assert hits[0].sparse_score is not None and hits[0].sparse_score > hits[1].sparse_score
    assert hits[-1].sparse_score is None


def test_a_hit_of_bm25_alone_has_its_cosine_too(store: VectorStore) -> None:
    fill(store)
    vector = FakeEmbedder().vector("whales sing at night")
    by_text = {hit.payload["text"]: hit for hit in store.search(vector, "bananas", 1)}
    assert by_text.keys() <= {TEXTS[1], TEXTS[3]}
    hits = store.search(vector, "bananas", 2)
    bananas = next(hit for hit in hits if hit.payload["text"] == TEXTS[1])
    assert bananas.dense_score == pytest.approx(float(vector @ FakeEmbedder().vector(TEXTS[1])), abs=1e-5)


def test_either_ranking_works_alone(store: VectorStore) -> None:
    fill(store)
    assert [hit.payload["text"] for hit in store.search(None, "ERR-4711", 5)] == [TEXTS[2]]
    assert store.search(None, "the of and", 5) == []
    assert found(store, "", limit=2) and len(found(store, "", limit=2)) == 2


def test_an_empty_store_finds_nothing(store: VectorStore) -> None:
    assert found(store, "router") == []
    assert store.vectors_by_hash(["x"]) == {}
    assert store.count("doc", 1) == 0
    assert store.term_weights(query_terms("router").indices).weights


def test_a_search_stays_in_the_collections_named(store: VectorStore) -> None:
    store.upsert([make_point("router one", "a", collection="x"), make_point("router two", "b", collection="y")])
    store.upsert([make_point("router three", "c", collection="z")])
    assert set(found(store, "router", "x", "y")) == {"router one", "router two"}
    assert found(store, "router", "nowhere") == []
    assert len(found(store, "router")) == 3


def test_points_come_with_their_ids_by_which_payloads_and_vectors_are_read(store: VectorStore) -> None:
    fill(store)
    vector = FakeEmbedder().vector("router whales")
    hits = store.search(vector, "router", 10)
    assert [hit.id for hit in hits] == [point_id(hit.payload["document_id"], 1, 0) for hit in hits]
    light = store.search(vector, "router", 10, with_payloads=False)
    assert [(hit.id, hit.payload, hit.sparse_score) for hit in light] == [
        (hit.id, {}, hit.sparse_score) for hit in hits
    ]
    assert store.payloads([hit.id for hit in hits]) == {hit.id: hit.payload for hit in hits}
    vectors = store.vectors([*(hit.id for hit in hits), point_id("nobody", 1, 0)])
    for hit in hits:
        np.testing.assert_allclose(vectors.pop(hit.id), FakeEmbedder().vector(hit.payload["text"]), atol=1e-6)
    assert vectors == store.vectors([]) == {}
    ids = [point_id("doc-1", 1, 0), point_id("nobody", 1, 0)]
    assert {key: payload["text"] for key, payload in store.payloads(ids).items()} == {ids[0]: TEXTS[1]}
    assert store.payloads([]) == {}


def test_a_collection_may_weigh_the_two_scores_in_its_own_way(store: VectorStore) -> None:
    store.upsert([make_point("the router needs a reset", "a", collection="x")])
    store.upsert([make_point("the router needs a reset", "b", collection="y")])
    fusion = Fusion(0.5, {"y": 1.0})
    hits = store.search(FakeEmbedder().vector("router"), "router", 5, fusion=fusion, with_payloads=False)
    scores = {hit.id: (hit.score, hit.dense_score) for hit in hits}
    score, cosine = scores[point_id("b", 1, 0)]
    assert score == cosine != scores[point_id("a", 1, 0)][0]


def test_upserting_twice_changes_nothing(store: VectorStore) -> None:
    fill(store)
    fill(store)
    assert len(found(store, "router")) == len(TEXTS)
    assert store.count("doc-0", 1) == 1


def test_a_large_upsert_is_stored_whole(store: VectorStore) -> None:
    store.upsert([make_point(f"text number {n}", index=n) for n in range(300)])
    assert store.count("doc", 1) == 300
    assert store.count("doc", 2) == 0
    assert len(found(store, "text", limit=300)) == 300


def test_a_generation_that_is_complete_replaces_earlier_ones_and_no_later_one(store: VectorStore) -> None:
    store.upsert([make_point(f"router {generation}", generation=generation) for generation in (1, 2, 3)])
    store.upsert([make_point("router of another", "other", generation=1)])
    store.delete_generations_before("doc", 2)
    assert sorted(found(store, "router")) == ["router 2", "router 3", "router of another"]
    store.delete_documents(["doc"])
    store.delete_documents(["unknown"])
    assert found(store, "router") == ["router of another"]


def test_many_documents_are_deleted_and_renamed_at_once(store: VectorStore) -> None:
    store.upsert([make_point(f"router {name}", name) for name in ("a", "b", "c", "d")])
    store.delete_documents(["a", "c", "unknown"])
    store.update_documents([DocumentMeta(name, 1, "default", "a", f"new/{name}") for name in ("b", "d", "unknown")])
    payloads = [hit.payload for hit in store.search(None, "router", 5)]
    assert sorted((item["document_id"], item["path"]) for item in payloads) == [("b", "new/b"), ("d", "new/d")]
    assert len(store.search(None, "router", 5, (), where("in", "path", ["new/b", "new/d"]))) == 2
    store.update_documents([])


def test_texts_in_one_bucket_are_distinguished(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.vector_store.terms.CONTENT_BUCKETS", 1)
    store.upsert([make_point(text, index=at, content_hash=text) for at, text in enumerate(TEXTS)])
    assert store.vectors_by_hash([TEXTS[1], "absent"]).keys() == {TEXTS[1]}


def test_documents_whose_terms_are_the_same_are_distinguished(
    store: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.vector_store.filter_conditions.term", lambda key, value: 7)
    monkeypatch.setattr("ingest.vector_store.terms.term", lambda key, value: 7)
    store.upsert([make_point(f"router {name}", name, generation=at) for at in (1, 2) for name in "abc"])
    store.delete_documents(["a"])
    store.delete_generations_before("b", 2)
    store.delete_generation("c", 2)
    assert [store.count(name, at) for name in "abc" for at in (1, 2)] == [0, 0, 0, 1, 1, 0]


def test_vectors_are_found_by_hash_however_many_points_share_one(store: VectorStore) -> None:
    store.upsert([make_point("the same", index=n, content_hash="same") for n in range(30)])
    store.upsert([make_point("unique words", "other", content_hash="unique")])
    vectors = store.vectors_by_hash(["same", "unique", "absent"])
    assert vectors.keys() == {"same", "unique"}
    np.testing.assert_allclose(vectors["unique"], FakeEmbedder().vector("unique words"), atol=1e-6)
    assert vectors["same"].dtype == np.float32


def test_a_point_is_found_by_its_header_and_by_the_names_of_its_file(store: VectorStore) -> None:
    store.upsert(
        [make_point("nothing of it", header="Osprey manual", filename="offer_889.pdf", path="Blue/offer_889.pdf")]
    )
    for query in ("osprey", "offer 889", "blue"):
        assert len(store.search(None, query, 5)) == 1
    assert not store.search(None, "pdf", 5)


def test_a_renamed_document_is_found_by_its_new_names_alone(store: VectorStore) -> None:
    count = 150  # more than one page of points
    store.upsert([make_point(f"router {at}", index=at, path="old/a.txt", header="Reset") for at in range(count)])
    vector = store.vectors_by_hash([make_point("router 7").payload["content_hash"]])
    store.update_documents([DocumentMeta("doc", 1, "default", "Handbook.txt", "new/Handbook.txt")])
    assert not store.search(None, "old", 5)
    for query in ("new", "handbook", "reset"):
        assert len(store.search(None, query, count * 2)) == count
    again = store.vectors_by_hash(list(vector))
    np.testing.assert_array_equal(*vector.values(), *again.values())


MOVED = [(0, "router", 3), (1, "reset", None)]


def test_a_moved_document_gets_its_new_payload(store: VectorStore) -> None:
    store.upsert([make_point(text, index=at, page=page, type=["old"]) for at, text, page in MOVED])
    store.update_documents([DocumentMeta("doc", 1, "default", "b.txt", "sub/b.txt", media_type="text/plain")])
    payloads = [hit.payload for hit in store.search(None, "router reset", 5)]
    assert [(item["filename"], item["path"]) for item in payloads] == [("b.txt", "sub/b.txt")] * 2
    assert {item.get("page") for item in payloads} == {3, None}
    for key, old, new in (("filename", "a.txt", "b.txt"), ("type", "old", "text/plain")):
        assert not store.search(None, "router", 5, (), where("eq", key, old))
        assert len(store.search(None, "router reset", 5, ["default"], where("eq", key, new))) == 2
    assert store.vectors_by_hash(["hash of reset"]).keys() == {"hash of reset"}


def test_a_payload_comes_back_as_it_was(store: VectorStore) -> None:
    attributes = {"author": "Ana", "year": 1999.5, "draft": True}
    store.upsert([make_point("router", attributes=attributes, section="A > B", start=3, end=9)])
    payload = store.search(None, "router", 1)[0].payload
    assert payload["attributes"] == attributes
    assert (payload["section"], payload["start"], payload["end"], payload["chunk_index"]) == ("A > B", 3, 9, 0)
    assert "path" not in payload


def test_rare_terms_weigh_more_and_unknown_ones_as_much(store: VectorStore) -> None:
    fill(store)
    common, rare, unknown = (query_terms(word).indices[0] for word in ("router", "bananas", "unheard"))
    weights = store.term_weights([common, rare, unknown]).weights
    assert 0 < weights[common] < weights[rare]
    assert weights[unknown] == pytest.approx(weights[rare], rel=0.2)


def test_points_and_identity_outlive_the_process(open_store: OpenStore) -> None:
    store = open_store()
    fill(store)
    identity = store.identity
    store.close()
    store.close()
    again = open_store()
    assert again.identity == identity
    assert found(again, "router reset")[0] == TEXTS[0]
    again.close()


def test_a_server_of_an_older_form_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The local mode of the client has no indexes, so these are faked.
    monkeypatch.setattr("ingest.vector_store.server.MIGRATION_POINTS", 3)
    client = QdrantClient(path=str(tmp_path))
    store = ServerVectorStore(client, MODEL, FakeEmbedder.dimension, indexed=False)
    fill(store)
    client.delete_payload(store._name, [TERMS, CONTENT_BUCKET], points=[point_id(f"doc-{n}", 1, 0) for n in range(4)])
    assert found(store, "router", "default") == []
    deleted: list[str] = []
    schema = {"document_id": None, "attribute_terms": None, TERMS: None}
    monkeypatch.setattr(client, "get_collection", lambda _: SimpleNamespace(payload_schema=schema))
    monkeypatch.setattr(client, "delete_payload_index", lambda _, field_name, wait: deleted.append(field_name))
    again = ServerVectorStore(client, MODEL, FakeEmbedder.dimension, indexed=False)
    assert len(found(again, "router", "default")) == len(TEXTS)
    assert again.vectors_by_hash([f"hash of {TEXTS[2]}"])
    assert sorted(deleted) == ["attribute_terms", "document_id"]
    assert again.identity == store.identity
    again.close()


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (403, ConfigurationError, "QDRANT_API_KEY"),
        (401, ConfigurationError, "QDRANT_API_KEY"),
        (503, Unavailable, "URL"),
    ],
)
def test_a_server_that_refuses_says_why(
    status: int, kind: type[Exception], reason: str, tmp_path: Path, refusing_server: Callable[[int], str]
) -> None:
    settings = load_settings(data_dir=tmp_path, qdrant_url=refusing_server(status), _env_file=None)
    with pytest.raises(kind, match=reason):
        open_vector_store(settings, FakeEmbedder.dimension, MODEL)


def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = load_settings(data_dir=tmp_path, qdrant_url="http://user:swordfish@127.0.0.1:9", _env_file=None)
    with caplog.at_level(logging.INFO), pytest.raises(Unavailable, match="QDRANT_URL") as caught:
        open_vector_store(settings, FakeEmbedder.dimension, MODEL)
    assert "refused" not in str(caught.value), "clients do not learn what the library says"
    assert "refused" in caplog.text and "swordfish" not in caplog.text
