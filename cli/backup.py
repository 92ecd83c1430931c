"""`llm-api backup`: copies the catalog and the originals while the stack runs, and the vectors if it does not."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cli.backup_folder import (
    BackupFolder,
    Manifest,
    catalog_path,
    copy_sparse_tree,
    link_or_copy,
    vectors_path,
)
from cli.processes import stack_processes
from cli.runtime import Lock, RuntimeDir
from cli.screen import Screen
from core.blobs import BlobStore
from core.catalog.copies import copy_catalog, originals_of, revision_of
from core.disk import is_disk_full
from core.errors import ConfigurationError, StorageFull
from core.release import release
from core.settings import Settings

#: After so many attempts, the originals that are still missing are not in BLOB_DIR.
MAX_ROUNDS = 10


def backup(settings: Settings, path: Path, screen: Screen) -> int:
    """Write a backup into a new or empty folder. Return the exit status.

    Raises:
        ConfigurationError: there is nothing to back up, or the folder cannot be used.
        StorageFull: the folder's disk is full; nothing is left in it.
    """
    catalog = catalog_path(settings)
    if not catalog.is_file():
        raise ConfigurationError(f"There is nothing to back up: {catalog} does not exist. Is DATA_DIR the right one?")
    folder = BackupFolder(path.absolute())
    with _new_folder(folder.path), stopped_stack(settings) as is_stopped:
        missing = copy_catalog_and_originals(catalog, BlobStore(settings.blobs_path), folder)
        vectors = vectors_path(settings)
        has_vectors = is_stopped and vectors is not None and vectors.is_dir()
        if vectors is not None and has_vectors:
            copy_sparse_tree(vectors, folder.vectors)
        manifest = _manifest(folder, has_vectors=has_vectors)
        os.sync()
        folder.manifest.write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    _explain(screen, folder, manifest, missing, is_stopped=is_stopped)
    return 0


def copy_catalog_and_originals(catalog: Path, blobs: BlobStore, folder: BackupFolder) -> int:
    """Copy a snapshot of the catalog and all originals that it names. Return how many of these do not exist.

    The catalog comes first, because an original exists before its row does. It may be deleted after the snapshot was
    taken; but then a later snapshot does not name it any more. So the two are copied until nothing is missing.
    """
    missing: set[str] = set()
    for _ in range(MAX_ROUNDS):
        copy_catalog(catalog, folder.catalog)
        named = originals_of(folder.catalog).keys()
        absent = [key for key in named if not (folder.originals / key).exists()]
        before, missing = missing, {key for key in absent if not link_or_copy(blobs.path(key), folder.originals / key)}
        if not missing or missing == before:
            break
    for original in folder.originals.glob("*/*"):
        if f"{original.parent.name}/{original.name}" not in named:
            original.unlink()
    return len(missing)


@contextmanager
def stopped_stack(settings: Settings) -> Iterator[bool]:
    """Return whether the stack of these settings is stopped. If it is, it cannot be started meanwhile."""
    runtime = RuntimeDir(settings.runtime_dir)
    runtime.prepare()
    lock = Lock(runtime.up_lock)
    is_stopped = lock.acquire() and not stack_processes(runtime.path)
    try:
        yield is_stopped
    finally:
        lock.release()


@contextmanager
def _new_folder(path: Path) -> Iterator[None]:
    """Create a folder, and remove it if the block fails."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ConfigurationError(f"{path} is not empty: name a folder that does not exist yet.")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be used for a backup: {error.strerror or error}") from error
    try:
        yield
    except BaseException as error:
        shutil.rmtree(path, ignore_errors=True)
        if isinstance(error, OSError) and is_disk_full(error):
            raise StorageFull(f"The disk of {path} is full: nothing was backed up.") from error
        raise


def _manifest(folder: BackupFolder, *, has_vectors: bool) -> Manifest:
    sizes = [original.stat().st_size for original in folder.originals.glob("*/*")]
    return Manifest(
        release=release(),
        catalog_revision=revision_of(folder.catalog),
        created_at=time.time(),
        originals=len(sizes),
        original_bytes=sum(sizes),
        has_vectors=has_vectors,
    )


def _explain(screen: Screen, folder: BackupFolder, manifest: Manifest, missing: int, *, is_stopped: bool) -> None:
    screen.print(
        f"Backed up the catalog (revision {manifest.catalog_revision}) and {manifest.originals:,} originals "
        f"({manifest.original_bytes:,} bytes) into {folder.path}"
    )
    if manifest.has_vectors:
        screen.print("The vectors are included.")
    else:
        reason = "they are not on this disk" if is_stopped else "llm-api is running"
        screen.print(f"The vectors are not included, since {reason}: after a restore, they are made again.")
    if missing:
        screen.print(f"{missing:,} originals are missing in BLOB_DIR: their documents cannot be indexed again.")
