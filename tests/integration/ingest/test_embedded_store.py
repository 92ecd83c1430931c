"""Tests of the embedded store alone: its owner, crashes, damage, and the migration of old stores."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge

from core.errors import ConfigurationError
from core.settings import load_settings
from ingest.vector_store import open_vector_store
from ingest.vector_store.base import DENSE, SPARSE
from ingest.vector_store.edge import EdgeVectorStore, _edge_point
from ingest.vector_store.shard import PLAIN_SHARD, SHARD
from ingest.vector_store.terms import CONTENT_BUCKET, TERMS, number_path
from tests.fakes.fake_embedder import FakeEmbedder
from tests.integration.ingest.conftest import MODEL, make_point
from tests.integration.ingest.test_vector_store import TEXTS, fill, found, where
from tests.support import ROOT


def open_edge(folder: Path, model: str = MODEL) -> EdgeVectorStore:
    return EdgeVectorStore(folder, model, FakeEmbedder.dimension)


def test_numbers_are_indexed_once_and_after_a_restart_too(tmp_path: Path) -> None:
    attributes = {"year": 1999, "a.b c": 3, "shelf": "a", "sold": True}
    numbers = {number_path("year"), number_path("a.b c")}
    for is_indexed in (False, True):
        store = open_edge(tmp_path)
        assert (numbers <= store._indexed) == is_indexed
        store.upsert([make_point("router", attributes=attributes)])
        assert numbers <= store._indexed
        assert len(store.search(None, "router", 5, (), where("gt", "year", 1998))) == 1
        store.close()


@pytest.mark.parametrize("document_id", ["near", "far"])
def test_a_filter_that_most_points_match_finds_the_best_of_them(tmp_path: Path, document_id: str) -> None:
    store = open_edge(tmp_path)
    store.upsert([make_point(f"router {n}", "near", index=n) for n in range(60)])
    store.upsert([make_point(f"printer {n}", "far", index=n) for n in range(60)])
    # The 40 best points of all are those of "near", so that those of "far" have to be looked for among themselves.
    hits = store.search(FakeEmbedder().vector("router"), "", 5, (), where("eq", "document_id", document_id))
    assert [hit.payload["document_id"] for hit in hits] == [document_id] * 5
    store.close()


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


def test_a_second_owner_learns_who_the_first_is(tmp_path: Path) -> None:
    first = open_edge(tmp_path)
    with pytest.raises(ConfigurationError, match=f"running process {os.getpid()}"):
        open_edge(tmp_path)
    first.close()
    open_edge(tmp_path).close()


WRITER = """
import sys
from pathlib import Path
from tests.integration.ingest.conftest import make_point
from tests.integration.ingest.test_embedded_store import open_edge
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
    assert len(found(store, "router", limit=50)) >= 50
    store.close()


INDEXES = {TERMS: edge.IntegerIndexParams(lookup=True, range=False), CONTENT_BUCKET: edge.PayloadSchemaType.Integer}
FORMER_INDEXES = {
    "document_id": edge.PayloadSchemaType.Keyword,
    "collection": edge.PayloadSchemaType.Keyword,
    "content_hash": edge.PayloadSchemaType.Keyword,
    "attribute_terms": edge.PayloadSchemaType.Keyword,
    "generation": edge.PayloadSchemaType.Integer,
}
#: As the engine names it.
YEAR = "attributes.year"


def make_plain_store(tmp_path: Path, indexes: Mapping[str, Any], without: Sequence[str] = ()) -> None:
    """Write a store as older releases did: without compressed vectors, and without these keys in the payloads."""
    store = open_edge(tmp_path)
    points = [make_point(text, f"doc-{n}", attributes={"shelf": "a", "year": n}) for n, text in enumerate(TEXTS)]
    store.close()
    model_folder = next(tmp_path.glob("llm-api-*"))
    shutil.rmtree(model_folder / SHARD)
    (model_folder / PLAIN_SHARD).mkdir()
    config = edge.EdgeConfig(
        vectors={DENSE: edge.EdgeVectorParams(size=FakeEmbedder.dimension, distance=edge.Distance.Cosine)},
        sparse_vectors={SPARSE: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
    )
    shard = edge.EdgeShard.create(str(model_folder / PLAIN_SHARD), config)
    for key, kind in {**indexes, YEAR: edge.PayloadSchemaType.Float}.items():
        shard.update(edge.UpdateOperation.create_field_index(key, kind))
    shard.update(edge.UpdateOperation.upsert_points([_edge_point(point) for point in points]))
    for key in without:
        shard.update(edge.UpdateOperation.delete_payload([point.id for point in points], [key]))
    shard.flush()
    shard.close()


def check_contents(store: EdgeVectorStore) -> None:
    """Check that the store has all points of `make_plain_store`, and finds them by all that they are found by."""
    assert set(store._shard.info().payload_schema) == {TERMS, CONTENT_BUCKET, YEAR}
    assert len(found(store, "router", "default")) == len(TEXTS)
    assert len(store.search(None, "router", 5, (), where("eq", "shelf", "a"))) == 2
    assert len(store.search(None, "router", 5, (), where("gte", "year", 0))) == 2
    vectors = store.vectors_by_hash([f"hash of {TEXTS[2]}"])
    assert np.allclose(vectors[f"hash of {TEXTS[2]}"], FakeEmbedder().vector(TEXTS[2]), atol=1e-6)


@pytest.mark.parametrize(
    ("indexes", "without"), [(INDEXES, ()), (FORMER_INDEXES, (TERMS, CONTENT_BUCKET))], ids=["plain", "indexes"]
)
def test_a_store_of_an_older_form_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, indexes: Mapping[str, Any], without: Sequence[str]
) -> None:
    monkeypatch.setattr("ingest.vector_store.shard.MIGRATION_POINTS", 3)
    make_plain_store(tmp_path, indexes, without)
    model_folder = next(tmp_path.glob("llm-api-*"))
    identity = (model_folder / "identity").read_text()
    for _ in range(2):
        store = open_edge(tmp_path)
        check_contents(store)
        assert store.identity == identity
        assert {path.name for path in model_folder.iterdir()} == {"identity", SHARD}
        store.close()


def test_an_interrupted_compression_starts_again(tmp_path: Path) -> None:
    make_plain_store(tmp_path, INDEXES)
    model_folder = next(tmp_path.glob("llm-api-*"))
    shutil.copytree(model_folder / PLAIN_SHARD, model_folder / f"{SHARD}.new")
    store = open_edge(tmp_path)
    check_contents(store)
    store.close()
    # It was killed before the former shard was removed.
    (model_folder / PLAIN_SHARD).mkdir()
    store = open_edge(tmp_path)
    check_contents(store)
    store.close()
    assert {path.name for path in model_folder.iterdir()} == {"identity", SHARD}


def test_a_store_without_room_for_a_copy_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_plain_store(tmp_path, INDEXES)
    monkeypatch.setattr("ingest.vector_store.shard.free_bytes", lambda folder: 1000)
    store = open_edge(tmp_path)
    check_contents(store)
    store.upsert([make_point("router", "another")])
    store.close()
    assert {path.name for path in next(tmp_path.glob("llm-api-*")).iterdir()} == {"identity", PLAIN_SHARD}


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
    next(tmp_path.glob("llm-api-*/compressed/edge_config.json")).write_text("not JSON")
    for segment in tmp_path.glob("llm-api-*/compressed/segments/*/segment.json"):
        segment.write_text("not JSON")
    with pytest.raises(ConfigurationError, match="Remove that folder"):
        open_edge(tmp_path)
    # The lock was released, so that a start is possible once the folder is removed.
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
