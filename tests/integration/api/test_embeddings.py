"""`/v1/embeddings` with OpenAI's client: the real model behind a real Redis, in one process."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from api.app import create_app
from api.dependencies import Services
from core.blobs import BlobStore
from core.catalog import Catalog
from core.settings import Settings, load_settings
from ingest.embedding.embedder import Embedder
from tasks.jobs.stream import JobStream
from tests.fakes.job_stream import FakeHints
from tests.integration.api.query_worker import QueryWorker
from tests.support_models import DIMENSION, tiny_model

TEXTS = ["The cat sat on the mat.", "Quarterly revenue grew by 12 %.", "Wie starte ich den Router neu?", "a"]
MATRYOSHKA = "matryoshka"


@pytest.fixture(scope="module")
def embedders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Embedder]:
    """Return the starter model and a small Matryoshka model with prompts."""
    prompts = {"query": "query: ", "document": "passage: "}
    small = tiny_model(tmp_path_factory.mktemp("models") / MATRYOSHKA, prompts=prompts, matryoshka_dimensions=[8, 16])
    return {
        name: Embedder.from_settings(
            load_settings(_env_file=None, embedding_model_name=path, embedding_dtype="float32")
        )
        for name, path in (("starter", None), (MATRYOSHKA, str(small)))
    }


@pytest.fixture(params=["starter"])
def worker(
    request: Any, settings: Settings, catalog: Catalog, redis_url: str, embedders: dict[str, Embedder]
) -> Iterator[QueryWorker]:
    worker = QueryWorker(settings.model_copy(update={"redis_url": redis_url}), catalog, embedders[request.param])
    yield worker
    worker.close()


@pytest.fixture
async def client(worker: QueryWorker, settings: Settings, catalog: Catalog, redis_url: str) -> AsyncIterator[Any]:
    served = settings.model_copy(update={"redis_url": redis_url, "embedding_token_ids": "own"})
    stream = JobStream(served, worker.producer)
    await stream.start()
    app = create_app(services=Services(served, catalog, BlobStore(Path(served.blobs_path)), stream, FakeHints()))
    app.state.services = Services(served, catalog, BlobStore(Path(served.blobs_path)), stream, FakeHints())
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
    async with openai.AsyncOpenAI(
        base_url="http://localhost/v1",
        api_key="none",
        max_retries=0,
        http_client=http,
        _strict_response_validation=True,
    ) as client:
        yield client
    await stream.close()


async def embed(client: openai.AsyncOpenAI, value: Any, **options: Any) -> np.ndarray[Any, Any]:
    options = {"encoding_format": "float"} | options
    answer = await client.embeddings.create(model="any", input=value, **options)
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return np.array([item.embedding for item in answer.data])


async def test_every_kind_of_input_gives_the_same_vectors(client: openai.AsyncOpenAI, embedders: Any) -> None:
    tokenizer = embedders["starter"]._tokenizer._tokenizer
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    expected = embedders["starter"].encode(TEXTS)
    for value, rows in ((TEXTS, slice(None)), (TEXTS[0], slice(1)), (ids, slice(None)), (ids[1], slice(1, 2))):
        np.testing.assert_allclose(await embed(client, value), expected[rows], atol=1e-5)


async def test_floats_and_base64_are_the_same_numbers(client: openai.AsyncOpenAI) -> None:
    floats = await embed(client, TEXTS)
    # The strict client rejects answers in base64.
    lenient = client.copy(_extra_kwargs={"_strict_response_validation": False})
    coded = await lenient.embeddings.create(model="any", input=TEXTS, encoding_format="base64")
    for one, other in zip(floats, coded.data, strict=True):
        assert isinstance(other.embedding, str), "the client decodes base64 only if it has chosen it itself"
        np.testing.assert_array_equal(np.float32(one), np.frombuffer(base64.b64decode(other.embedding), dtype="<f4"))
    unnamed = await lenient.embeddings.create(model="any", input=TEXTS)  # the client requests base64 and decodes it
    np.testing.assert_array_equal([item.embedding for item in unnamed.data], floats)


async def test_vectors_keep_their_order_have_length_one_and_do_not_depend_on_the_batch(
    client: openai.AsyncOpenAI,
) -> None:
    texts = [f"{text} {'more ' * (number * 7 % 50)}" for number, text in enumerate(TEXTS * 12)]
    together = await embed(client, texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for number in (0, 17, 47):
        np.testing.assert_allclose(together[number], (await embed(client, texts[number]))[0], atol=1e-5)


async def test_usage_is_the_sum_over_the_inputs(client: openai.AsyncOpenAI) -> None:
    batch, *single = [
        (await client.embeddings.create(model="any", input=value, encoding_format="float")).usage
        for value in (TEXTS, *TEXTS)
    ]
    assert batch.prompt_tokens == batch.total_tokens == sum(usage.prompt_tokens for usage in single) > len(TEXTS)


@pytest.mark.check
async def test_2048_inputs_are_embedded_and_one_more_is_refused(client: openai.AsyncOpenAI) -> None:
    assert (await embed(client, ["a", "b"] * 1024)).shape == (2048, 384)
    with pytest.raises(openai.BadRequestError, match="at most 2048") as caught:
        await embed(client, ["a"] * 2049)
    assert caught.value.param == "input"


async def test_inputs_over_the_models_window_are_cut_off(client: openai.AsyncOpenAI) -> None:
    window = await embed(client, "word " * 254)
    np.testing.assert_allclose(await embed(client, "word " * 300), window, atol=1e-5)
    answer = await client.embeddings.create(model="any", input="word " * 300, encoding_format="float")
    assert answer.usage.prompt_tokens == 300


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"input": "a", "dimensions": 128}, "dimensions"),
        ({"input": "a", "dimensions": 385}, "dimensions"),
        ({"input": [[100257]]}, "input"),
        ({"input": [101, 102]}, "input"),
    ],
)
async def test_unsupported_dimensions_and_foreign_token_ids_are_refused(
    client: openai.AsyncOpenAI, options: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.embeddings.create(model="any", **options)
    assert caught.value.param == param


async def test_the_models_own_number_of_dimensions_is_accepted(client: openai.AsyncOpenAI) -> None:
    np.testing.assert_array_equal(await embed(client, "a", dimensions=384), await embed(client, "a"))


@pytest.mark.parametrize("worker", [MATRYOSHKA], indirect=True)
async def test_a_matryoshka_model_gives_shorter_vectors(client: openai.AsyncOpenAI) -> None:
    whole = await embed(client, TEXTS)
    for length in (8, 16, DIMENSION):
        short = await embed(client, TEXTS, dimensions=length)
        expected = whole[:, :length] / np.linalg.norm(whole[:, :length], axis=1, keepdims=True)
        np.testing.assert_allclose(short, expected, atol=1e-5)
    with pytest.raises(openai.BadRequestError, match="can be shortened to 8, 16"):
        await embed(client, "a", dimensions=12)


@pytest.mark.parametrize("worker", [MATRYOSHKA], indirect=True)
async def test_input_type_puts_the_models_prompt_before_each_text(client: openai.AsyncOpenAI) -> None:
    for kind, prompt in (("query", "query: "), ("document", "passage: ")):
        asked = await embed(client, "router", extra_body={"input_type": kind})
        np.testing.assert_allclose(asked, await embed(client, f"{prompt}router"), atol=1e-5)
    with pytest.raises(openai.BadRequestError) as caught:
        await embed(client, "router", extra_body={"input_type": "poem"})
    assert caught.value.param == "input_type"
