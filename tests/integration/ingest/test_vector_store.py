"""What holds for every vector store, and what holds for the embedded one alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import ConfigurationError, Unavailable
from core.messages import Filter
from core.settings import load_settings
from ingest.vector_store import VectorStore, open_vector_store, point_id
from ingest.vector_store.edge import EdgeVectorStore
from ingest.vector_store.sparse import query_terms
from tests.fakes.fake_embedder import FakeEmbedder
from tests.integration.ingest.conftest import MODEL, OpenStore, make_point
from tests.support import ROOT

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
    assert hits[0].score == pytest.approx(1.0)  # first in both: 1/2 + 1/2
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
    assert store.term_weights(query_terms("router").indices)


def test_a_search_stays_in_the_collections_named(store: VectorStore) -> None:
    store.upsert([make_point("router one", "a", collection="x"), make_point("router two", "b", collection="y")])
    store.upsert([make_point("router three", "c", collection="z")])
    assert set(found(store, "router", "x", "y")) == {"router one", "router two"}
    assert found(store, "router", "nowhere") == []
    assert len(found(store, "router")) == 3


SHELVES: dict[str, dict[str, Any]] = {
    "a": {
        "attributes": {"shelf": "toys", "year": 2019, "sold": True},
        "filename": "a.pdf",
        "type": ["application/pdf"],
    },
    "b": {"attributes": {"shelf": "tools", "year": 2021.5, "page.count": 7}, "filename": "b.md", "path": "x/b.md"},
    "c": {"attributes": {"shelf": "3", "year": "2021", "sold": False, "path": "p"}, "filename": "c.md"},
    "d": {"filename": "d.md"},
}


def where(type: Any, key: str = "", value: Any = "", *filters: Filter) -> Filter:
    return Filter(type, key, value, list(filters))


@pytest.mark.parametrize(
    ("filters", "documents"),
    [
        (where("eq", "shelf", "toys"), "a"),
        (where("ne", "shelf", "toys"), "bcd"),
        (where("eq", "shelf", 3), ""),
        (where("eq", "year", 2019.0), "a"),
        (where("eq", "sold", True), "a"),
        (where("eq", "sold", 1), ""),
        (where("gt", "year", 2019), "b"),
        (where("gte", "year", 2019), "ab"),
        (where("lt", "year", 2021.5), "a"),
        (where("lte", "attributes.year", 2021.5), "ab"),
        (where("lt", "page.count", 8), "b"),
        (where("in", "shelf", ["toys", "tools", "x"]), "ab"),
        (where("nin", "shelf", ["toys", "tools"]), "cd"),
        (where("eq", "filename", "b.md"), "b"),
        (where("eq", "path", "x/b.md"), "b"),
        (where("eq", "attributes.path", "p"), "c"),
        (where("in", "document_id", ["a", "d"]), "ad"),
        (where("eq", "type", "application/pdf"), "a"),
        (where("and", "", "", where("gte", "year", 2000), where("ne", "shelf", "toys")), "b"),
        (where("or", "", "", where("eq", "shelf", "3"), where("eq", "sold", True)), "ac"),
        (where("and", "", "", where("or", "", "", where("eq", "shelf", "3")), where("eq", "sold", False)), "c"),
    ],
    ids=lambda value: f"{value.type}-{value.key}" if isinstance(value, Filter) else value,
)
def test_a_filter_leaves_the_documents_that_it_holds_for(shelves: VectorStore, filters: Filter, documents: str) -> None:
    vector = FakeEmbedder().vector("router")
    for dense, text in ((vector, "router"), (vector, ""), (None, "router")):
        hits = shelves.search(dense, text, 10, ["default"], filters)
        assert sorted(hit.payload["document_id"] for hit in hits) == list(documents)


@pytest.fixture
def shelves(store: VectorStore) -> VectorStore:
    store.upsert([make_point("router", name, **payload) for name, payload in SHELVES.items()])
    store.upsert([make_point("router", "elsewhere", collection="other", **SHELVES["a"])])
    return store


def test_filters_read_attributes_that_were_set_later(store: VectorStore) -> None:
    store.upsert([make_point("router", "a"), make_point("router", "b", attributes={"floor": 1})])
    store.update_payloads({"b": {"attributes": {"floor": 2, "room": "x"}}})
    for filters in (where("eq", "floor", 2), where("gt", "floor", 1), where("eq", "room", "x")):
        assert [hit.payload["document_id"] for hit in store.search(None, "router", 5, (), filters)] == ["b"]
    assert not store.search(None, "router", 5, (), where("eq", "floor", 1))


def test_numbers_are_indexed_once_and_after_a_restart_too(tmp_path: Path) -> None:
    for _ in range(2):
        store = open_edge(tmp_path)
        store.upsert([make_point("router", attributes={"year": 1999, "shelf": "a", "sold": True})])
        assert len(store.search(None, "router", 5, (), where("gt", "year", 1998))) == 1
        store.close()


def test_points_come_with_their_ids_and_on_request_with_their_vectors(store: VectorStore) -> None:
    fill(store)
    vector = FakeEmbedder().vector("router whales")
    for hit in store.search(vector, "router", 10, with_vectors=True):
        assert hit.id == point_id(hit.payload["document_id"], 1, 0)
        assert hit.vector is not None
        np.testing.assert_allclose(hit.vector, FakeEmbedder().vector(hit.payload["text"]), atol=1e-6)
    ids = [point_id("doc-1", 1, 0), point_id("nobody", 1, 0)]
    assert {key: payload["text"] for key, payload in store.payloads(ids).items()} == {ids[0]: TEXTS[1]}
    assert store.payloads([]) == {}


def test_upserting_twice_changes_nothing(store: VectorStore) -> None:
    fill(store)
    fill(store)
    assert len(found(store, "router")) == len(TEXTS)
    assert store.count("doc-0", 1) == 1


def test_a_large_upsert_is_stored_whole(store: VectorStore) -> None:
    store.upsert([make_point(f"text number {n}", index=n) for n in range(300)])
    assert store.count("doc", 1) == 300
    assert store.count("doc", 2) == 0
    assert len(found(store, "text", limit=250)) == 250


def test_deleting_keeps_the_generation_named(store: VectorStore) -> None:
    store.upsert([make_point(f"router {generation}", generation=generation) for generation in (1, 2, 3)])
    store.upsert([make_point("router of another", "other", generation=1)])
    store.keep_generation("doc", 2)
    assert sorted(found(store, "router")) == ["router 2", "router of another"]
    store.delete_documents(["doc"])
    store.delete_documents(["unknown"])
    assert found(store, "router") == ["router of another"]


def test_many_documents_are_deleted_and_renamed_at_once(store: VectorStore) -> None:
    store.upsert([make_point(f"router {name}", name) for name in ("a", "b", "c", "d")])
    store.delete_documents(["a", "c", "unknown"])
    store.update_payloads({"b": {"path": "new/b"}, "d": {"path": "new/d"}, "unknown": {"path": "x"}})
    payloads = [hit.payload for hit in store.search(None, "router", 5)]
    assert sorted((item["document_id"], item["path"]) for item in payloads) == [("b", "new/b"), ("d", "new/d")]
    store.update_payloads({})


def test_vectors_are_found_by_hash_however_many_points_share_one(store: VectorStore) -> None:
    store.upsert([make_point("the same", index=n, content_hash="same") for n in range(30)])
    store.upsert([make_point("unique words", "other", content_hash="unique")])
    vectors = store.vectors_by_hash(["same", "unique", "absent"])
    assert vectors.keys() == {"same", "unique"}
    np.testing.assert_allclose(vectors["unique"], FakeEmbedder().vector("unique words"), atol=1e-6)
    assert vectors["same"].dtype == np.float32


def test_a_moved_document_gets_its_new_payload(store: VectorStore) -> None:
    store.upsert([make_point("router", index=0, page=3), make_point("reset", index=1)])
    store.update_payloads({"doc": {"filename": "b.txt", "path": "sub/b.txt"}})
    payloads = [hit.payload for hit in store.search(None, "router reset", 5)]
    assert [(item["filename"], item["path"]) for item in payloads] == [("b.txt", "sub/b.txt")] * 2
    assert {item.get("page") for item in payloads} == {3, None}


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
    weights = store.term_weights([common, rare, unknown])
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


def test_searches_and_writes_run_side_by_side(tmp_path: Path) -> None:
    # The client is thread-safe with a server, but not in its local mode.
    store = open_edge(tmp_path)
    faults: list[Exception] = []

    def work(name: str) -> None:
        try:
            for n in range(15):
                store.upsert([make_point(f"router {name} {n}", name, index=n)])
                found(store, "router", limit=5)
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert [store.count(name, 1) for name in "abcd"] == [15] * 4
    store.close()


def open_edge(folder: Path, model: str = MODEL) -> EdgeVectorStore:
    return EdgeVectorStore(folder, model, FakeEmbedder.dimension)


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    first = open_edge(tmp_path)
    with pytest.raises(ConfigurationError, match=f"running process {os.getpid()}"):
        open_edge(tmp_path)
    first.close()
    open_edge(tmp_path).close()


WRITER = """
import sys
from pathlib import Path
from tests.integration.ingest.conftest import make_point
from tests.integration.ingest.test_vector_store import open_edge
store = open_edge(Path(sys.argv[1]))
for n in range(10_000):
    store.upsert([make_point(f"router {n} {k}", f"doc-{n}", index=k) for k in range(8)])
    print(n, store.identity, flush=True)
