"""Functions that the server runs: what the worker gets, what is refused, and what the client gets."""

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
from core.messages import DEFAULT_TOOL_ROUNDS, Usage
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import MODEL

CHAT = "/v1/chat/completions"
QUESTION: Any = [{"role": "user", "content": "How is the weather in Lisbon?"}]
OWN: Any = {"type": "function", "function": {"name": "own"}}
RAN = [
    {"id": "call_1", "name": "get_current_weather", "arguments": '{"city": "Lisbon"}', "result": {"celsius": 21},
     "error": None},
    {"id": "call_2", "name": "broken", "arguments": "{}", "result": None, "error": "It is broken."},
]  # fmt: skip
ALL: Any = {"server_tools": "all"}

pytestmark = pytest.mark.asyncio


def play_rounds(job_id: str, request: Any, kind: str) -> Iterator[events.AnyEvent]:
    at: dict[str, Any] = {"job_id": job_id, "attempt": 1}
    yield events.Accepted(**at, model=MODEL, prompt_tokens=12)
    yield events.TextDelta(**at, text="Let me see.")
    yield events.ToolCallDelta(**at, call_index=0, server=True, id="call_1", name="get_current_weather")
    for piece in ('{"city"', ': "Lisbon"}'):
        yield events.ToolCallDelta(**at, call_index=0, server=True, arguments=piece)
    yield events.ToolCallDelta(**at, call_index=1, server=True, id="call_2", name="broken")
    yield events.ToolCallDelta(**at, call_index=1, server=True, arguments="{}")
    yield events.TextDelta(**at, text="\n\n")
    yield events.RoundFinished(**at, finish_reason="tool_calls", usage=Usage(12, 5))
    yield events.ToolResult(**at, call_id="call_2", name="broken", error="It is broken.")
    yield events.ToolResult(**at, call_id="call_1", name="get_current_weather", result={"celsius": 21})
    yield events.TextDelta(**at, text="21 degrees.")
    if request.tools:
        yield events.ToolCallDelta(**at, call_index=0, id="call_3", name="own", arguments="{}")
    yield events.ChoiceFinished(**at, finish_reason="tool_calls" if request.tools else "stop")
    yield events.Finished(**at, model=MODEL, usage=Usage(40, 9))


@pytest_asyncio.fixture
async def client(http: httpx.AsyncClient, stream: FakeJobStream) -> openai.AsyncOpenAI:
    stream.scripts["chat"] = play_rounds
    return openai.AsyncOpenAI(
        api_key="unused",
        base_url="http://localhost/v1",
        http_client=http,
        max_retries=0,
        _strict_response_validation=True,
    )


async def test_the_message_has_the_calls_that_the_server_ran(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="any", messages=QUESTION, extra_body=ALL)

    (choice,) = answer.choices
    assert choice.message.content == "Let me see.\n\n21 degrees."
    assert choice.message.tool_calls is None, "a client would run them again"
    assert choice.message.model_extra == {"tool_results": RAN}
    assert answer.usage and answer.usage.total_tokens == 49


async def test_a_stream_has_the_same_content(client: openai.AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model="any", messages=QUESTION, extra_body=ALL) as stream:
        streamed: Any = await stream.get_final_completion()

    message = streamed.choices[0].message
    assert message.content == "Let me see.\n\n21 degrees." and not message.tool_calls
    assert [{key: call[key] for key in call if key != "index"} for call in message.tool_results] == RAN
    assert [call["index"] for call in message.tool_results] == [0, 1]


async def test_calls_and_results_are_streamed_one_by_one(client: openai.AsyncOpenAI) -> None:
    chunks: Any = await client.chat.completions.create(model="any", messages=QUESTION, stream=True, extra_body=ALL)
    deltas = [
        call
        for event in [chunk async for chunk in chunks]
        for call in getattr(event.choices[0].delta, "tool_results", [])
    ]

    assert deltas == [
        {"index": 0, "id": "call_1", "name": "get_current_weather", "arguments": ""},
        {"index": 0, "arguments": '{"city"'},
        {"index": 0, "arguments": ': "Lisbon"}'},
        {"index": 1, "id": "call_2", "name": "broken", "arguments": ""},
        {"index": 1, "arguments": "{}"},
        {"index": 1, "result": None, "error": "It is broken."},
        {"index": 0, "result": {"celsius": 21}, "error": None},
    ]


