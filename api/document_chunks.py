"""The text of a document as its chunks, from the file that parsing wrote beside the blobs."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import msgspec

from api.render import Wire
from core.blobs import BlobStore
from core.catalog import Catalog, Document
from core.errors import NotFound


class StoredChunk(msgspec.Struct, frozen=True):
    """A line of that file, which `ingest.parsed_document.Chunk` describes."""

    index: int
    text: str
    start: int
    end: int
    page: int | None = None
    section: str | None = None
    header: str = ""
    last_page: int | None = None


_decoder = msgspec.json.Decoder(StoredChunk)


def chunks_page(catalog: Catalog, blobs: BlobStore, document_id: str, after: int, limit: int) -> Wire:
    """Return the chunks of the generation that search sees, from the one that follows number `after`. Blocks.

    Raises:
        NotFound: there is no such document, or its chunks are not in BLOB_DIR.
    """
    document: Document = catalog.get_document(document_id)
    # A generation that is replaced meanwhile takes its file with it.
    for _ in range(2):
        if document.active_generation is None:
            return _page([], document, has_more=False)
        path = blobs.find_chunks(document_id, document.active_generation)
        if path is not None:
            try:
                found = _read(path, after + 1, limit + 1)
                return _page(found[:limit], document, has_more=len(found) > limit)
            except FileNotFoundError:
                pass
        document = catalog.get_document(document_id)
    raise NotFound(
        f"The chunks of the document {document_id!r} are not in BLOB_DIR of this server. Index it again.",
        param="document_id",
        code="chunks_missing",
    )


def _read(path: Path, first: int, limit: int) -> list[StoredChunk]:
    # Chunks are written in their order, one in each line.
    with path.open("rb") as file:
        return [_decoder.decode(line) for line in islice(file, first, first + limit)]


def _page(chunks: list[StoredChunk], document: Document, *, has_more: bool) -> Wire:
    return {
        "object": "list",
        "data": [{"object": "document.chunk", **msgspec.structs.asdict(chunk)} for chunk in chunks],
        "has_more": has_more,
        "generation": document.active_generation,
    }
