"""Histories and formats of answers as clients write them: taken, or refused by name, but never ignored."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.conversation_tasks import is_conversation_task
from api.dependencies import Services
from api.schemas.messages import MAX_MESSAGES, MAX_PARTS
from api.sse import data_frame, event_frame
from core.errors import ConfigurationError
from core.messages import GenerateRequest
from core.settings import load_settings
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import EMBEDDER, MODEL, client_of
from tests.unit.api.test_errors import CHAT, MESSAGES, error_of

pytestmark = pytest.mark.asyncio

USER = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


async def asked(http: httpx.AsyncClient, stream: FakeJobStream, **body: Any) -> GenerateRequest:
    answer = await http.post(CHAT, json={"messages": MESSAGES} | body)
    assert answer.status_code == 200, answer.text
    request: GenerateRequest = stream.submitted[-1].request
    return request


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"role": "assistant", "content": None}, ""),
        ({"role": "assistant"}, ""),
        ({"role": "assistant", "content": None, "tool_calls": []}, ""),
        ({"role": "assistant", "content": "Yes.", "tool_calls": [], "function_call": None}, "Yes."),
        ({"role": "assistant", "content": None, "refusal": "I cannot."}, "I cannot."),
        ({"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]}, "I cannot."),
        ({"role": "assistant", "reasoning_content": "Hm.", "reasoning": "Hm."}, ""),
        ({"role": "assistant", "content": None, "tool_calls": [CALL]}, None),
        ({"role": "assistant", "content": None, "tool_calls": [CALL | {"type": ""}]}, None),
        ({"role": "assistant", "content": "", "tool_calls": [CALL | {"type": None}]}, ""),
        ({"role": "assistant", "function_call": {"name": "f", "arguments": None}}, None),
        ({"role": "tool", "tool_call_id": "call_1", "content": None}, ""),
        ({"role": "tool", "tool_call_id": "call_1"}, ""),
        ({"role": "function", "name": "f", "content": None}, ""),
    ],
)
async def test_messages_of_earlier_answers_are_taken_as_they_are(
    http: httpx.AsyncClient, stream: FakeJobStream, message: dict[str, Any], content: str | None
) -> None:
    turn = (await asked(http, stream, messages=[USER, message, USER])).messages[1]
    assert turn.content == content
    if message.get("tool_calls"):
        assert turn.tool_calls == [CALL]


@pytest.mark.parametrize("field", ["messages", "parts", "calls"])
async def test_numbers_of_messages_and_parts_are_bounded(services: Services, field: str) -> None:
    part = {"type": "text", "text": ""}
    messages: list[Any] = {
        "messages": [USER] * (MAX_MESSAGES + 1),
        "parts": [{"role": "user", "content": [part] * (MAX_PARTS // 2 + 1)}] * 2,
        "calls": [{"role": "assistant", "tool_calls": [CALL] * (MAX_PARTS // 2 + 1)}] * 2,
    }[field]
    settings = services.settings.model_copy(update={"max_body_bytes": 20 * 2**20})
    body = json.dumps({"messages": messages})
    async with client_of(replace(services, settings=settings)) as client:
        error = error_of(await client.post(CHAT, content=body, headers={"content-type": "application/json"}), 400)
    assert error["param"] == "messages"
    assert f"at most {MAX_MESSAGES if field == 'messages' else MAX_PARTS} " in error["message"]


async def test_the_number_of_logit_biases_is_bounded(http: httpx.AsyncClient) -> None:
    body = {"messages": MESSAGES, "logit_bias": {str(token): 1 for token in range(4097)}}
    assert error_of(await http.post(CHAT, json=body), 400)["param"] == "logit_bias"


@pytest.mark.parametrize(
    ("body", "schema", "pattern"),
    [
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, SCHEMA, None),
        ({"response_format": {"type": "json_object"}}, {"type": "object"}, None),
        ({"guided_json": SCHEMA}, SCHEMA, None),
        ({"guided_json": json.dumps(SCHEMA)}, SCHEMA, None),
        ({"json_schema": SCHEMA}, SCHEMA, None),
        ({"structured_outputs": {"json": SCHEMA}}, SCHEMA, None),
        ({"structured_outputs": {"json_object": True}}, {"type": "object"}, None),
        ({"structured_outputs": {"json": SCHEMA, "regex": None}}, SCHEMA, None),
        ({"guided_regex": "[0-9]+"}, None, "[0-9]+"),
        ({"structured_outputs": {"regex": "a|b"}}, None, "a|b"),
        ({"guided_choice": ["yes", "no (really)", "a.b"]}, None, r"yes|no \(really\)|a\.b"),
        ({"structured_outputs": {"choice": ["x"]}}, None, "x"),
        ({"guided_json": None, "structured_outputs": {}}, None, None),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/rag/chat"])
async def test_formats_of_other_servers_are_enforced(
    http: httpx.AsyncClient, stream: FakeJobStream, path: str, body: dict[str, Any], schema: Any, pattern: str | None
) -> None:
    if path != CHAT and "response_format" in body:
        return
    answer = await http.post(path, json={"messages": MESSAGES, "prompt": "Hello", "query": "Hello"} | body)
    assert answer.status_code == 200, answer.text
    request = stream.submitted[-1].request
    assert (request.answer_schema, request.answer_pattern) == (schema, pattern)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"grammar": 'root ::= "a"'}, "grammar"),
        ({"guided_grammar": "start: A"}, "guided_grammar"),
        ({"guided_whitespace_pattern": " "}, "guided_whitespace_pattern"),
        ({"structured_outputs": {"grammar": "x"}}, "structured_outputs.grammar"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": "json"}, "structured_outputs"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": 5}, "guided_json"),
        ({"guided_json": {"$ref": "http://x"}}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": ["a", ""]}, "guided_choice"),
        ({"guided_choice": "yes"}, "guided_choice"),
        ({"guided_choice": ["x" * 20_000]}, "guided_choice"),
        ({"guided_regex": ""}, "guided_regex"),
        ({"guided_regex": ["a"]}, "guided_regex"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, "guided_regex"),
        ({"guided_json": SCHEMA, "structured_outputs": {"json": SCHEMA}}, "structured_outputs.json"),
    ],
)
@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/v1/rag/chat"])
async def test_formats_that_cannot_be_enforced_are_refused_by_name(
    http: httpx.AsyncClient, path: str, body: dict[str, Any], param: str
) -> None:
    answer = await http.post(path, json={"messages": MESSAGES, "prompt": "Hello", "query": "Hello"} | body)
    assert error_of(answer, 400)["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"guided_regex": "a", "stop": "b"}, "stop"),
        ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex"),
        ({"guided_regex": "a", "tools": [{"type": "function", "function": {"name": "f"}}]}, "guided_regex"),
    ],
)
async def test_formats_that_contradict_other_fields_are_refused(
    http: httpx.AsyncClient, body: dict[str, Any], param: str
) -> None:
    assert error_of(await http.post(CHAT, json={"messages": MESSAGES} | body), 400)["param"] == param


TOOLS = [{"type": "function", "function": {"name": name}} for name in ("get_weather", "get_time")]


def allowing(mode: str, *names: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}}


@pytest.mark.parametrize("mode", ["auto", "required"])
async def test_allowed_tools_keep_all_tools_in_the_prompt(
    http: httpx.AsyncClient, stream: FakeJobStream, mode: str
) -> None:
    request = await asked(http, stream, **allowing(mode, "get_time"))
    assert [tool["function"]["name"] for tool in request.tools] == ["get_weather", "get_time"]
    assert (request.tool_choice, request.allowed_tools) == (mode, ["get_time"])


@pytest.mark.parametrize(
    "choice",
    [allowing("auto", "unknown"), allowing("required"), allowing("none", "get_time"), allowing("", "get_time")],
)
async def test_allowed_tools_must_be_declared(http: httpx.AsyncClient, choice: dict[str, Any]) -> None:
    error = error_of(await http.post(CHAT, json={"messages": MESSAGES} | choice), 400)
    assert error["param"].startswith("tool_choice.allowed_tools")


@pytest.mark.parametrize(("given", "used"), [(-1, 0), (0, 0), (40, 40)])
async def test_minus_one_is_no_limit_for_top_k(
    http: httpx.AsyncClient, stream: FakeJobStream, given: int, used: int
) -> None:
    assert (await asked(http, stream, top_k=given)).sampling.top_k == used


async def test_frames_have_no_character_that_clients_take_for_the_end_of_a_line() -> None:
    text = "a\u2028b\u2029c\x85d\x0be\x1cf\n🙂"
    frames = [data_frame({"text": text}), event_frame(1, "text_delta", json.dumps({"text": text}).encode())]
    frames.append(event_frame(1, "text_delta", json.dumps({"text": text}, ensure_ascii=False).encode()))
    for frame in frames:
        lines = frame.decode().splitlines()
        assert [line for line in lines if line] == frame.decode().strip("\n").split("\n")
        (data,) = (line.removeprefix("data: ") for line in lines if line.startswith("data: "))
        assert json.loads(data)["text"] == text


@pytest.mark.parametrize(
    ("model", "setting", "status"),
    [(EMBEDDER, "named", 200), (None, "named", 200), ("text-embedding-3-small", "named", 400), ("other", "own", 200)],
)
@pytest.mark.parametrize("value", [[1, 2], [[1], [2, 3]]])
async def test_token_ids_of_another_vocabulary_are_refused(
    services: Services, model: str | None, setting: str, status: int, value: Any
) -> None:
    settings = services.settings.model_copy(update={"embedding_token_ids": setting})
    async with client_of(replace(services, settings=settings)) as client:
        answer = await client.post("/v1/embeddings", json={"input": value, "model": model})
        text = await client.post("/v1/embeddings", json={"input": "text", "model": model})
    assert (answer.status_code, text.status_code) == (status, 200)
    if status == 400:
        assert "EMBEDDING_TOKEN_IDS" in error_of(answer, 400)["message"]


TASKS = [
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n<chat_history>…",
    "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally ask next",
    "Provide a concise, 5-word-or-less title for the conversation, using title case conventions.",
    "Detect user language and write in the same language an extremely concise title for this conversation, which",
    "Please summarize the above conversation into a title of 10 words or less.",
    "Generate 1-3 broad tags categorizing the main themes of the chat history",
    "What would be a short and relevant title for this chat? You must strictly answer with only the title.",
    "Based on the chat history, give this conversation a name. Keep it short - 10 characters max, no quotes.",
    "Suggest 3-5 relevant follow-up questions.",
]
QUESTIONS = [
    "How long is the warranty?",
    "What is the title of the second chapter?",
    "Which tags are on the crate? Please summarize the manual.",
    "Give a summary of the contract with Northwind.",
    "List the follow-up questions of the interview guide.",
    "Which follow-up questions does the inspector ask?",
    "Whom did they give the conversation piece a new name for?",
    "What did we say in the chapter about conversation?",
    "",
]


async def test_instructions_about_the_conversation_are_recognised() -> None:
    assert [text for text in TASKS if not is_conversation_task(text, None)] == []
    assert [text for text in QUESTIONS if is_conversation_task(text, None)] == []
    assert not is_conversation_task(TASKS[0], "(?!)")
    assert is_conversation_task("Name it!", r"\AName it")


async def test_instructions_about_the_conversation_are_not_answered_from_documents(
    services: Services, stream: FakeJobStream
) -> None:
    services.catalog.ensure_collection("notes")
    model = f"{MODEL}@notes"
    async with client_of(services) as client:
        for message, kind in ((TASKS[0], "chat"), (QUESTIONS[0], "rag_chat")):
            messages = [*MESSAGES, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": message}]
            assert (await client.post(CHAT, json={"model": model, "messages": messages})).status_code == 200
            assert stream.submitted[-1].kind == kind
        body = {"model": model, "rag": {}, "messages": [{"role": "user", "content": TASKS[0]}]}
        assert (await client.post(CHAT, json=body)).status_code == 200
        assert stream.submitted[-1].kind == "rag_chat"


async def test_a_pattern_that_is_none_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="RAG_TASK_PATTERN"):
        load_settings(_env_file=None, rag_task_pattern="(")


async def test_rag_chat_searches_the_collection_that_its_model_names(services: Services, stream: FakeJobStream) -> None:
    services.catalog.ensure_collection("notes")
    body = {"query": "How long?", "model": f"{MODEL}@notes"}
    async with client_of(services) as client:
        for more in ({}, {"collection": "notes"}):
            assert (await client.post("/v1/rag/chat", json=body | more)).status_code == 200
            assert stream.submitted[-1].request.rag.collections == ["notes"]
        other = await client.post("/v1/rag/chat", json=body | {"collection": "other"})
        unknown = await client.post("/v1/rag/chat", json=body | {"model": f"{MODEL}@unknown"})
    assert error_of(other, 400)["param"] == "collection"
    assert error_of(unknown, 400)["param"] == "model"
