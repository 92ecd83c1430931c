"""The blob store: originals that came over the API, and the chunks of all documents, as files under one folder.

<root>/.staging/        files being written; on the same file system, so that a rename completes them
<root>/originals/ab/    one file per blob
<root>/chunks/ab/<document id>/<generation>.jsonl
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from core.ids import new_id

_SUFFIX = re.compile(r"(?:\.tar)?\.[A-Za-z0-9]{1,10}\Z")
_KEY = re.compile(r"[0-9a-f]{2}/blob-[0-9a-f]+(?:\.[A-Za-z0-9.]+)?\Z")
#: The name of a file of chunks, or of one that is being written.
_GENERATION = re.compile(r"\.?(\d+)\.jsonl")
_DOCUMENT_ID = re.compile(r"[A-Za-z0-9_-]+\Z")


@dataclass(frozen=True)
class Blob:
    """An original that is durable. `content_hash` is its SHA-256 in hex."""

    key: str
    size_bytes: int
    content_hash: str


class StagedBlob:
    """An original while it is being written. Leaving the `with` block without a commit removes it."""

    def __init__(self, store: BlobStore, filename: str) -> None:
        self._store = store
        blob_id = new_id("blob")
        match = _SUFFIX.search(filename)
        self._key = f"{blob_id[-2:]}/{blob_id}{match.group().lower() if match else ''}"
        self._path = store.staging / blob_id
        self._file: BinaryIO = self._path.open("xb")
        self._hash = hashlib.sha256()
        self._committed = False
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Append data, and return the size so far, so that the caller can check a limit."""
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)
        return self.size_bytes

    @property
    def content_hash(self) -> str:
        """The SHA-256 of the data so far, in hex."""
        return self._hash.hexdigest()

    def written(self) -> Path:
        """Return the path of a file with the data so far, for as long as the blob is neither committed nor removed."""
        self._file.flush()
        return self._path

    def seal(self) -> None:
        """Close the file after the last write, so that a blob that waits for its commit holds no descriptor."""
        self._file.close()

    def commit(self) -> Blob:
        """Make the blob durable: from now on it survives a crash of the machine."""
        self.seal()
        _fsync(self._path)
        target = self._store.path(self._key)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True, exist_ok=True)
            _fsync(target.parent.parent)
        self._path.rename(target)
        _fsync(target.parent)
        self._committed = True
        return Blob(self._key, self.size_bytes, self.content_hash)

    def __enter__(self) -> StagedBlob:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._committed:
            self._file.close()
            self._path.unlink(missing_ok=True)


class BlobStore:
    """Blobs and chunk files under `root`, which all processes share. Raises OSError as the file system does."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.staging = root / ".staging"
        self.staging.mkdir(parents=True, exist_ok=True)
        (root / "originals").mkdir(exist_ok=True)
        (root / "chunks").mkdir(exist_ok=True)

    def stage(self, filename: str = "") -> StagedBlob:
        """Return a new blob to write to. Its key keeps only the suffix of the file's name."""
        return StagedBlob(self, filename)

    def put(self, data: bytes, filename: str = "") -> Blob:
        """Store bytes that are already in memory."""
        with self.stage(filename) as staged:
            staged.write(data)
            return staged.commit()

    def path(self, key: str) -> Path:
        """Return the path of the blob with this key, whether it exists or not. Raise ValueError for an invalid key."""
        if not _KEY.match(key):
            raise ValueError(f"{key!r} is not the key of a blob")
        return self.root / "originals" / key

    def delete(self, key: str) -> None:
        """Remove a blob if it exists."""
        self.path(key).unlink(missing_ok=True)

    def chunks_path(self, document_id: str, generation: int) -> Path:
        """Return the path for the chunks of a generation of a document. Create its folder."""
        folder = self._chunks_folder(document_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{generation}.jsonl"

    def find_chunks(self, document_id: str, generation: int) -> Path | None:
        """Return the path of the chunks of a generation of a document, or None if they are not there."""
        path = self._chunks_folder(document_id) / f"{generation}.jsonl"
        return path if path.is_file() else None

    def delete_chunks(self, document_id: str, before_generation: int | None = None) -> None:
        """Remove the chunks of a document: of all generations, or of those before one that is complete.

        A later generation may be being written meanwhile.
        """
        folder = self._chunks_folder(document_id)
        if before_generation is None:
            shutil.rmtree(folder, ignore_errors=True)
            return
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            named = _GENERATION.match(path.name)
            if named is None or int(named.group(1)) < before_generation:
                path.unlink(missing_ok=True)

    def sweep_staging(self, older_than_seconds: float) -> int:
        """Remove the files that crashed writers left behind, and return how many there were."""
        oldest = time.time() - older_than_seconds
        abandoned = [path for path in self.staging.iterdir() if _modified_at(path) < oldest]
        for path in abandoned:
            path.unlink(missing_ok=True)
        return len(abandoned)

    def _chunks_folder(self, document_id: str) -> Path:
        if not _DOCUMENT_ID.match(document_id):
            raise ValueError(f"{document_id!r} is not the id of a document")
        return self.root / "chunks" / document_id[-2:] / document_id


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        # It was committed or removed after the folder was listed.
        return float("inf")


def _fsync(path: Path) -> None:
    """Write what a file or folder holds to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