async def test_calls_for_the_client_and_calls_of_the_server_are_in_one_message(client: openai.AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model="any", messages=QUESTION, tools=[OWN], extra_body=ALL)

    (choice,) = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert [call.id for call in choice.message.tool_calls or ()] == ["call_3"]
    assert (choice.message.model_extra or {})["tool_results"] == RAN


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"server_tools": "all"}, ("all", DEFAULT_TOOL_ROUNDS, "auto", None)),
        ({"server_tools": ["a", "b", "a"], "max_tool_rounds": 2}, (["a", "b"], 2, "auto", None)),
        ({"server_tools": ["a"], "tool_choice": "required"}, (["a"], DEFAULT_TOOL_ROUNDS, "required", None)),
        ({"server_tools": ["a"], "tool_choice": {"type": "function", "function": {"name": "a"}}},
         (["a"], DEFAULT_TOOL_ROUNDS, "required", "a")),
        ({"server_tools": "all", "tool_choice": {"type": "function", "function": {"name": "a"}}},
         ("all", DEFAULT_TOOL_ROUNDS, "required", "a")),
        ({"server_tools": ["a"], "functions": [{"name": "f"}], "function_call": {"name": "a"}},
         (["a"], DEFAULT_TOOL_ROUNDS, "required", "a")),
        ({"server_tools": ["a"], "tool_choice": "none"}, ([], DEFAULT_TOOL_ROUNDS, "auto", None)),
        ({"server_tools": []}, ([], DEFAULT_TOOL_ROUNDS, "auto", None)),
        ({"server_tools": None, "max_tool_rounds": None}, ([], DEFAULT_TOOL_ROUNDS, "auto", None)),
    ],
)  # fmt: skip
async def test_server_tools_and_the_choice_reach_the_worker(
    http: httpx.AsyncClient, stream: FakeJobStream, fields: dict[str, Any], sent: Any
) -> None:
    assert (await http.post(CHAT, json={"messages": QUESTION, **fields})).status_code == 200

    request = stream.submitted[0].request
    assert (request.server_tools, request.max_tool_rounds, request.tool_choice, request.tool_name) == sent


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"server_tools": "some"}, "server_tools"),
        ({"server_tools": ["not a name"]}, "server_tools"),
        ({"server_tools": {"a": 1}}, "server_tools"),
        ({"server_tools": ["a"] * 129}, "server_tools"),
        ({"server_tools": ["a"], "max_tool_rounds": 0}, "max_tool_rounds"),
        ({"server_tools": ["a"], "max_tool_rounds": 33}, "max_tool_rounds"),
        ({"server_tools": ["a"], "max_tool_rounds": "2"}, "max_tool_rounds"),
        ({"server_tools": ["a"], "n": 2}, "n"),
        ({"server_tools": ["a"], "tool_choice": {"type": "function", "function": {"name": "b"}}}, "tool_choice"),
        ({"server_tools": [], "tool_choice": "required"}, "tool_choice"),
        ({"functions": [{"name": "f"}], "server_tools": ["a"], "function_call": {"name": "b"}}, "function_call"),
    ],
)
async def test_invalid_combinations_are_refused(
    http: httpx.AsyncClient, stream: FakeJobStream, fields: dict[str, Any], param: str
) -> None:
    answer = await http.post(CHAT, json={"messages": QUESTION, **fields})

    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].split(".")[0] == param
    assert stream.submitted == []


async def test_the_error_for_a_wrong_type_lists_the_allowed_ones(http: httpx.AsyncClient) -> None:
    answer = await http.post(CHAT, json={"messages": QUESTION, "server_tools": "some"})
    assert answer.json()["error"]["message"] == "Invalid 'server_tools': Input should be a valid list, or 'all'"


async def test_the_server_calls_can_be_sent_back_with_the_message(
    http: httpx.AsyncClient, stream: FakeJobStream
) -> None:
    answered = {"role": "assistant", "content": "21 degrees.", "refusal": None, "tool_results": RAN}
    assert (await http.post(CHAT, json={"messages": [*QUESTION, answered, *QUESTION]})).status_code == 200

    _, calls, first, second, said, _ = stream.submitted[0].request.messages
    assert [call["id"] for call in calls.tool_calls] == ["call_1", "call_2"]
    assert (first.role, first.tool_call_id, json.loads(first.content)) == ("tool", "call_1", {"celsius": 21})
    assert json.loads(second.content) == {"error": "It is broken."}
    assert (said.content, said.tool_calls) == ("21 degrees.", None)


async def test_the_result_of_an_asynchronous_job_has_the_server_calls(http: httpx.AsyncClient, services: Any) -> None:
    accepted = await http.post(CHAT, json={"messages": QUESTION, **ALL}, headers={"prefer": "respond-async"})
    result = {"model": MODEL, "choices": [{"text": "Hot.", "finish_reason": "stop", "tool_results": RAN}]}
    services.catalog.set_job_running(accepted.json()["id"], 1)
    services.catalog.finish_job(accepted.json()["id"], JobState.COMPLETED, result=json.dumps(result))
    job = (await http.get(accepted.headers["location"])).json()

    assert job["result"]["choices"][0]["message"]["tool_results"] == RAN


async def test_extensions_are_marked_in_the_openapi_document(http: httpx.AsyncClient) -> None:
    schemas = (await http.get("/openapi.json")).json()["components"]["schemas"]
    for name, fields in {
        "ChatRequest": ("server_tools", "max_tool_rounds", "rag", "top_k"),
        "AssistantMessage": ("tool_results",),
        "ChatCompletion": ("sources", "timings"),
    }.items():
        for field in fields:
            assert schemas[name]["properties"][field]["x-extension"] is True, field
    assert "x-extension" not in schemas["ChatRequest"]["properties"]["tools"]
