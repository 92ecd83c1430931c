"""The vector store: dense and BM25 vectors of chunks, embedded in this process or on a Qdrant server."""

from __future__ import annotations

import logging

from core.settings import Settings
from ingest.vector_store.base import Point, ScoredPoint, VectorStore, point_id

__all__ = ["Point", "ScoredPoint", "VectorStore", "open_vector_store", "point_id"]

#: Longest time that a request to the server may take.
SERVER_TIMEOUT_SECONDS = 10


def open_vector_store(settings: Settings, dimension: int, model_name: str) -> VectorStore:
    """Open the store that the settings name: a server, or the embedded engine.

    QDRANT_USE_MEMORY takes precedence over a server's address: it asks for an embedded store that is empty at every
    start.

    Raises:
        ConfigurationError: another process has the embedded store open, the store cannot be read, or the server refuses
            the key.
        Unavailable: the server does not answer.
    """
    url = settings.qdrant_server_url
    if url is None or settings.qdrant_use_memory:
        from ingest.vector_store.edge import EdgeVectorStore

        name = "vectors-ephemeral" if settings.qdrant_use_memory else "vectors"
        folder = settings.state_dir / name
        return EdgeVectorStore(folder, model_name, dimension, ephemeral=settings.qdrant_use_memory)
    from qdrant_client import QdrantClient

    from ingest.vector_store.server import ServerVectorStore

    # It logs the URL of each request, which may contain a password.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    key = settings.qdrant_api_key.get_secret_value() if settings.qdrant_api_key else None
    client = QdrantClient(url=url, api_key=key, timeout=SERVER_TIMEOUT_SECONDS, check_compatibility=False)
    return ServerVectorStore(client, model_name, dimension)
