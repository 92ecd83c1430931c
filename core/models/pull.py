"""Pulls models from the hub into `MODELS_DIR/OWNER/REPOSITORY`. A model is seen there once it is whole and verified."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from core.disk import DiskSpace, is_disk_full
from core.errors import ConfigurationError, Conflict, InvalidRequest, StorageFull, Unavailable
from core.models.digests import ModelDigests
from core.models.download import Downloader, PullStopped
from core.models.files import check_model_files
from core.models.gguf import read_header
from core.models.hub import Reference, RemoteFile, RemoteModel, find_model
from core.models.library import ModelLibrary
from core.models.pull_records import PullRecord
from core.settings import Settings

__all__ = ["Pulled", "PullStopped", "pull_model"]

#: The folder, beside the files of a repository, of those that are not complete. The library does not look into it.
PARTIAL_FOLDER = ".partial"
#: How long to wait for the lock of an attempt that is about to stop.
LOCK_POLL_SECONDS = 0.1

#: Called with the bytes that are there, and those of the whole model.
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Pulled:
    """A model that has been pulled, or was there already."""

    name: str
    repo: str
    revision: str
    path: Path
    files: tuple[str, ...]
    bytes: int


def pull_model(
    reference: Reference,
    settings: Settings,
    on_progress: OnProgress,
    stop: threading.Event,
    *,
    lock_wait_seconds: float = 0.0,
) -> Pulled:
    """Download the model that a reference means. After an error or a stop, the next time goes on where this one ended.

    Raises:
        PullStopped: `stop` was set.
        NotFound, InvalidRequest, PermissionDenied: the reference means no file that may be downloaded.
        Conflict: another model has this name, or the same model is being pulled elsewhere.
        StorageFull: there is no room for it above MIN_FREE_BYTES.
        Unavailable: the hub cannot be reached, its answers are wrong, a checksum is, or MODELS_DIR cannot be written.
    """
    model = find_model(reference)
    folder = settings.models_path / model.repo
    _check_name(model, folder, settings)
    try:
        with _lock(folder, model, lock_wait_seconds, stop):
            _Pull(model, folder, settings, on_progress, stop).run()
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull(
                f"The disk of {folder} is full. What was downloaded is kept: pull again once it has room."
            ) from error
        raise Unavailable(f"{folder} cannot be written: {error.strerror or error}.", code="models_dir") from error
    return Pulled(
        model.name,
        model.repo,
        model.revision,
        folder / model.files[0].path,
        tuple(file.path for file in model.files),
        model.bytes,
    )


def _check_name(model: RemoteModel, folder: Path, settings: Settings) -> None:
    own = {os.path.realpath(folder / file.path) for file in model.files}
    others = [path for path in ModelLibrary(settings).named_alike(model.name) if os.path.realpath(path) not in own]
    if others:
        raise Conflict(
            f"The name {model.name!r} is that of another model here ({others[0]}): rename or remove that one first.",
            param="model",
        )


class _Pull:
    """One attempt to pull a model, under its lock."""

    def __init__(
        self, model: RemoteModel, folder: Path, settings: Settings, on_progress: OnProgress, stop: threading.Event
    ) -> None:
        self._model, self._folder, self._stop, self._on_progress = model, folder, stop, on_progress
        self._digests = ModelDigests(settings)
        self._disk = DiskSpace.of_models(settings)
        self._record = PullRecord.read(folder) or PullRecord(model.repo)
        self._done_bytes = 0

    def run(self) -> None:
        missing = [file for file in self._model.files if not self._is_complete(file)]
        partial = {file: self._partial(file) for file in missing}
        there = {file: path.stat().st_size if path.exists() else 0 for file, path in partial.items()}
        self._disk.require(sum(file.bytes - there[file] for file in missing))
        self._add(self._model.bytes - sum(file.bytes - there[file] for file in missing))
        downloader = Downloader(self._model, self._stop, self._add)
        try:
            for file, path in partial.items():
                downloader.download(file, path)
                _check_gguf(file, path)
        finally:
            downloader.close()
        for file, path in partial.items():
            target = self._folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
            self._digests.remember(target, file.sha256)
        PullRecord.add(self._folder, self._model.repo, {file.path: file.sha256 for file in self._model.files})
        self._check_parts()

    def _is_complete(self, file: RemoteFile) -> bool:
        """Return whether a file is there as the hub has it. Raise Conflict if a file of somebody else is there."""
        path = self._folder / file.path
        if not path.exists():
            return False
        recorded = self._record.files.get(file.path)
        if path.stat().st_size == file.bytes and (recorded or self._digests.file_digest(path)) == file.sha256:
            return True
        if recorded is None:
            raise Conflict(f"{path} is there and is not the hub's file: move or remove it first.", param="model")
        return False

    def _partial(self, file: RemoteFile) -> Path:
        """Return the path of a file that is not complete. Remove those of other versions of it."""
        name = file.path.replace("/", "--")
        path = self._folder / PARTIAL_FOLDER / f"{name}.{file.sha256[:16]}.part"
        for other in path.parent.glob(f"{name}.*.part"):
            if other != path or other.stat().st_size > file.bytes:
                other.unlink()
        return path

    def _check_parts(self) -> None:
        """Raise InvalidRequest if the parts do not belong together, which each by itself does not show."""
        try:
            check_model_files(self._folder / self._model.files[0].path)
        except ConfigurationError as error:
            raise InvalidRequest(f"The files of {self._model.repo} are no model: {error}", param="model") from error

    def _add(self, count: int) -> None:
        self._done_bytes += count
        self._disk.require_reserve()
        self._on_progress(self._done_bytes, self._model.bytes)


def _check_gguf(file: RemoteFile, path: Path) -> None:
    try:
        read_header(path)
    except ConfigurationError as error:
        path.unlink()
        raise InvalidRequest(f"{file.path} cannot be used, so it has been removed: {error}", param="model") from error


@contextmanager
def _lock(folder: Path, model: RemoteModel, wait_seconds: float, stop: threading.Event) -> Iterator[None]:
    """Hold the lock of a model while it is pulled. It ends with its process, however that ends.

    Raises:
        Conflict: another attempt has had it for longer than this.
    """
    partial = folder / PARTIAL_FOLDER
    path = partial / f"{model.name}.lock"
    deadline = time.monotonic() + wait_seconds
    while True:
        partial.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("wb")
        except FileNotFoundError:
            continue  # the former holder of the lock has just removed the folder
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Conflict(f"The model {model.name!r} is being pulled already.", param="model") from None
                if stop.wait(LOCK_POLL_SECONDS):
                    raise PullStopped from None
                continue
            if not _is_at(path, file.fileno()):
                continue  # its former holder has just removed it
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                _remove_if_empty(partial, folder, folder.parent)
            return


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_if_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):  # there is something in it
            folder.rmdir()


def remove_old_partial_files(settings: Settings, seconds: float) -> int:
    """Remove what attempts that were given up have left, once nothing was added to it for this long.

    Return the number of files.
    """
    oldest = time.time() - seconds
    removed = 0
    for folder in settings.models_path.glob(f"*/*/{PARTIAL_FOLDER}"):
        for path in folder.glob("*.part"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed += 1
        _remove_if_empty(folder, folder.parent, folder.parent.parent)
    return removed
