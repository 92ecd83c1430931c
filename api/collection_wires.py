"""Collections in the form of the API, with how much of each can be found."""

from __future__ import annotations

from api.dependencies import Services, in_thread
from api.render import Wire
from core.catalog import Collection, Coverage


async def with_coverage(services: Services, collection: Collection) -> Wire:
    """Return a collection in the form of the API."""
    coverage: list[Coverage] = await in_thread(services.catalog.coverage, collection.name)
    return collection_wire(collection, coverage[0] if coverage else Coverage(collection.name))


def collection_wire(collection: Collection, coverage: Coverage) -> Wire:
    """Return a collection with this coverage in the form of the API."""
    return {
        "id": collection.id,
        "object": "collection",
        "name": collection.name,
        "created_at": int(collection.created_at),
        "chunk_tokens": collection.chunk_tokens,
        "chunk_overlap_tokens": collection.chunk_overlap_tokens,
        "embedding_model": collection.store.embedding_model if collection.store else None,
        "next_embedding_model": collection.next_store.embedding_model if collection.next_store else None,
        "dense_weight": collection.dense_weight,
        "coverage": coverage_wire(coverage),
    }


def coverage_wire(coverage: Coverage) -> Wire:
    """Return a coverage report in the form of the API."""
    return {
        "object": "collection.coverage",
        "collection": coverage.collection,
        "documents": coverage.documents,
        "indexed": coverage.indexed,
        "stale": coverage.stale,
        "pending": coverage.pending,
        "skipped": coverage.skipped,
        "failed": coverage.failed,
        "chunks": coverage.chunks,
        "size_bytes": coverage.size_bytes,
    }
