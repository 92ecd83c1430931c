"""`/v1/rerank` through Redis and a worker, by a real cross-encoder with random weights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import pytest

from api.app import create_app
from api.dependencies import Services
from core.blobs import BlobStore
from core.catalog import Catalog
from core.settings import Settings
from ingest.embedding.embedder import Embedder
from tasks.jobs.stream import JobStream
from tests.fakes.fake_embedder import FakeEmbedder
from tests.fakes.job_stream import FakeHints
from tests.integration.api.query_worker import QueryWorker
from tests.support_models import CROSS_ENCODER_WORDS, tiny_cross_encoder

QUERY = "router reset"
TEXTS = [f"{word} {'sing tea ' * (number * 5 % 13)}" for number, word in enumerate(CROSS_ENCODER_WORDS * 8)]
WINDOW = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_cross_encoder(tmp_path_factory.mktemp("models") / "small-reranker")


@pytest.fixture(params=[True])
def settings_of_worker(request: Any, settings: Settings, redis_url: str, model: Path) -> Settings:
    rerank_model = str(model) if request.param else None
    return settings.model_copy(update={"redis_url": redis_url, "rerank_model": rerank_model})


@pytest.fixture
def worker(settings_of_worker: Settings, catalog: Catalog) -> Iterator[QueryWorker]:
    worker = QueryWorker(settings_of_worker, catalog, cast(Embedder, FakeEmbedder()))
    yield worker
    worker.close()


@pytest.fixture
async def client(
    worker: QueryWorker, settings_of_worker: Settings, catalog: Catalog
) -> AsyncIterator[httpx.AsyncClient]:
    stream = JobStream(settings_of_worker, worker.producer)
    await stream.start()
    blobs = BlobStore(settings_of_worker.blobs_path)
    services = Services(settings_of_worker, catalog, blobs, stream, FakeHints())
    app = create_app(services=services)
    app.state.services = services
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        yield client
    await stream.close()


def expected_logits(folder: Path, texts: list[str]) -> np.ndarray[Any, Any]:
    """Return what the library computes for each pair alone."""
    import torch
    from sentence_transformers import CrossEncoder

    model: CrossEncoder = CrossEncoder(str(folder), local_files_only=True)
    pairs = [(QUERY, text) for text in texts]
    return np.array(model.predict(pairs, batch_size=1, activation_fn=torch.nn.Identity(), show_progress_bar=False))


async def rerank(client: httpx.AsyncClient, texts: list[str], **fields: Any) -> dict[str, Any]:
    answer = await client.post("/v1/rerank", json={"query": QUERY, "documents": texts} | fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_scores_are_those_of_the_model_whatever_the_number_of_documents(
    client: httpx.AsyncClient, model: Path
) -> None:
    relevance = 1 / (1 + np.exp(-expected_logits(model, TEXTS)))
    assert 0 < relevance.min() < relevance.max() < 1 and len(TEXTS) > 16, "bulk work too"
    few, many, best = await asyncio.gather(
        rerank(client, TEXTS[:5]), rerank(client, TEXTS, return_documents=True), rerank(client, TEXTS, top_n=3)
    )
    for answer, count in ((few, 5), (many, len(TEXTS))):
        scores = {one["index"]: one["relevance_score"] for one in answer["results"]}
        np.testing.assert_allclose([scores[index] for index in range(count)], relevance[:count], atol=1e-5)
        ordered = [one["relevance_score"] for one in answer["results"]]
        assert ordered == sorted(ordered, reverse=True)
    assert [one["document"]["text"] for one in many["results"]] == [TEXTS[one["index"]] for one in many["results"]]
    assert [one["index"] for one in best["results"]] == [one["index"] for one in many["results"]][:3]
    assert few["model"] == "small-reranker"


async def test_usage_counts_what_the_model_reads_of_each_pair(client: httpx.AsyncClient) -> None:
    # The query has two tokens, and each pair three special ones.
    short = await rerank(client, ["tea", "whales sing"])
    assert short["usage"] == {"total_tokens": (2 + 3) * 2 + 1 + 2}
    long = await rerank(client, ["tea " * 500])
    assert long["usage"] == {"total_tokens": WINDOW}


@pytest.mark.parametrize("settings_of_worker", [False], indirect=True)
async def test_without_a_model_the_setting_is_named(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/rerank", json={"query": QUERY, "documents": ["tea"]})
    assert answer.status_code == 400
    assert "RERANK_MODEL is not set" in answer.json()["error"]["message"]
