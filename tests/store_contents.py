"""The contents of a vector store, for tests that compare it with the catalog."""

from __future__ import annotations

from collections import Counter
from typing import Any

import qdrant_edge as edge

from core.blobs import BlobStore
from core.catalog import Catalog, DocumentState
from ingest.indexing.chunk_files import read_chunks
from ingest.vector_store.edge import EdgeVectorStore

#: A point: its document, generation, chunk index, path, folder, and content hash.
PointKey = tuple[str, int, int, str | None, str | None, str]


def points_in(store: EdgeVectorStore) -> Counter[PointKey]:
    """Return all points of the embedded store."""
    found: Counter[PointKey] = Counter()
    offset = None
    while True:
        request = edge.ScrollRequest(limit=1000, offset=offset, with_payload=True, with_vector=False)
        records, offset = store._shard.scroll(request)
        found.update(_key(record.payload) for record in records)
        if offset is None:
            return found


def points_expected(catalog: Catalog, blobs: BlobStore) -> Counter[PointKey]:
    """Return the points that the catalog's documents must have: those of their active generations, each once."""
    expected: Counter[PointKey] = Counter()
    page = catalog.list_documents(state=DocumentState.COMPLETED, limit=100_000)
    for document in page.items:
        folder = document.attributes.get("folder")
        for chunk in read_chunks(blobs.chunks_path(document.id, document.generation)):
            key = (document.id, document.generation, chunk.index, document.path, folder, chunk.content_hash)
            expected[key] += 1
    return expected


def _key(payload: dict[str, Any]) -> PointKey:
    names = ("document_id", "generation", "chunk_index")
    document_id, generation, index = (payload[name] for name in names)
    folder = payload.get("attributes", {}).get("folder")
    return (document_id, generation, index, payload.get("path"), folder, payload["content_hash"])
