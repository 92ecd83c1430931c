"""The embedded store on a disk without a byte: the process may be killed, but what was written is not lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ingest.vector_store.base import DocumentMeta, Point, point_id
from ingest.vector_store.edge import EdgeVectorStore
from tests.support import ROOT, SmallDisk

DIMENSION = 384
#: Writes points until the disk is full. The engine maps its files into memory, so it is killed; it gets no error.
WRITER = f"""
import sys
from pathlib import Path
from ingest.vector_store.edge import EdgeVectorStore
from tests.integration.ingest.test_store_on_full_disk import points
from tests.support import SmallDisk
disk = SmallDisk(Path(sys.argv[1]), 0)
store = EdgeVectorStore(disk.path / "vectors", "model", {DIMENSION})
store.upsert(points("before", 50))
disk.fill()
print("full", flush=True)
for number in range(200):
    store.upsert(points("during-" + str(number), 200))
"""


def points(document_id: str, count: int) -> list[Point]:
    meta = DocumentMeta(document_id, 1, "col", "f.txt")
    vectors = np.random.default_rng(0).random((count, DIMENSION), np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    payloads = [
        {**meta.payload, "generation": 1, "chunk_index": number, "content_hash": f"{document_id} {number}"}
        for number in range(count)
    ]
    texts = [f"word{number} " * 50 for number in range(count)]
    ids = [point_id(document_id, 1, number) for number in range(count)]
    return [Point(*parts) for parts in zip(ids, unit, texts, payloads, strict=True)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    # The engine maps a file of 32 MiB for the vectors, and one for their compressed copies.
    disk = SmallDisk(tmp_path / "disk", 128 * 2**20)
    if reason := disk.mount():
        pytest.skip(f"a file system cannot be mounted here: {reason}")
    yield disk
    disk.unmount()


def test_a_store_whose_process_died_on_a_full_disk_has_all_that_was_written_before(disk: SmallDisk) -> None:
    writer = subprocess.run(
        [sys.executable, "-c", WRITER, str(disk.path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert writer.returncode != 0 and writer.stdout == "full\n"
    disk.free()
    store = EdgeVectorStore(disk.path / "vectors", "model", DIMENSION)
    try:
        assert store.count("before", 1) == 50
        store.upsert(points("after", 50))
        assert store.count("after", 1) == 50
    finally:
        store.close()
