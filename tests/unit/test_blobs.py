"""Blobs: durable once they are committed, removed if they are not."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from core.blobs import BlobStore


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def test_a_committed_blob_can_be_read(store: BlobStore) -> None:
    with store.stage("Report.PDF") as staged:
        assert staged.write(b"one ") == 4
        assert staged.write(b"two") == 7
        blob = staged.commit()
    assert store.path(blob.key).read_bytes() == b"one two"
    assert (blob.size_bytes, blob.content_hash) == (7, hashlib.sha256(b"one two").hexdigest())
    assert blob.key.endswith(".pdf")
    assert list(store.staging.iterdir()) == []


def test_a_blob_that_is_not_committed_leaves_nothing(store: BlobStore) -> None:
    with pytest.raises(RuntimeError), store.stage() as staged:
        staged.write(b"half")
        raise RuntimeError
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_the_same_content_twice_is_two_blobs(store: BlobStore) -> None:
    assert store.put(b"x").key != store.put(b"x").key


def test_a_deleted_blob_is_gone_and_may_be_deleted_again(store: BlobStore) -> None:
    blob = store.put(b"x", "a.tar.gz")
    store.delete(blob.key)
    store.delete(blob.key)
    assert not store.path(blob.key).exists()


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "ab/../x", "", "ab/blob-00/../../x"])
def test_an_invalid_key_is_refused(store: BlobStore, key: str) -> None:
    with pytest.raises(ValueError, match="not the key"):
        store.path(key)


@pytest.mark.parametrize("name", ["a.", "a", ".x/../../b", "a.päth", "a." + "x" * 50, "a.t\0t"])
def test_odd_names_do_not_get_into_keys(store: BlobStore, name: str) -> None:
    assert store.path(store.put(b"x", name).key).is_file()


def test_chunks_of_earlier_generations_are_deleted(store: BlobStore) -> None:
    for generation in (1, 2, 3, 10):
        store.chunks_path("doc-1", generation).write_text("{}")
    half, later = (store.chunks_path("doc-1", 1).with_name(name) for name in (".1.jsonl.ab.tmp", ".3.jsonl.cd.tmp"))
    for path in (half, later):
        path.write_text("{")
    store.delete_chunks("doc-1", before_generation=2)
    assert [store.chunks_path("doc-1", number).exists() for number in (1, 2, 3, 10)] == [False, True, True, True]
    assert [half.exists(), later.exists()] == [False, True]
    store.delete_chunks("doc-1")
    store.delete_chunks("doc-1")
    store.delete_chunks("doc-2", before_generation=1)
    with pytest.raises(ValueError, match="not the id"):
        store.chunks_path("../x", 1)


def test_abandoned_files_are_swept(store: BlobStore) -> None:
    old, young = store.staging / "old", store.staging / "young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert store.sweep_staging(60) == 1
    assert young.exists()
    assert not old.exists()
