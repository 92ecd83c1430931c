"""The files of the embedded store: how its shard is created, opened, and brought into the present form."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from core.disk import free_bytes
from core.errors import ConfigurationError
from ingest.vector_store.base import DENSE, MIGRATION_POINTS, OLD_INDEXES, SPARSE, values_to_migrate
from ingest.vector_store.terms import CONTENT_BUCKET, TERMS

log = logging.getLogger(__name__)

#: The folder of a shard whose vectors are compressed in memory, and of one of an older release, whose are not. The
#: engine compresses only what is written to a shard that was created for it.
SHARD, PLAIN_SHARD = "compressed", "shard"
#: Points copied between two flushes.
COPY_FLUSH_POINTS = 16_384


def open_shard(folder: Path, dimension: int) -> tuple[Any, Path]:
    """Load the shard in the folder of a model, and return it with its own folder.

    A new one is created under another name first, so that a half-made one is never loaded.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if not (folder / "identity").exists():
        draft = folder.with_name(f"{folder.name}.new")
        for leftover in (draft, folder):
            shutil.rmtree(leftover, ignore_errors=True)
        (draft / SHARD).mkdir(parents=True)
        shard = _create_shard(draft / SHARD, dimension)
        shard.flush()
        shard.close()
        (draft / "identity").write_text(str(uuid.uuid4()), "ascii")
        draft.rename(folder)
        sync(folder.parent)
    try:
        return _load(folder, dimension)
    except Exception as error:  # the engine raises Exception itself
        raise ConfigurationError(
            f"DATA_DIR: the vector store in {folder} cannot be read ({error}). Remove that folder: "
            "the documents are then indexed again from their originals"
        ) from error


def sync(folder: Path) -> None:
    """Sync a folder and its files to disk, without holding the interpreter's lock."""
    for path in (*folder.iterdir(), folder):
        if path.is_dir() and path != folder:
            continue
        with contextlib.suppress(FileNotFoundError):  # the engine deletes old files of its log
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _load(folder: Path, dimension: int) -> tuple[Any, Path]:
    path, plain = folder / SHARD, folder / PLAIN_SHARD
    if path.exists():
        shutil.rmtree(plain, ignore_errors=True)
        return edge.EdgeShard.load(str(path)), path
    shard = edge.EdgeShard.load(str(plain))
    _replace_indexes(shard)
    if not _has_room(plain):
        log.warning("the vectors in %s stay uncompressed until its disk has room for a second copy", folder)
        return shard, plain
    draft = folder / f"{SHARD}.new"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    _copy(shard, draft, dimension)
    shard.close()
    draft.rename(path)
    sync(folder)
    shutil.rmtree(plain)
    return edge.EdgeShard.load(str(path)), path


def _create_shard(path: Path, dimension: int) -> Any:
    """Create a shard in an empty folder.

    A search compares vectors of 4 bits for each dimension, which are held in memory. The best are then compared by the
    originals, which the system keeps in memory where there is room.
    """
    compressed = edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, memory=edge.Memory.Pinned)
    vectors = edge.EdgeVectorParams(
        size=dimension, distance=edge.Distance.Cosine, quantization_config=compressed, memory=edge.Memory.Cached
    )
    words = edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)
    shard = edge.EdgeShard.create(str(path), edge.EdgeConfig(vectors={DENSE: vectors}, sparse_vectors={SPARSE: words}))
    _create_indexes(shard)
    return shard


def _create_indexes(shard: Any) -> None:
    for key in (TERMS, CONTENT_BUCKET):
        equality = edge.IntegerIndexParams(lookup=True, range=False)
        shard.update(edge.UpdateOperation.create_field_index(key, equality))


def _has_room(shard_folder: Path) -> bool:
    free = free_bytes(shard_folder)
    size_bytes = sum(path.stat().st_size for path in shard_folder.rglob("*") if path.is_file())
    return free is None or free > 2 * size_bytes


def _copy(shard: Any, draft: Path, dimension: int) -> None:
    """Copy all points and indexes of a shard to a new one."""
    info = shard.info()
    log.info("the %d vectors of the store are compressed", info.points_count)
    copy = _create_shard(draft, dimension)
    for key in info.payload_schema.keys() - {TERMS, CONTENT_BUCKET}:
        copy.update(edge.UpdateOperation.create_field_index(key, edge.PayloadSchemaType.Float))
    offset, unflushed = None, 0
    while True:
        records, offset = shard.scroll(
            edge.ScrollRequest(limit=MIGRATION_POINTS, offset=offset, with_payload=True, with_vector=True)
        )
        points = [edge.Point(record.id, record.vector, record.payload) for record in records]
        copy.update(edge.UpdateOperation.upsert_points(points))
        unflushed += len(points)
        if unflushed >= COPY_FLUSH_POINTS:
            copy.flush()
            unflushed = 0
        if offset is None:
            break
    copy.flush()
    copy.close()


def _replace_indexes(shard: Any) -> None:
    """Replace the indexes of an old store. They are removed last, so that an interrupted migration starts again."""
    old = shard.info().payload_schema.keys() & OLD_INDEXES
    if not old:
        return
    log.info("the indexes of the vector store are migrated")
    _create_indexes(shard)
    offset = None
    while True:
        request = edge.ScrollRequest(limit=MIGRATION_POINTS, offset=offset, with_payload=True, with_vector=False)
        records, offset = shard.scroll(request)
        for record in records:
            shard.update(edge.UpdateOperation.set_payload([record.id], values_to_migrate(record.payload)))
        if offset is None:
            break
    for key in old:
        shard.update(edge.UpdateOperation.delete_field_index(key))
    shard.flush()