"""


def test_a_killed_process_loses_no_point_that_it_confirmed(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        last, identity = line.split()
        if int(last) >= 20:
            break
    writer.send_signal(signal.SIGKILL)
    confirmed = [int(last), *(int(line.split()[0]) for line in writer.stdout)]
    writer.wait(20)
    writer.stdout.close()
    store = open_edge(tmp_path)
    assert store.identity == identity
    assert [store.count(f"doc-{n}", 1) for n in range(max(confirmed) + 1)] == [8] * (max(confirmed) + 1)
    assert len(found(store, "router", limit=50)) == 50
    store.close()


def test_a_wiped_store_has_another_identity(tmp_path: Path) -> None:
    first = open_edge(tmp_path)
    first.close()
    for model_folder in tmp_path.glob("llm-api-*"):
        (model_folder / "identity").unlink()
    second = open_edge(tmp_path)
    assert second.identity != first.identity
    second.close()


def test_each_embedding_model_has_points_of_its_own(tmp_path: Path) -> None:
    first = open_edge(tmp_path)
    fill(first)
    first.close()
    other = open_edge(tmp_path, "org/other model")
    assert found(other, "router") == []
    other.close()


def test_a_damaged_store_says_what_to_do(tmp_path: Path) -> None:
    open_edge(tmp_path).close()
    next(tmp_path.glob("llm-api-*/shard/edge_config.json")).write_text("not JSON")
    for segment in tmp_path.glob("llm-api-*/shard/segments/*/segment.json"):
        segment.write_text("not JSON")
    with pytest.raises(ConfigurationError, match="Remove that folder"):
        open_edge(tmp_path)
    # The lock was let go: whoever removed the folder can start.
    with pytest.raises(ConfigurationError, match="Remove that folder"):
        open_edge(tmp_path)


def test_a_store_in_memory_is_empty_at_every_start(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, qdrant_use_memory=True, qdrant_host="unused", _env_file=None)
    first = open_vector_store(settings, FakeEmbedder.dimension, MODEL)
    fill(first)
    first.close()
    second = open_vector_store(settings, FakeEmbedder.dimension, MODEL)
    assert found(second, "router") == []
    assert second.identity != first.identity
    second.close()
    assert not list((tmp_path / "vectors-ephemeral").glob("llm-api-*"))


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


def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, qdrant_url="http://127.0.0.1:9", _env_file=None)
    with pytest.raises(Unavailable, match="QDRANT_URL"):
        open_vector_store(settings, FakeEmbedder.dimension, MODEL)
