"""The original of a document as a download."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.dependencies import in_thread
from core.blobs import BlobStore
from core.catalog import ORIGINAL_MISSING, Document, to_os
from core.errors import NotFound
from core.safe_open import opened_file

BLOCK_BYTES = 1 << 18
#: A browser that is made to open a download shows it without scripts, and takes it for nothing else than it is.
HEADERS = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": "private, no-cache",
}


async def original_response(document: Document, blobs: BlobStore) -> Response:
    """Return the file that a document was made of.

    Raises:
        NotFound: this server cannot reach it, or it is another one by now.
    """
    media_type = document.media_type or "application/octet-stream"
    headers = HEADERS | {"content-disposition": _disposition(document.filename)}
    if document.blob_key is not None:
        path = blobs.path(document.blob_key)
        if not await in_thread(path.is_file):
            raise _missing("The original is no longer in BLOB_DIR.")
        return FileResponse(path, headers=headers, media_type=media_type)
    if document.root is None or document.path is None:
        raise _missing("The document has no original.")
    descriptor = await in_thread(_open_watched, document)
    headers["content-length"] = str(document.size_bytes)
    return OpenFileResponse(descriptor, document.size_bytes, headers=headers, media_type=media_type)


class OpenFileResponse(StreamingResponse):
    """Sends a file by its descriptor, and closes that at the end, also if the client leaves before."""

    def __init__(self, descriptor: int, size_bytes: int, **options: Any) -> None:
        super().__init__(_blocks(descriptor, size_bytes), **options)
        self._descriptor = descriptor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


def _open_watched(document: Document) -> int:
    """Return a descriptor of the file in the watched folder, if it is still the one that was indexed."""
    try:
        with opened_file(to_os(str(document.root)), to_os(str(document.path))) as descriptor:
            found = os.fstat(descriptor)
            if found.st_size != document.size_bytes or document.mtime_ns not in (None, found.st_mtime_ns):
                raise _missing("The file has changed since it was indexed, and is read again in a moment.")
            return os.dup(descriptor)
    except OSError as error:
        raise _missing(f"The file in the watched folder cannot be read here: {error.strerror}.") from error


async def _blocks(descriptor: int, size_bytes: int) -> AsyncIterator[bytes]:
    left = size_bytes
    while left and (block := await in_thread(os.read, descriptor, min(left, BLOCK_BYTES))):
        left -= len(block)
        yield block


def _disposition(filename: str) -> str:
    name = PurePosixPath(filename).name or "document"
    plain = "".join(char if char.isascii() and char.isalnum() or char in "._- " else "_" for char in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _missing(why: str) -> NotFound:
    return NotFound(why, param="document_id", code=ORIGINAL_MISSING)
