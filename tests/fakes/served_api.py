"""The real API with a real catalog, whose jobs run in memory, for a uvicorn process of its own.

    python -m api.server tests.fakes.served_api:create_app

The settings come from the environment.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from fastapi import FastAPI

from api.app import create_app as create_api
from api.dependencies import Services
from core.blobs import BlobStore
from core.catalog import Catalog
from core.settings import load_settings
from tests.fakes.job_stream import FakeHints, FakeJobStream
from tests.support import clean_environment, free_port, wait_until
from tests.unit.api.conftest import EMBEDDER, MODEL, play_chat, play_embeddings, play_search


def create_app() -> FastAPI:
    settings = load_settings(_env_file=None)
    catalog = Catalog.open(settings.catalog_url)
    catalog.migrate()
    scripts = {"chat": play_chat, "rag_chat": play_chat, "embeddings": play_embeddings, "search": play_search}
    live = {"inference": {"i@host": {"model": {"name": MODEL}}}, "index": {"x@host": {"model": EMBEDDER}}}
    stream = FakeJobStream(scripts=scripts, live=live)  # type: ignore[arg-type]
    return create_api(settings, Services(settings, catalog, BlobStore(settings.blobs_path), stream, FakeHints()))


@contextmanager
def served_api(folder: Path, **environment: str) -> Iterator[int]:
    """Run the API in a uvicorn process with the project's options, and yield its port."""
    port = free_port()
    command = [sys.executable, "-m", "api.server", "tests.fakes.served_api:create_app", "--port", str(port)]
    changes = {"DATA_DIR": str(folder / "data"), "WATCH_DIRS": str(folder / "inbox"), "PORT": str(port)}
    with (folder / "api.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=clean_environment(**changes, **environment), cwd=folder, stdout=log, stderr=log
        )
        try:
            wait_until(lambda: _answers(port), 60, "the API")
            yield port
        finally:
            server.terminate()
            server.wait(20)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False
