"""The application with a real catalog and blob store in a temporary folder, and with jobs that run in memory."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from asgi_lifespan import LifespanManager

from api.app import create_app
from api.dependencies import Services
from core import events
from core.blobs import BlobStore
from core.catalog import Catalog, DocumentState
from core.messages import (
    CompleteRequest,
    EmbedRequest,
    GenerateRequest,
    Hit,
    PullRequest,
    RerankRequest,
    SearchRequest,
    TokenLogprob,
    Usage,
)
from core.settings import Settings, load_settings
from tasks.jobs.queues import Role
from tests.fakes.job_stream import FakeHints, FakeJobStream, Script
from tests.fakes.session_store import FakeSessions
from tests.support import migrated_catalog

MODEL = "SmolLM2-135M-Instruct"
EMBEDDER = "all-MiniLM-L6-v2"
RERANKER = "ms-marco-MiniLM-L6-v2"
WORDS = ["The ", "warranty ", "is ", "24 ", "months 🙂."]
HIT = Hit(
    document_id="doc-1",
    chunk_index=0,
    text="The warranty is 24 months.",
    score=0.7,
    filename="warranty.docx",
    collection="default",
    path="manuals/warranty.docx",
    dense_score=0.61,
    sparse_score=3.2,
    page=2,
    section="Warranty",
)
#: What a worker says of a search that has HIT.
EXPLANATION = {
    "stages": [{"name": "fetch_candidates", "milliseconds": 1.5, "points": 2}],
    "scopes": [{"dense_weight": 0.5, "cosine_floor": 0.1, "threshold": 0.3, "queries": 1}],
    "hits": [{"document_id": "doc-1", "chunk_index": 0, "dense_rank": 1, "fused_rank": 2, "rank": 1}],
}


def play_chat(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    assert isinstance(request, GenerateRequest)
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Queued(**at, position=0)
    if kind == "rag_chat":
        yield events.Retrieved(**at, hits=[HIT])
    yield events.Accepted(**at, model=MODEL, prompt_tokens=12)
    yield events.Started(**at)
    for index in range(request.n):
        for word in WORDS:
            probabilities = [TokenLogprob(word, -0.5, list(word.encode()), [(word, -0.5, list(word.encode()))])]
            logprobs = probabilities if request.sampling.logprobs else []
            yield events.TextDelta(**at, text=word, index=index, token_ids=[7], logprobs=logprobs)
    for index in range(request.n):
        yield events.ChoiceFinished(**at, finish_reason="stop", index=index)
    yield events.Finished(**at, model=MODEL, usage=Usage(12, 5 * request.n))


def play_completion(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    assert isinstance(request, CompleteRequest)
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Accepted(**at, model=MODEL, prompt_tokens=3)
    count = len(request.prompts) * request.n
    for index in range(count):
        prompt = request.prompts[index // request.n]
        first = [TokenLogprob("The", None, list(b"The"))] if request.sampling.logprobs else []
        if request.echo:
            yield events.TextDelta(**at, index=index, text=str(prompt), logprobs=first)
        for word in WORDS:
            probabilities = [TokenLogprob(word, -0.5, list(word.encode()), [("a", -0.25, [97])])]
            logprobs = probabilities if request.sampling.logprobs else []
            yield events.TextDelta(**at, text=word, index=index, token_ids=[7], logprobs=logprobs)
        yield events.ChoiceFinished(**at, finish_reason="stop", index=index)
    yield events.Finished(**at, model=MODEL, usage=Usage(3, 5 * count))


def play_tokens(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Accepted(**at, model=MODEL)
    found = {"count": 1, "max_model_len": 2048, "tokens": [7], "token_strs": None}
    yield events.Finished(**at, model=MODEL, result=found if kind == "tokenize" else {"prompt": "a"})


def play_embeddings(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    assert isinstance(request, EmbedRequest)
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Accepted(**at, model=EMBEDDER)
    vectors = [struct.pack("<3f", index, 0.5, -1.0) for index in range(len(request.inputs))]
    result = {"embeddings": [base64.b64encode(vector).decode() for vector in vectors], "dimension": 3}
    yield events.Finished(**at, model=EMBEDDER, usage=Usage(4 * len(vectors)), result=result)


def play_rerank(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    """Find the last document the best one."""
    assert isinstance(request, RerankRequest)
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Accepted(**at, model=RERANKER)
    best = list(reversed(range(len(request.documents))))[: request.top_n]
    results: list[dict[str, Any]] = [{"index": index, "relevance_score": index / 2000} for index in best]
    if request.return_documents:
        results = [one | {"document": {"text": request.documents[one["index"]]}} for one in results]
    usage = Usage(7 * len(request.documents))
    yield events.Finished(**at, model=RERANKER, usage=usage, result={"results": results})


def play_search(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    assert isinstance(request, SearchRequest)
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Accepted(**at, model=EMBEDDER)
    yield events.Retrieved(**at, hits=[HIT])
    yield events.Finished(**at, model=EMBEDDER, result=EXPLANATION if request.explain else None)


def play_pull(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    assert isinstance(request, PullRequest)
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Accepted(**at, model=request.model)
    yield events.Progress(**at, done_bytes=1, total_bytes=2)
    result = {"object": "model.pull", "model": "m", "repository": "r", "revision": "0", "files": ["m.gguf"], "bytes": 2}
    yield events.Finished(**at, model="m", result=result)


WEATHER = {"type": "function", "function": {"name": "get_current_weather", "parameters": {"type": "object"}}}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        embedding_models="org/other",
        _env_file=None,
        data_dir=tmp_path / "data",
        watch_dirs=(str(tmp_path / "inbox"),),
        index_wait_seconds=5,
        max_body_bytes=64 * 1024,
        max_upload_bytes=256 * 1024,
        redis_url="redis://127.0.0.1:1",
    )


@pytest.fixture
def stream() -> FakeJobStream:
    live: dict[Role, dict[str, dict[str, Any]]] = {role: {f"{role}@host": {"at": 0}} for role in Role}
    live[Role.INFERENCE]["inference@host"] = {"model": {"name": MODEL}, "functions": [WEATHER], "started_at": 1.5}
    live[Role.INDEX]["index@host"] = {"model": EMBEDDER, "dimension": 3, "rerank_model": RERANKER}
    scripts: dict[str, Script] = {
        "chat": play_chat,
        "rag_chat": play_chat,
        "completion": play_completion,
        "tokenize": play_tokens,
        "detokenize": play_tokens,
        "embeddings": play_embeddings,
        "rerank": play_rerank,
        "search": play_search,
        "pull": play_pull,
    }
    return FakeJobStream(scripts=scripts, live=live)


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    catalog = migrated_catalog(settings.state_dir / "catalog.sqlite3")
    yield catalog
    catalog.close()


@pytest.fixture
def hints(catalog: Catalog) -> FakeHints:
    """Return hints that complete every document at once, as workers would."""

    def work(document_id: str) -> None:
        parse = catalog.claim(document_id, "test", expected=DocumentState.QUEUED, claimed=DocumentState.PARSING)
        if parse is None:
            return  # if one request names a document twice, it is completed already
        assert catalog.advance(parse, DocumentState.PARSED)
        index = catalog.claim(document_id, "test", expected=DocumentState.PARSED, claimed=DocumentState.INDEXING)
        assert index is not None and catalog.activate(index, 1)

    return FakeHints(on_ingest=work)


@pytest.fixture
def services(settings: Settings, catalog: Catalog, stream: FakeJobStream, hints: FakeHints) -> Services:
    return Services(settings, catalog, BlobStore(settings.blobs_path), stream, hints, sessions=FakeSessions())


@pytest_asyncio.fixture
async def http(services: Services) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(services) as client:
        yield client


def client_of(services: Services) -> Any:
    """Return a client of an application with these services, for tests that need other ones than the fixtures."""
    return _Client(services)


class _Client:
    def __init__(self, services: Services) -> None:
        self._app = create_app(services=services)
        self._lifespan = LifespanManager(self._app)

    async def __aenter__(self) -> httpx.AsyncClient:
        await self._lifespan.__aenter__()
        transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        return self._client

    async def __aexit__(self, *error: Any) -> None:
        await self._client.aclose()
        await self._lifespan.__aexit__(*error)
