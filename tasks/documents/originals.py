"""The original of a document, as a file that nobody changes while it is parsed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.blobs import BlobStore, StagedBlob
from core.catalog import ORIGINAL_MISSING, Document, to_os
from core.errors import DocumentRejected
from core.safe_open import NO_FILE, opened_file
from ingest.pipeline import NO_PERMISSION, check_size

_BLOCK_BYTES = 1 << 20
_MISSING = "The original file is no longer there."
_MISSING_BLOB = (
    "The original is no longer in BLOB_DIR. If a process on another machine stored it, note that all processes need "
    "one BLOB_DIR that they share."
)
_CHANGED = "The file has changed since it was found. It is read again as soon as the watcher has seen the change."


@contextmanager
def original_of(document: Document, blobs: BlobStore, max_bytes: int) -> Iterator[Path]:
    """Yield the path of a file with the content that the document's hash names.

    Parsers, and the programs that they run, open a file by its path, and several times. In a watched folder, anybody
    who can write there can put another file or a link at that path meanwhile. So a watched file is opened once, and a
    private copy of it is parsed.

    Raises:
        DocumentRejected: the original is missing, has changed, is larger than `max_bytes`, or cannot be read.
    """
    if document.blob_key is not None:
        path = blobs.path(document.blob_key)
        if not path.is_file():
            raise DocumentRejected(_MISSING_BLOB, code=ORIGINAL_MISSING)
        yield path
        return
    if document.root is None or document.path is None:
        raise DocumentRejected("The document has no original.")
    with blobs.stage() as copy:
        _copy_watched(to_os(document.root), to_os(document.path), document, copy, max_bytes)
        yield copy.written()


def _copy_watched(root: str, path: str, document: Document, copy: StagedBlob, max_bytes: int) -> None:
    try:
        with opened_file(root, path) as descriptor:
            check_size(os.fstat(descriptor).st_size, max_bytes)
            # A file that grows while it is copied is not copied further: its hash is wrong already.
            while copy.size_bytes <= document.size_bytes and (block := os.read(descriptor, _BLOCK_BYTES)):
                copy.write(block)
    except PermissionError as error:
        raise DocumentRejected(NO_PERMISSION) from error
    except OSError as error:
        if error.errno in NO_FILE:
            raise DocumentRejected(_MISSING, code=ORIGINAL_MISSING) from error
        raise
    if copy.content_hash != document.content_hash:
        raise DocumentRejected(_CHANGED, code=ORIGINAL_MISSING)
