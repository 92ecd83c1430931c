"""Chat, streaming, completions, embeddings and models with the official client, which validates every field."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import EMBEDDER, HIT, MODEL, RERANKER, WORDS

TEXT = "".join(WORDS)
QUESTION: Any = [{"role": "user", "content": "How long is the warranty?"}]

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def client(http: httpx.AsyncClient) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        api_key="unused",
        base_url="http://localhost/v1",
        http_client=http,
        max_retries=0,
        _strict_response_validation=True,
    )


async def test_a_chat_answers_with_the_loaded_model(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="llama-2-7b-chat", messages=QUESTION)

    assert answer.model == MODEL
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].message.refusal is None
    assert answer.choices[0].logprobs is None
    assert answer.usage is not None and answer.usage.total_tokens == 17


async def test_a_stream_says_the_same_as_the_plain_answer(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="any", messages=QUESTION, stream=True, n=2, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]

    *parts, last = chunks
    deltas = [choice for chunk in parts for choice in chunk.choices]
    for index in (0, 1):
        mine = [choice for choice in deltas if choice.index == index]
        assert [choice.delta.role for choice in mine] == ["assistant"] + [None] * (len(WORDS) + 1)
        assert [choice.delta.content for choice in mine[1:-1]] == WORDS
        assert [choice.finish_reason for choice in mine] == [None] * (len(WORDS) + 1) + ["stop"]
    assert last.choices == [] and last.usage is not None and last.usage.completion_tokens == 10
    assert all(chunk.usage is None for chunk in parts)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


async def test_the_tokens_of_logprobs_join_to_the_text(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="any", messages=QUESTION, logprobs=True, top_logprobs=1)

    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert "".join(token.token for token in logprobs.content) == TEXT
    assert logprobs.content[0].top_logprobs[0].logprob == -0.5


async def test_sources_come_as_an_extension_before_the_first_token(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="any", messages=QUESTION, stream=True, extra_body={"rag": {"collection": "default", "top_k": 2}}
    )
    chunks = [chunk async for chunk in stream]

    assert chunks[0].sources[0]["document_id"] == HIT.document_id  # type: ignore[attr-defined]
    assert chunks[0].choices[0].delta.content is None


async def test_a_legacy_completion(client: openai.AsyncOpenAI, http: httpx.AsyncClient) -> None:
    answer = await client.completions.create(model="any", prompt="How long is the warranty?")
    # In streams of this endpoint the strict client requires a finish_reason in every chunk, which is only in the last.
    lenient = openai.AsyncOpenAI(api_key="unused", base_url="http://localhost/v1", http_client=http, max_retries=0)
    stream = await lenient.completions.create(model="any", prompt="How long is the warranty?", stream=True)

    assert answer.choices[0].text == TEXT
    assert "".join([chunk.choices[0].text async for chunk in stream]) == TEXT


async def test_embeddings_keep_their_order(client: openai.AsyncOpenAI, http: httpx.AsyncClient) -> None:
    answer = await client.embeddings.create(model="any", input=["one", "two"], encoding_format="float")
    # By default the client requests base64 and decodes it, but its own strict validation rejects that.
    lenient = openai.AsyncOpenAI(api_key="unused", base_url="http://localhost/v1", http_client=http, max_retries=0)
    decoded = await lenient.embeddings.create(model="any", input=["one", "two"])

    assert [entry.embedding for entry in answer.data] == [[0.0, 0.5, -1.0], [1.0, 0.5, -1.0]]
    assert [entry.embedding for entry in decoded.data] == [[0.0, 0.5, -1.0], [1.0, 0.5, -1.0]]
    assert answer.model == EMBEDDER
    assert answer.usage.total_tokens == 8


async def test_the_loaded_models_are_listed(client: openai.AsyncOpenAI) -> None:
    models = [model async for model in client.models.list()]

    assert [model.id for model in models] == [MODEL, EMBEDDER, RERANKER]
    assert (await client.models.retrieve(MODEL)).created == 1
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-4")


async def test_a_refusal_is_an_exception_of_its_status(client: openai.AsyncOpenAI, stream: FakeJobStream) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            model="any", messages=QUESTION, web_search_options={"search_context_size": "low"}
        )

    assert refused.value.code == "unsupported_parameter"
    assert refused.value.param == "web_search_options"
    assert stream.submitted == []
