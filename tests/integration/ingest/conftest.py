"""Fixtures of each kind of vector store, and points to put into them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from core.messages import Filter
from ingest.vector_store import Point, VectorStore, point_id
from ingest.vector_store.edge import EdgeVectorStore
from ingest.vector_store.server import ServerVectorStore
from tests.fakes.fake_embedder import FakeEmbedder

MODEL = "fake"
OpenStore = Callable[[], VectorStore]


@pytest.fixture(params=["edge", "client-local"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Return a function that opens the same store each time. The one before must be closed."""
    if request.param == "edge":
        return lambda: EdgeVectorStore(tmp_path / "vectors", MODEL, FakeEmbedder.dimension)
    # The local mode of the client has no payload indexes.
    return lambda: ServerVectorStore(
        QdrantClient(path=str(tmp_path / "qdrant")), MODEL, FakeEmbedder.dimension, indexed=False
    )


@pytest.fixture
def store(open_store: OpenStore) -> Iterator[VectorStore]:
    store = open_store()
    yield store
    store.close()


@pytest.fixture
def refusing_server() -> Iterator[Callable[[int], str]]:
    """Return a function that starts an HTTP server which answers every request with a status, and returns its URL."""
    servers: list[ThreadingHTTPServer] = []

    def start(status: int) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_error(status)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def make_point(text: str, document_id: str = "doc", generation: int = 1, index: int = 0, **payload: Any) -> Point:
    """Return a point with all payload keys that a search reads."""
    values = {
        "document_id": document_id,
        "generation": generation,
        "chunk_index": index,
        "collection": "default",
        "filename": "a.txt",
        "path": None,
        "content_hash": f"hash of {text}",
        "attributes": {},
        **payload,
    }
    return Point(point_id(document_id, generation, index), FakeEmbedder().vector(text), text, values)


def where(type: Any, key: str = "", value: Any = "", *filters: Filter) -> Filter:
    """Return a filter."""
    return Filter(type, key, value, list(filters))
