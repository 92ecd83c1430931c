"""Tests of the embedded store alone: its owner, crashes, damage, and the migration of old stores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import qdrant_edge as edge

from core.errors import ConfigurationError
from core.settings import load_settings
from ingest.vector_store import open_vector_store
from ingest.vector_store.edge import EdgeVectorStore
from ingest.vector_store.terms import CONTENT_BUCKET, TERMS
from tests.fakes.fake_embedder import FakeEmbedder
from tests.integration.ingest.conftest import MODEL, make_point
from tests.integration.ingest.test_vector_store import TEXTS, fill, found, where
from tests.support import ROOT


def open_edge(folder: Path, model: str = MODEL) -> EdgeVectorStore:
    return EdgeVectorStore(folder, model, FakeEmbedder.dimension)


def test_numbers_are_indexed_once_and_after_a_restart_too(tmp_path: Path) -> None:
    for _ in range(2):
        store = open_edge(tmp_path)
        store.upsert([make_point("router", attributes={"year": 1999, "shelf": "a", "sold": True})])
        assert len(store.search(None, "router", 5, (), where("gt", "year", 1998))) == 1
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
    assert len(found(store, "router", limit=50)) == 50
    store.close()


FORMER_KINDS = {
    "document_id": "Keyword", "collection": "Keyword", "content_hash": "Keyword", "attribute_terms": "Keyword",
    "generation": "Integer",
}  # fmt: skip


def test_a_store_of_an_older_form_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.vector_store.edge.MIGRATION_POINTS", 3)
    store = open_edge(tmp_path)
    points = [make_point(text, f"doc-{n}", attributes={"shelf": "a"}) for n, text in enumerate(TEXTS)]
    store.upsert(points)
    shard = store._shard
    for key in (TERMS, CONTENT_BUCKET):
        shard.update(edge.UpdateOperation.delete_field_index(key))
        shard.update(edge.UpdateOperation.delete_payload([point.id for point in points], [key]))
    for key, kind in FORMER_KINDS.items():
        schema = getattr(edge.PayloadSchemaType, kind)
        shard.update(edge.UpdateOperation.create_field_index(key, schema))
    assert found(store, "router", "default") == []
    identity = store.identity
    store.close()
    for _ in range(2):
        store = open_edge(tmp_path)
        assert set(store._shard.info().payload_schema) == {TERMS, CONTENT_BUCKET}
        assert len(found(store, "router", "default")) == len(TEXTS)
        assert len(store.search(None, "router", 5, (), where("eq", "shelf", "a"))) == 2
        assert store.vectors_by_hash([f"hash of {TEXTS[2]}"])
        assert store.identity == identity
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
