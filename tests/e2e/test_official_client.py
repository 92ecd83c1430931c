"""The official client, with strict validation, for every operation: sync and async, streamed and not."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel

from tests.support import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.asyncio]

QUESTION: Any = [{"role": "user", "content": "How is the weather in Paris?"}]
ASK: dict[str, Any] = {"model": "any", "messages": QUESTION, "temperature": 0, "max_tokens": 16}
PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {"unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["unit"],
    "additionalProperties": False,
}
#: A fixed answer, which does not depend on what else runs: the size of a batch changes rounding and thereby near ties.
SENTENCE = "Mild, with a little rain — and a café’s warmth — in the evening. 🌦"
SAY: Any = {"type": "json_schema", "json_schema": {"name": "said", "schema": {"const": SENTENCE}}}
#: The id of " tea" in the starter model; with a bias of 100, it is the only token that is generated.
TEA = "7188"
FUNCTION: Any = {"name": "get_weather", "parameters": PARAMETERS}
TOOL: Any = {"type": "function", "function": FUNCTION}


class Person(BaseModel):
    likes_tea: bool


@pytest_asyncio.fixture(params=[openai.OpenAI, openai.AsyncOpenAI])
async def api(request: pytest.FixtureRequest, stack: Stack) -> AsyncIterator[Any]:
    client = request.param(
        base_url=f"{stack.base_url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    )
    yield client
    await done(client.close())


def lenient(api: Any) -> Any:
    """Return the client without strict validation, for answers that it would refuse from OpenAI too."""
    return api.with_options(_extra_kwargs={"_strict_response_validation": False})


async def done(value: Any) -> Any:
    """Return the value of a call of either client."""
    return await value if inspect.isawaitable(value) else value


async def items(stream: Any) -> list[Any]:
    """Return all items of a stream or page of either client."""
    stream = await done(stream) if not hasattr(stream, "__aiter__") else stream
    return [item async for item in stream] if hasattr(stream, "__aiter__") else list(stream)


async def final(manager: Any) -> Any:
    """Return the final completion of `chat.completions.stream`, also if `max_tokens` cut it: then the client raises."""
    try:
        if hasattr(manager, "__aenter__"):
            async with manager as stream:
                return await stream.get_final_completion()
        with manager as stream:
            return stream.get_final_completion()
    except openai.LengthFinishReasonError as cut:
        return cut.completion


async def test_chat(api: Any) -> None:
    asked = {**ASK, "max_tokens": 80, "response_format": SAY}
    plain = await done(api.chat.completions.create(**asked))
    usage = {"stream_options": {"include_usage": True}}
    chunks = await items(await done(api.chat.completions.create(**asked, **usage, stream=True)))

    text = plain.choices[0].message.content
    assert json.loads(text) == SENTENCE
    assert text == "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert len(chunks) > 5
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[-1].usage.prompt_tokens == plain.usage.prompt_tokens
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


async def test_the_client_assembles_a_chat_from_its_stream(api: Any) -> None:
    answer = await final(api.chat.completions.stream(**ASK))
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")


async def test_choices_and_log_probabilities(api: Any) -> None:
    asked = {**ASK, "max_tokens": 6, "n": 2, "logprobs": True, "top_logprobs": 2, "seed": 7, "temperature": 0.8}
    plain = await done(api.chat.completions.create(**asked))
    streamed = await final(api.chat.completions.stream(**asked))

    assert [choice.index for choice in plain.choices] == [choice.index for choice in streamed.choices] == [0, 1]
    for choice in (*plain.choices, *streamed.choices):
        assert "".join(entry.token for entry in choice.logprobs.content) == choice.message.content
        assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content)


async def test_tools(api: Any) -> None:
    asked = {**ASK, "max_tokens": 80, "tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    plain = await done(api.chat.completions.create(**asked))
    streamed = await final(api.chat.completions.stream(**asked))

    for answer in (plain, streamed):
        assert answer.choices[0].finish_reason == "tool_calls"
        for call in answer.choices[0].message.tool_calls:
            assert call.function.name == "get_weather"
            assert json.loads(call.function.arguments)["unit"] in ("celsius", "fahrenheit")


async def test_legacy_functions(api: Any) -> None:
    asked = {**ASK, "max_tokens": 80, "functions": [FUNCTION], "function_call": {"name": "get_weather"}}
    plain = await done(api.chat.completions.create(**asked))
    chunks = await items(await done(api.chat.completions.create(**asked, stream=True)))

    deltas = [chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices[0].delta.function_call]
    called = plain.choices[0].message.function_call
    assert [delta.name for delta in deltas if delta.name] == [called.name] == ["get_weather"]
    for arguments in (called.arguments, "".join(delta.arguments for delta in deltas)):
        assert json.loads(arguments)["unit"] in ("celsius", "fahrenheit")
    assert plain.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "function_call"


async def test_structured_output(api: Any) -> None:
    asked = {**ASK, "max_tokens": 40}
    plain = await done(api.chat.completions.parse(**asked, response_format=Person))
    streamed = await final(api.chat.completions.stream(**asked, response_format=Person))
    anything = await done(api.chat.completions.create(**asked, response_format={"type": "json_object"}))

    assert isinstance(plain.choices[0].message.parsed, Person)
    assert isinstance(streamed.choices[0].message.parsed, Person)
    assert anything.choices[0].finish_reason == "stop"
    assert isinstance(json.loads(anything.choices[0].message.content), dict)


async def test_functions_of_the_server(api: Any) -> None:
    extensions = {"server_tools": ["get_current_time"], "max_tool_rounds": 1}
    # The question has the time zone and one call is enough, so that the test depends little on the model.
    question = [{"role": "user", "content": "What time is it in UTC?"}]
    one = {"tool_choice": "required", "parallel_tool_calls": False}
    asked = {**ASK, "messages": question, "max_tokens": 50, **one, "extra_body": extensions}
    plain = await done(api.chat.completions.create(**asked))
    streamed = await final(api.chat.completions.stream(**asked))

    for answer in (plain, streamed):
        message = answer.choices[0].message
        assert not message.tool_calls
        assert [result["name"] for result in message.tool_results] == ["get_current_time"]


async def test_chat_with_documents(api: Any, http: httpx.Client) -> None:
    text = {"texts": ["The lift of Nazare climbs 318 metres."], "collection": "lifts"}
    assert http.post("/v1/rag/documents", json=text).is_success
    question = [{"role": "user", "content": "How far does the lift of Nazare climb?"}]
    asked = {**ASK, "messages": question, "extra_body": {"rag": {"collection": "lifts"}}}
    plain = await done(api.chat.completions.create(**asked))
    first, *_ = await items(await done(api.chat.completions.create(**asked, stream=True)))

    for answer in (plain, first):
        assert [source["text"] for source in answer.sources] == text["texts"]


async def test_completions(api: Any) -> None:
    asked: dict[str, Any] = {"model": "any", "prompt": "Once", "max_tokens": 12, "logit_bias": {TEA: 100}}
    plain = await done(api.completions.create(**asked))
    # Only the last chunk has a finish_reason, with OpenAI too, and the strict client refuses chunks without one.
    chunks = await items(await done(lenient(api).completions.create(**asked, stream=True)))

    assert plain.choices[0].text.split() == ["tea"] * 12
    assert plain.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks)
    assert plain.choices[0].finish_reason == chunks[-1].choices[0].finish_reason


async def test_raw_completions(api: Any) -> None:
    counting: dict[str, Any] = {"model": "any", "temperature": 0, "max_tokens": 8}
    both = await done(api.completions.create(**counting, prompt=["1, 2, 3, 4, 5,", "a, b, c, d,"], n=2))
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert both.choices[1].text.lstrip().startswith("6") and both.choices[2].text.lstrip().startswith("e")

    asked: dict[str, Any] = {**counting, "prompt": "1, 2, 3, 4, 5,", "echo": True, "logprobs": 2}
    # The first token of a prompt has no probability, with OpenAI too, and the strict client refuses such an entry.
    plain = await done(lenient(api).completions.create(**asked))
    chunks = await items(await done(lenient(api).completions.create(**asked, stream=True)))
    pieces = [chunk.choices[0].logprobs for chunk in chunks if chunk.choices[0].logprobs]
    assert plain.choices[0].text == "".join(chunk.choices[0].text for chunk in chunks)
    assert plain.choices[0].logprobs.tokens == [token for piece in pieces for token in piece.tokens]
    assert plain.choices[0].logprobs.token_logprobs[0] is None
    assert plain.usage.prompt_tokens + plain.usage.completion_tokens == len(plain.choices[0].logprobs.tokens)

    with pytest.raises(openai.BadRequestError) as refused:
        await done(api.completions.create(**counting, prompt="a", suffix="b"))
    assert refused.value.param == "suffix"


async def test_an_answer_that_the_client_begins(api: Any, http: httpx.Client) -> None:
    begun: Any = [*QUESTION, {"role": "assistant", "content": "In Paris, it is"}]
    extra = {"continue_final_message": True, "add_generation_prompt": False}
    answer = await done(api.chat.completions.create(**{**ASK, "messages": begun}, extra_body=extra))
    counted = http.post("/v1/tokenize", json={"messages": begun, **extra}).json()
    assert answer.choices[0].message.content and answer.usage.prompt_tokens == counted["count"]
    assert http.post("/v1/detokenize", json={"tokens": counted["tokens"]}).json()["prompt"].endswith("In Paris, it is")


async def test_embeddings(api: Any) -> None:
    # Without a format, the client asks for base64, and validates the answer before it has decoded it.
    packed = await done(lenient(api).embeddings.create(model="any", input=["one", "two"]))
    both = await done(api.embeddings.create(model="any", input=["one", "two"], encoding_format="float"))
    alone = await done(api.embeddings.create(model="any", input="two", encoding_format="float"))

    for answer in (packed, both):
        assert [entry.index for entry in answer.data] == [0, 1]
        assert answer.data[1].embedding == pytest.approx(alone.data[0].embedding, abs=4e-3)
        assert answer.usage.total_tokens > alone.usage.total_tokens > 0


async def test_models(api: Any) -> None:
    models = {model.id: model for model in await items(api.models.list())}
    assert {"chat", "embeddings"} == {model.kind for model in models.values()}
    for name in models:
        assert (await done(api.models.retrieve(name))).id == name
    with pytest.raises(openai.NotFoundError):
        await done(api.models.retrieve("none"))


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_refusal(api: Any, streamed: bool) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await done(api.chat.completions.create(**{**ASK, "logit_bias": {"99999999": 1}}, stream=streamed))
    assert refused.value.param == "logit_bias" and "99999999" in refused.value.message
