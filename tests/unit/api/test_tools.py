"""Tools, legacy functions and structured output: what the worker gets, what is refused, and what the client gets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from core import events
from core.catalog import JobState
from core.messages import GenerateRequest, Usage
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import MODEL

CHAT = "/v1/chat/completions"
QUESTION: Any = [{"role": "user", "content": "How is the weather in Lisbon?"}]
PARAMETERS: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "weather", "description": "Now.", "parameters": PARAMETERS}}
CLOCK: Any = {"type": "function", "function": {"name": "clock"}}
PIECES = ['{"city"', ': "Lisbon"}']

pytestmark = pytest.mark.asyncio


def play_calls(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    assert isinstance(request, GenerateRequest)
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Accepted(**at, model=MODEL, prompt_tokens=12)
    yield events.TextDelta(**at, text="Let me see.")
    yield events.ToolCallDelta(**at, call_index=0, id="call_1", name="weather", token_ids=[1, 2])
    for piece in PIECES:
        yield events.ToolCallDelta(**at, call_index=0, arguments=piece)
    if request.parallel_tool_calls:
        yield events.ToolCallDelta(**at, call_index=1, id="call_2", name="clock")
        yield events.ToolCallDelta(**at, call_index=1, arguments="{}")
    yield events.ChoiceFinished(**at, finish_reason="tool_calls")
    yield events.Finished(**at, model=MODEL, usage=Usage(12, 5))


@pytest_asyncio.fixture
async def client(http: httpx.AsyncClient, stream: FakeJobStream) -> openai.AsyncOpenAI:
    stream.scripts["chat"] = play_calls
    return openai.AsyncOpenAI(
        api_key="unused",
        base_url="http://localhost/v1",
        http_client=http,
        max_retries=0,
        _strict_response_validation=True,
    )


async def test_calls_are_in_one_message(client: openai.AsyncOpenAI, stream: FakeJobStream) -> None:
    answer = await client.chat.completions.create(model="any", messages=QUESTION, tools=[WEATHER, CLOCK])

    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see."
    calls = [(call.id, call.function.name, call.function.arguments) for call in choice.message.tool_calls or ()]  # type: ignore[union-attr]
    assert calls == [("call_1", "weather", '{"city": "Lisbon"}'), ("call_2", "clock", "{}")]
    request = stream.submitted[0].request
    assert request.tools == [WEATHER, CLOCK]
    assert (request.tool_choice, request.tool_name, request.parallel_tool_calls) == ("auto", None, True)


async def test_a_call_that_is_cut_off_while_it_is_streamed_is_not_in_the_answer(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    def play(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
        at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
        yield events.Accepted(**at, model=MODEL, prompt_tokens=12)
        for number, pieces in enumerate((PIECES, PIECES[:1])):
            yield events.ToolCallDelta(**at, call_index=number, id=f"call_{number}", name="weather")
            for piece in pieces:
                yield events.ToolCallDelta(**at, call_index=number, arguments=piece)
        yield events.ChoiceFinished(**at, finish_reason="length")
        yield events.Finished(**at, model=MODEL, usage=Usage(12, 5))

    stream.scripts["chat"] = play
    answer = await http.post(CHAT, json={"messages": QUESTION, "tools": [WEATHER], "tool_choice": "required"})
    (choice,) = answer.json()["choices"]
    assert choice["finish_reason"] == "length"
    assert [call["id"] for call in choice["message"]["tool_calls"]] == ["call_0"]


async def test_a_stream_has_the_same_content(client: openai.AsyncOpenAI) -> None:
    plain = await client.chat.completions.create(model="any", messages=QUESTION, tools=[WEATHER, CLOCK])
    async with client.chat.completions.stream(model="any", messages=QUESTION, tools=[WEATHER, CLOCK]) as stream:
        streamed = await stream.get_final_completion()

    def calls(answer: Any) -> list[Any]:
        wire = answer.choices[0].message.tool_calls
        return [(call.id, call.type, call.function.name, call.function.arguments) for call in wire]

    assert calls(streamed) == calls(plain)
    assert streamed.choices[0].message.content == plain.choices[0].message.content
    assert streamed.choices[0].finish_reason == "tool_calls"


async def test_a_call_is_named_once_and_its_arguments_come_in_pieces(client: openai.AsyncOpenAI) -> None:
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            model="any", messages=QUESTION, tools=[WEATHER, CLOCK], stream=True
        )
    ]
    deltas = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]

    assert [delta.index for delta in deltas] == [0, 0, 0, 1, 1]
    assert [delta.id for delta in deltas] == ["call_1", None, None, "call_2", None]
    assert [delta.type for delta in deltas] == ["function", None, None, "function", None]
    assert [delta.function.name for delta in deltas if delta.function] == ["weather", None, None, "clock", None]
    assert "".join(delta.function.arguments or "" for delta in deltas[:3] if delta.function) == "".join(PIECES)


async def test_legacy_functions_get_legacy_answers(client: openai.AsyncOpenAI, stream: FakeJobStream) -> None:
    wanted: Any = {"functions": [WEATHER["function"]], "function_call": {"name": "weather"}}
    plain = await client.chat.completions.create(model="any", messages=QUESTION, **wanted)
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(model="any", messages=QUESTION, stream=True, **wanted)
    ]

    called = plain.choices[0].message.function_call
    assert called is not None and (called.name, called.arguments) == ("weather", '{"city": "Lisbon"}')
    assert plain.choices[0].message.tool_calls is None
    assert plain.choices[0].finish_reason == "function_call"
    deltas = [delta for chunk in chunks if (delta := chunk.choices[0].delta.function_call)]
    assert [delta.name for delta in deltas] == ["weather", None, None]
    assert "".join(delta.arguments or "" for delta in deltas) == called.arguments
    assert chunks[-1].choices[0].finish_reason == "function_call"
    request = stream.submitted[0].request
    assert request.tools == [WEATHER]
    assert (request.tool_choice, request.tool_name, request.parallel_tool_calls) == ("required", "weather", False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [CLOCK]}, ("auto", None)),
        ({"tools": [CLOCK], "tool_choice": "auto"}, ("auto", None)),
        ({"tools": [CLOCK], "tool_choice": "required"}, ("required", None)),
        ({"tools": [CLOCK], "tool_choice": {"type": "function", "function": {"name": "clock"}}}, ("required", "clock")),
        ({"functions": [{"name": "clock"}]}, ("auto", None)),
    ],
)
async def test_the_tool_choice_reaches_the_worker(
    http: httpx.AsyncClient, stream: FakeJobStream, fields: Any, expected: Any
) -> None:
    assert (await http.post(CHAT, json={"messages": QUESTION, **fields})).status_code == 200

    request = stream.submitted[0].request
    assert request.tools == [CLOCK]
    assert (request.tool_choice, request.tool_name) == expected


async def test_the_worker_gets_no_tools_if_none_may_be_called(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    assert (await http.post(CHAT, json={"messages": QUESTION, "tools": [CLOCK], "tool_choice": "none"})).is_success

    assert stream.submitted[0].request.tools == []


@pytest.mark.parametrize(
    ("form", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "place", "schema": PARAMETERS, "strict": True}}, PARAMETERS),
        ({"type": "json_schema", "json_schema": {"name": "any"}}, {"type": "object"}),
    ],
)
async def test_the_response_format_reaches_the_worker(
    http: httpx.AsyncClient, stream: FakeJobStream, form: Any, schema: Any
) -> None:
    assert (await http.post(CHAT, json={"messages": QUESTION, "response_format": form})).status_code == 200

    assert stream.submitted[0].request.answer_schema == schema


async def test_strict_schemas_are_named_to_the_worker(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    strict = {"type": "function", "function": {"name": "pay", "strict": True}}
    form = {"type": "json_schema", "json_schema": {"name": "any", "schema": PARAMETERS, "strict": True}}
    for body in ({"response_format": form}, {"response_format": {**form, "json_schema": {"name": "any"}}}):
        answer = await http.post(CHAT, json={"messages": QUESTION, "tools": [WEATHER, strict], **body})
        assert answer.status_code == 200
    first, second = (submitted.request for submitted in stream.submitted)
    assert (first.strict_tools, first.strict_answer) == (["pay"], True)
    assert second.strict_answer is False
    assert "strict" not in first.tools[1]["function"], "the prompt lists the function as its own program knows it"


async def test_what_an_answer_violates_of_its_schema_is_reported(
    client: openai.AsyncOpenAI, stream: FakeJobStream
) -> None:
    problems = ["$: its items are not unique"]

    def play(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
        at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
        yield events.Accepted(**at, model=MODEL, prompt_tokens=12)
        yield events.TextDelta(**at, text="[1, 1]")
        yield events.ChoiceFinished(**at, finish_reason="stop", schema_errors=problems)
        yield events.Finished(**at, model=MODEL, usage=Usage(12, 5))

    stream.scripts["chat"] = play
    answer = await client.chat.completions.create(model="any", messages=QUESTION)
    assert answer.choices[0].model_extra == {"schema_errors": problems}
    chunks = [
        chunk async for chunk in await client.chat.completions.create(model="any", messages=QUESTION, stream=True)
    ]
    ends = [(chunk.choices[0].finish_reason, chunk.choices[0].model_extra) for chunk in chunks if chunk.choices]
    assert ends[-1] == ("stop", {"schema_errors": problems})
    assert not any(extra for _, extra in ends[:-1])


def nested(levels: int) -> dict[str, Any]:
    return {"properties": {"a": nested(levels - 1)}} if levels else {}


SCHEMAS: list[Any] = [
    nested(20),
    {"type": "object", "properties": {f"p{at}": {} for at in range(257)}},
    {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}},
    {"type": "object", "properties": {"a": {"$ref": "other.json#/a"}}},
]


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_a_schema_over_the_limits_is_refused_by_its_field(http: httpx.AsyncClient, schema: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    for field, value, param in [
        ("response_format", form, "response_format.json_schema.schema"),
        ("tools", [CLOCK, {"type": "function", "function": {"name": "f", "parameters": schema}}],
         "tools.1.function.parameters"),
        ("functions", [{"name": "f", "parameters": schema}], "functions.0.parameters"),
    ]:  # fmt: skip
        answer = await http.post(CHAT, json={"messages": QUESTION, field: value})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, param), error


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0.type"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f\n"}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f" * 65}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
         "tools.0.function.parameters"),
        ({"tools": [CLOCK, CLOCK]}, "tools.1.function.name"),
        ({"tools": [CLOCK] * 129}, "tools"),
        ({"tools": [CLOCK], "functions": [{"name": "f"}]}, "functions"),
        ({"tools": [CLOCK], "tool_choice": {"type": "function", "function": {"name": "weather"}}}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call"),
        ({"function_call": {"name": "g"}}, "function_call"),
        ({"functions": [{}]}, "functions.0.name"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
         "response_format.json_schema.name"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
         "response_format.json_schema.name"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a" * 65, "schema": {}}}},
         "response_format.json_schema.name"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": [1]}}},
         "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object"}, "stop": "}"}, "stop"),
    ],
)  # fmt: skip
async def test_invalid_combinations_are_refused(
    http: httpx.AsyncClient, stream: FakeJobStream, fields: Any, param: str
) -> None:
    answer = await http.post(CHAT, json={"messages": QUESTION, **fields})

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
    assert stream.submitted == []


async def test_calls_in_the_history_reach_the_worker(http: httpx.AsyncClient, stream: FakeJobStream) -> None:
    history = [
        *QUESTION,
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function",
                                              "function": {"name": "clock", "arguments": ""}}]},
        {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "12:00"}]},
        {"role": "assistant", "content": None, "function_call": {"name": "clock", "arguments": "{}"}},
        {"role": "function", "name": "clock", "content": "12:01"},
    ]  # fmt: skip
    assert (await http.post(CHAT, json={"messages": history})).status_code == 200

    _, call, result, legacy_call, legacy_result = stream.submitted[0].request.messages
    assert call.tool_calls[0]["function"]["name"] == legacy_call.tool_calls[0]["function"]["name"] == "clock"
    assert (result.role, result.content, result.tool_call_id) == ("tool", "12:00", "c")
    assert (legacy_result.role, legacy_result.tool_call_id) == ("tool", legacy_call.tool_calls[0]["id"])


@pytest.mark.parametrize("legacy", [False, True])
async def test_an_asynchronous_job_answers_in_the_requested_form(
    http: httpx.AsyncClient, services: Any, legacy: bool
) -> None:
    fields: dict[str, Any] = {"functions": [{"name": "clock"}]} if legacy else {"tools": [CLOCK]}
    accepted = await http.post(CHAT, json={"messages": QUESTION, **fields}, headers={"prefer": "respond-async"})
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    result = {"model": MODEL, "choices": [{"text": "", "finish_reason": "tool_calls", "tool_calls": [call]}]}
    services.catalog.set_job_running(accepted.json()["id"], 1)
    services.catalog.finish_job(accepted.json()["id"], JobState.COMPLETED, result=json.dumps(result))
    job = (await http.get(accepted.headers["location"])).json()

    assert job["endpoint"] == CHAT
    (choice,) = job["result"]["choices"]
    wire = {"function_call": call["function"]} if legacy else {"tool_calls": [call]}
    assert choice["message"] == {"role": "assistant", "content": None, "refusal": None, **wire}
    assert choice["finish_reason"] == ("function_call" if legacy else "tool_calls")
