"""Unsupported or invalid fields that OpenAI's clients may send are answered 400 with the field's name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest

from api.dependencies import Services
from api.schemas.chat import ChatRequest
from api.schemas.completions import CompletionRequest
from api.schemas.embeddings import EmbeddingsRequest
from api.schemas.rerank import RerankBody
from tests.fakes.job_stream import FakeJobStream
from tests.unit.api.conftest import client_of
from tests.unit.api.test_errors import CHAT, MESSAGES, error_of

COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
RERANK = "/v1/rerank"
TOKENIZE, DETOKENIZE = "/v1/tokenize", "/v1/detokenize"
BASIS: dict[str, dict[str, Any]] = {
    CHAT: {"messages": MESSAGES},
    COMPLETIONS: {"prompt": "Hello"},
    EMBEDDINGS: {"input": "Hello"},
    RERANK: {"query": "Hello", "documents": ["a", "b"]},
    TOKENIZE: {"prompt": "Hello"},
    DETOKENIZE: {"tokens": [1]},
}
FUNCTION: dict[str, Any] = {"name": "f", "parameters": {"type": "object", "properties": {}}}
TOOL: dict[str, Any] = {"type": "function", "function": FUNCTION}
NAMED: dict[str, Any] = {"type": "function", "function": {"name": "g"}}

pytestmark = pytest.mark.asyncio


def prefilled(text: str) -> dict[str, Any]:
    """Return a conversation whose last message is the beginning of the answer."""
    return {"messages": [*MESSAGES, {"role": "assistant", "content": text}], "continue_final_message": True}


CONTINUED = prefilled("Well,")


def called(call: Any) -> dict[str, Any]:
    """Return a conversation with this call in it."""
    return {"messages": [*MESSAGES, {"role": "assistant", "tool_calls": [call]}]}


def json_schema(**changes: Any) -> dict[str, Any]:
    definition = {"name": "answer", "schema": {"type": "object"}, **changes}
    return {"response_format": {"type": "json_schema", "json_schema": definition}}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (COMPLETIONS, {"suffix": "the end", "echo": True}, "echo"),
        (COMPLETIONS, {"logprobs": 21}, "logprobs"),
        (COMPLETIONS, {"logprobs": -1}, "logprobs"),
        (COMPLETIONS, {"best_of": 2}, "best_of"),
        (COMPLETIONS, {"max_tokens": -1}, "max_tokens"),
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": [[]]}, "prompt"),
        (COMPLETIONS, {"prompt": [1, -2]}, "prompt"),
        (COMPLETIONS, {"prompt": [1, "two"]}, "prompt"),
        (COMPLETIONS, {"prompt": ["one", [2]]}, "prompt"),
        (COMPLETIONS, {"prompt": [True]}, "prompt"),
        (COMPLETIONS, {"prompt": None}, "prompt"),
        (COMPLETIONS, {"prompt": {"text": "one"}}, "prompt"),
        (COMPLETIONS, {"prompt": ["a"] * 257}, "prompt"),
        (COMPLETIONS, {"prompt": ["a"] * 40, "n": 7}, "n"),
        (TOKENIZE, {"messages": MESSAGES}, "prompt"),
        (TOKENIZE, {"prompt": None}, "prompt"),
        (TOKENIZE, {"add_generation_prompt": False}, "add_generation_prompt"),
        (TOKENIZE, {"prompt": None, "messages": MESSAGES, "parse_special": False}, "parse_special"),
        (DETOKENIZE, {"tokens": [-1]}, "tokens.0"),
        (DETOKENIZE, {"tokens": ["1"]}, "tokens.0"),
        (CHAT, CONTINUED | {"add_generation_prompt": True}, "add_generation_prompt"),
        (CHAT, {"continue_final_message": True}, "continue_final_message"),
        (CHAT, prefilled("  "), "continue_final_message"),
        (CHAT, prefilled("a") | {"rag": {}}, "continue_final_message"),
        (CHAT, prefilled("a") | {"tools": [TOOL]}, "continue_final_message"),
        (CHAT, prefilled("a") | {"guided_regex": "b"}, "continue_final_message"),
        (CHAT, {"moderation": {"model": "any"}}, "moderation"),
        (CHAT, {"tools": [TOOL], "tool_choice": NAMED}, "tool_choice"),
        (CHAT, {"tool_choice": NAMED}, "tool_choice"),
        (CHAT, {"tools": [TOOL, TOOL]}, "tools.1.function.name"),
        (CHAT, {"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools.0.type"),
        (CHAT, {"functions": [FUNCTION], "function_call": {"name": "g"}}, "function_call"),
        (CHAT, {"function_call": {"name": "f"}}, "function_call"),
        (CHAT, {"functions": [FUNCTION], "tools": [TOOL]}, "functions"),
        (CHAT, json_schema(name="n" * 65), "response_format.json_schema.name"),
        (CHAT, json_schema(name="a name"), "response_format.json_schema.name"),
        (CHAT, json_schema(schema=[]), "response_format.json_schema.schema"),
        (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (CHAT, {"response_format": {}}, "response_format.type"),
        (CHAT, called({"id": "1"}), "messages.1.tool_calls.0.function"),
        (CHAT, called({"id": "1", "function": 5}), "messages.1.tool_calls.0.function"),
        (CHAT, called({"id": 1, "function": {"name": "f"}}), "messages.1.tool_calls.0.id"),
        (CHAT, called({"type": "custom", "function": {"name": "f"}}), "messages.1.tool_calls.0.type"),
        (CHAT, called(None), "messages.1.tool_calls.0"),
    ],
)
async def test_an_unsupported_field_is_refused_by_its_name(
    http: httpx.AsyncClient, stream: FakeJobStream, path: str, fields: dict[str, Any], param: str, streamed: bool
) -> None:
    error = error_of(await http.post(path, json={**BASIS[path], "stream": streamed, **fields}), 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert stream.submitted == []


@pytest.mark.parametrize("arguments", ["", "{}", '{"a": 1}', None, {"a": 1}])
async def test_calls_in_the_conversation_may_have_any_arguments(
    http: httpx.AsyncClient, stream: FakeJobStream, arguments: Any
) -> None:
    conversation = called({"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}})
    result = {"role": "tool", "tool_call_id": "1", "content": "sunny"}
    answer = await http.post(CHAT, json={"messages": [*conversation["messages"], result]})

    assert answer.status_code == 200, answer.text
    (call,) = stream.submitted[0].request.messages[1].tool_calls
    assert call == {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments or ""}}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *((CHAT, name) for name in ChatRequest.model_fields),
        *((COMPLETIONS, name) for name in CompletionRequest.model_fields),
        *((EMBEDDINGS, name) for name in EmbeddingsRequest.model_fields),
        *((RERANK, name) for name in RerankBody.model_fields),
    ],
)
async def test_no_field_of_a_wrong_type_is_an_unexpected_error(http: httpx.AsyncClient, path: str, field: str) -> None:
    required = set(BASIS[path])
    for value in (None, [], {}, [None], {"": None}, True, -1, 1e300, 10**25, ""):
        answer = await http.post(path, json={**BASIS[path], field: value})
        assert answer.status_code in (200, 400), (value, answer.text)
        if answer.status_code == 400:
            param = error_of(answer, 400)["param"]
            assert param is not None, (value, answer.text)
        assert value is not None or (answer.status_code == 400) == (field in required), answer.text


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS, RERANK])
async def test_a_strict_server_refuses_other_models_on_every_route(services: Services, path: str) -> None:
    strict = replace(services, settings=services.settings.model_copy(update={"strict_models": True}))
    async with client_of(strict) as client:
        error = error_of(await client.post(path, json={**BASIS[path], "model": "gpt-4"}), 404)
    assert error["code"] == "model_not_found" and error["param"] == "model"
