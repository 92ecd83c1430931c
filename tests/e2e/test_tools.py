"""Tools of the client and of the server, up to the final answer, over the whole stack."""

from __future__ import annotations

import json
from typing import Any

import httpx
import jsonschema
import openai
import pytest

pytestmark = [pytest.mark.e2e]

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 30}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY}}
CLOCK: Any = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object", "properties": {}}}}
QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
ASK: dict[str, Any] = {"model": "any", "messages": QUESTION, "temperature": 0, "max_tokens": 120}


def calls_of(answer: Any) -> list[tuple[str, str]]:
    return [(call.function.name, call.function.arguments) for call in answer.choices[0].message.tool_calls or ()]


def test_a_tool_is_called_and_its_result_answered(client: openai.OpenAI) -> None:
    first = client.chat.completions.create(tools=[WEATHER, CLOCK], tool_choice="required", **ASK)
    (choice,) = first.choices
    assert choice.finish_reason == "tool_calls" and choice.message.tool_calls
    for name, arguments in calls_of(first):
        jsonschema.validate(json.loads(arguments), CITY if name == "get_weather" else {"maxProperties": 0})
    results: Any = [
        {"role": "tool", "tool_call_id": call.id, "content": '{"celsius": 21}'} for call in choice.message.tool_calls
    ]
    history = [*QUESTION, choice.message.model_dump(exclude_none=True), *results]
    second = client.chat.completions.create(**{**ASK, "messages": history}, tools=[WEATHER, CLOCK], tool_choice="none")
    assert second.choices[0].message.content
    assert second.choices[0].message.tool_calls is None


def test_streamed_calls_equal_those_of_the_plain_answer(client: openai.OpenAI) -> None:
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    plain = client.chat.completions.create(tools=[WEATHER, CLOCK], tool_choice=named, **ASK)
    with client.chat.completions.stream(tools=[WEATHER, CLOCK], tool_choice=named, **ASK) as stream:
        streamed = stream.get_final_completion()
    assert calls_of(streamed) == calls_of(plain)
    assert [name for name, _ in calls_of(plain)] == ["get_weather"]
    assert streamed.choices[0].finish_reason == plain.choices[0].finish_reason == "tool_calls"


def test_a_schema_that_cannot_be_enforced_is_refused_before_the_stream(client: openai.OpenAI) -> None:
    form: Any = {
        "type": "json_schema",
        "json_schema": {"name": "odd", "strict": True, "schema": {"not": {"type": "null"}}},
    }
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match='"not"') as refused:
            client.chat.completions.create(response_format=form, stream=stream, **ASK)
        assert refused.value.param == "response_format"


def test_an_asynchronous_job_keeps_its_calls(http: httpx.Client) -> None:
    body = {**ASK, "tools": [WEATHER], "tool_choice": "required"}
    accepted = http.post("/v1/chat/completions", json=body, headers={"prefer": "respond-async"})
    with http.stream("GET", f"{accepted.headers['location']}/events") as events:
        assert "event: finished" in events.iter_lines()
    (choice,) = http.get(accepted.headers["location"]).json()["result"]["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


SEARCH: dict[str, Any] = {
    "server_tools": ["search_documents"],
    "tool_choice": {"type": "function", "function": {"name": "search_documents"}},
}


def test_the_server_searches_the_documents_and_the_model_answers(client: openai.OpenAI, http: httpx.Client) -> None:
    texts = {"texts": ["The lighthouse of Farol is painted green."], "collection": "sights"}
    assert http.post("/v1/rag/documents", json=texts).is_success
    # The starter model invents its own queries, so a call in the history shows it a good one.
    ran = {"id": "call_1", "name": "search_documents", "arguments": '{"query": "Farol lighthouse", "top_k": 1}',
           "result": {"passages": []}}  # fmt: skip
    messages: Any = [
        {"role": "user", "content": "Which colour has the lighthouse of Farol?"},
        {"role": "assistant", "content": "I found nothing yet.", "tool_results": [ran]},
        {"role": "user", "content": "Search again for the Farol lighthouse, please."},
    ]
    ask: Any = {**ASK, "messages": messages, "extra_body": {**SEARCH, "max_tool_rounds": 1}}
    plain = client.chat.completions.create(**ask)
    message: Any = plain.choices[0].message
    assert message.tool_calls is None
    (call,) = message.tool_results
    assert call["name"] == "search_documents"
    assert "query" in json.loads(call["arguments"])
    assert call["error"] is None and "passages" in call["result"], call
    assert message.content and plain.choices[0].finish_reason in ("stop", "length")

    with client.chat.completions.stream(**ask) as stream:
        streamed: Any = stream.get_final_completion()
    (again,) = streamed.choices[0].message.tool_results
    assert (again["name"], again["arguments"], again["error"]) == (call["name"], call["arguments"], None)


def test_unknown_functions_are_named(client: openai.OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="search_documents") as refused:
            client.chat.completions.create(stream=stream, extra_body={"server_tools": ["brew_coffee"]}, **ASK)
        assert refused.value.param == "server_tools"


def test_a_model_at_a_collection_answers_from_it(client: openai.OpenAI, http: httpx.Client) -> None:
    texts = {"texts": ["The ferry to Ilha leaves at seven."], "collection": "ferries"}
    assert http.post("/v1/rag/documents", json=texts).is_success
    name = next(model.id for model in client.models.list() if model.id.endswith("@ferries"))
    answer: Any = client.chat.completions.create(
        model=name, messages=[{"role": "user", "content": "When does the ferry to Ilha leave?"}], max_tokens=10
    )
    assert [source["collection"] for source in answer.sources] == ["ferries"]
    assert name == f"{answer.model}@ferries"
