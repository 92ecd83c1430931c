"""`llm-api restore`: puts a backup in the place of the data folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cli.backup import stopped_stack
from cli.backup_folder import (
    FORMAT,
    BackupFolder,
    Manifest,
    catalog_path,
    copy_sparse_tree,
    link_or_copy,
    vectors_path,
)
from cli.preflight import prepare_directories
from cli.screen import Screen
from core.catalog.copies import originals_of, revision_of
from core.catalog.migration import HEAD_REVISION
from core.disk import is_disk_full
from core.errors import ConfigurationError, StorageFull
from core.release import release
from core.settings import Settings

#: The suffix of what is copied before anything is replaced.
STAGED = ".restoring"
#: Files that SQLite keeps beside a catalog. Those of the old one would damage the new one.
SQLITE_FILES = ("-wal", "-shm", "-journal")


def restore(settings: Settings, path: Path, screen: Screen, *, force: bool = False) -> int:
    """Replace the catalog, the originals and the vectors by those of a backup. Return the exit status.

    Everything is copied beside the present data before that is removed.

    Raises:
        ConfigurationError: the backup cannot be used, the stack is running, or there is data and not `force`.
        StorageFull: there is no room for the copy; nothing was changed.
    """
    folder = BackupFolder(path.absolute())
    catalog = catalog_path(settings)
    manifest = _read_manifest(folder)
    prepare_directories(settings)
    with stopped_stack(settings) as is_stopped:
        if not is_stopped:
            raise ConfigurationError("llm-api is running on this DATA_DIR: stop it first (`llm-api down`).")
        if not force:
            _require_empty(settings, catalog)
        check_originals(folder)
        _replace(settings, folder, catalog)
    _explain(screen, settings, manifest)
    return 0


def check_originals(folder: BackupFolder) -> None:
    """Check that a backup has the originals that its catalog names. Raise `ConfigurationError` if it does not."""
    for key, size in originals_of(folder.catalog).items():
        original = folder.originals / key
        if not original.is_file() or original.stat().st_size != size:
            raise ConfigurationError(
                f"{folder.path} is damaged: {original} is missing, or its size is not {size:,} bytes. "
                "Use another backup."
            )


def _read_manifest(folder: BackupFolder) -> Manifest:
    try:
        manifest = msgspec.json.decode(folder.manifest.read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{folder.path} is not a complete backup: {error}") from error
    if manifest.format > FORMAT or revision_of(folder.catalog) > HEAD_REVISION:
        raise ConfigurationError(
            f"The backup was made by release {manifest.release} (catalog revision {manifest.catalog_revision}), but "
            f"this is release {release()}, which knows revisions up to {HEAD_REVISION}. Restore it with that release "
            "or a later one."
        )
    return manifest


def _require_empty(settings: Settings, catalog: Path) -> None:
    found = [path for path in (catalog, settings.state_dir / "vectors") if path.exists()]
    found += [path for path in [settings.blobs_path / "originals"] if path.is_dir() and any(path.iterdir())]
    if found:
        raise ConfigurationError(
            f"There is data already: {', '.join(map(str, found))}. Choose another DATA_DIR, or replace the data with "
            "--force: what is there now is removed."
        )
    if settings.qdrant_server_url is not None:
        raise ConfigurationError(
            "The vectors are in a Qdrant server, and those that it has now may not fit the backup: delete its "
            "collections whose names begin with llm-api, then restore with --force. The documents are indexed again."
        )


def _replace(settings: Settings, folder: BackupFolder, catalog: Path) -> None:
    originals = settings.blobs_path / "originals"
    vectors = settings.state_dir / "vectors"
    staged = [target.with_name(target.name + STAGED) for target in (originals, vectors, catalog)]
    with _removed_on_error(staged):
        staged[0].mkdir()
        for key in originals_of(folder.catalog):
            link_or_copy(folder.originals / key, staged[0] / key)
        if folder.vectors.is_dir() and vectors_path(settings) is not None:
            copy_sparse_tree(folder.vectors, staged[1])
        shutil.copyfile(folder.catalog, staged[2])
        staged[2].chmod(0o600)
    # Chunks, messages and job records belong to the data that is replaced.
    for old in (originals, vectors, settings.blobs_path / "chunks", settings.state_dir / "redis"):
        shutil.rmtree(old, ignore_errors=True)
    for name in ("", *SQLITE_FILES):
        catalog.with_name(catalog.name + name).unlink(missing_ok=True)
    for target, copy in zip((originals, vectors, catalog), staged, strict=True):
        if copy.exists():
            copy.rename(target)


@contextmanager
def _removed_on_error(staged: list[Path]) -> Iterator[None]:
    """Remove what an earlier attempt has staged, and what this one has if it fails."""
    _remove(staged)
    try:
        yield
    except BaseException as error:
        _remove(staged)
        if isinstance(error, OSError) and is_disk_full(error):
            raise StorageFull("There is no room to restore the backup: nothing was changed.") from error
        raise


def _remove(staged: list[Path]) -> None:
    for path in staged:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _explain(screen: Screen, settings: Settings, manifest: Manifest) -> None:
    made = datetime.fromtimestamp(manifest.created_at, UTC)
    screen.print(
        f"Restored the backup of {made:%Y-%m-%d %H:%M} UTC (release {manifest.release}) with {manifest.originals:,} "
        f"originals into {settings.state_dir}"
    )
    if not manifest.has_vectors:
        screen.print("It has no vectors: when llm-api is started, all documents are indexed again.")
