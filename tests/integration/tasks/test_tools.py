"""Tools and structured output, from the job's record to its events, with the real engine and a real Redis."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

from core import events
from core.messages import ChatMessage, RagOptions, SamplingParams
from inference.grammars.call_formats import BareFormat, CallFormat, FunctionTagFormat, ParameterTagFormat
from tests.integration.tasks.generating import World, calls_of, fields_of, reasons_of, refusal_of, text_of

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "unit": {"$ref": "#/$defs/unit"}},
    "required": ["city", "unit"],
    "$defs": {"unit": {"enum": ["celsius", "fahrenheit"], "default": "celsius"}},
}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather.", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "get_time"}}


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("temperature", [0.0, pytest.param(1.0, marks=pytest.mark.check)])
def test_required_calls_come_and_fit_their_schemas(world: World, parallel: bool, temperature: float) -> None:
    sampling = SamplingParams(temperature=temperature, seed=5, stop=["\n", "Paris"])
    emitted = world.run(
        tools=[WEATHER, CLOCK],
        tool_choice="required",
        parallel_tool_calls=parallel,
        sampling=sampling,
        n=2,
        max_tokens=600,
    )
    assert reasons_of(emitted) == ["tool_calls", "tool_calls"]
    for index in range(2):
        assert text_of(emitted, index) == ""
        calls = calls_of(emitted, index)
        assert len(calls) >= 1 if parallel else len(calls) == 1
        for name, arguments in calls:
            jsonschema.validate(arguments, CITY if name == "get_weather" else {"maxProperties": 0})


def test_the_named_function_is_called_once(world: World) -> None:
    emitted = world.run(tools=[WEATHER, CLOCK], tool_choice="required", tool_name="get_time")
    assert calls_of(emitted) == [("get_time", {})]
    assert reasons_of(emitted) == ["tool_calls"]


def test_with_auto_the_model_may_answer_with_text(world: World) -> None:
    emitted = world.run(messages=[ChatMessage("user", "Hi, who are you?")], tools=[WEATHER], max_tokens=30)
    assert text_of(emitted)
    assert calls_of(emitted) == []
    assert reasons_of(emitted)[0] in ("stop", "length")


def test_a_call_that_the_model_begins_by_itself_is_enforced(world: World) -> None:
    """Resume right after the opening tag, as the starter model seldom begins a call."""
    tokens = world.service.engine._backend.tokenize("So: <tool_call>", special=False)
    delta = {"text": "So:", "token_ids": tokens}
    emitted = world.resume([(events.TextDelta, delta)], tools=[WEATHER, CLOCK], parallel_tool_calls=False)
    (call,) = calls_of(emitted)
    jsonschema.validate(call[1], CITY if call[0] == "get_weather" else {"maxProperties": 0})
    assert (text_of(emitted), reasons_of(emitted)) == ("So:", ["tool_calls"])


def test_a_call_that_is_cut_off_is_not_in_the_result(world: World) -> None:
    job_id = world.submit_durable(tools=[WEATHER], tool_choice="required", max_tokens=12)
    emitted = world.generate(job_id)
    assert (text_of(emitted), reasons_of(emitted)) == ("", ["length"])
    assert world.result_of(job_id).choices[0].tool_calls == []


def test_the_arguments_of_a_required_call_come_while_they_are_written(world: World) -> None:
    words = {"type": "string", "minLength": 150, "maxLength": 200}
    schema = {"type": "object", "properties": {"content": words}, "required": ["content"]}
    tool = {"type": "function", "function": {"name": "write_file", "parameters": schema}}
    emitted = world.run(tools=[tool], tool_choice="required", parallel_tool_calls=False, max_tokens=300)
    pieces = [event for event in emitted if isinstance(event, events.ToolCallDelta)]
    assert len({piece.created for piece in pieces}) > 10
    ((name, arguments),) = calls_of(emitted)
    assert name == "write_file"
    jsonschema.validate(arguments, schema)


def test_log_probabilities_join_to_the_text_beside_tools(world: World) -> None:
    sampling = SamplingParams(temperature=0, logprobs=True)
    emitted = world.run(messages=[ChatMessage("user", "Hi!")], tools=[WEATHER], max_tokens=12, sampling=sampling)
    deltas = [event for event in emitted if isinstance(event, events.TextDelta)]
    tokens = [entry.token for delta in deltas for entry in delta.logprobs]
    assert tokens and text_of(emitted).startswith("".join(tokens))


@pytest.mark.parametrize("keep", [1, pytest.param(3, marks=pytest.mark.check)])
@pytest.mark.parametrize("choice", ["required", "auto"])
def test_another_worker_emits_what_a_lost_one_has_not(world: World, choice: str, keep: int) -> None:
    fields: dict[str, Any] = {"tools": [WEATHER, CLOCK], "tool_choice": choice, "max_tokens": 60}
    whole = world.run(**fields)
    pieces = [event for event in whole if isinstance(event, events.TextDelta | events.ToolCallDelta)]
    kept = pieces[:keep]
    while len(pieces) > len(kept) and isinstance(following := pieces[len(kept)], events.ToolCallDelta):
        if following.id is not None:
            break  # the pieces of one call are emitted together
        kept.append(following)
    emitted = world.resume([(type(event), fields_of(event)) for event in kept], **fields)
    assert text_of(emitted) == text_of(whole)
    assert calls_of(emitted) == calls_of(whole)
    assert reasons_of(emitted) == reasons_of(whole)


SHORT = {"type": "string", "maxLength": 8}
SCHEMAS: list[Any] = [
    {"type": "object", "properties": {"name": SHORT, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
     "required": ["name", "age"], "additionalProperties": False},
    {"type": "object", "properties": {"tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 1,
                                               "maxItems": 3}}, "required": ["tags"], "additionalProperties": False},
    {"type": "string", "enum": ["red", "green"]},
    {"type": "boolean"},
    {"type": "integer", "minimum": 10, "exclusiveMaximum": 20},
    {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 2},
    {"const": {"ok": [1, None]}},
    {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "^[a-c]{2}$"}]},
    {"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
        "value": {"type": "boolean"}, "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}},
        "required": ["value", "next"], "additionalProperties": False}}},
    {"type": "object", "properties": {"at": {"type": "string", "format": "date"}, "on": {"type": "boolean",
     "default": True}}, "required": ["at"], "additionalProperties": False},
    {"allOf": [{"type": "integer", "minimum": 5}, {"maximum": 9}]},
    {"type": "array", "prefixItems": [{"type": "boolean"}, {"const": 1}], "items": False, "minItems": 2},
    {"oneOf": [{"type": "boolean"}, {"type": "null"}]},
    {"type": ["boolean", "null"], "title": "Maybe", "description": "A thing.", "examples": [True], "x-own": 1},
]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:40])
@pytest.mark.parametrize("temperature", [0.0, pytest.param(1.0, marks=pytest.mark.check)])
def test_structured_answers_validate(world: World, schema: Any, temperature: float) -> None:
    emitted = world.run(answer_schema=schema, sampling=SamplingParams(temperature=temperature, seed=1), max_tokens=200)
    (reason,) = reasons_of(emitted)
    if reason == "stop":
        jsonschema.Draft202012Validator(schema).validate(json.loads(text_of(emitted)))
    else:
        assert reason == "length" and "$ref" in schema, "only a recursive schema may need more tokens"


def test_an_object_of_any_kind(world: World) -> None:
    emitted = world.run(answer_schema={"type": "object"}, max_tokens=300)
    if reasons_of(emitted) == ["stop"]:
        assert isinstance(json.loads(text_of(emitted)), dict)


def test_an_answer_is_either_a_call_or_fits_the_schema(world: World) -> None:
    emitted = world.run(tools=[WEATHER], answer_schema=SCHEMAS[0])
    calls = calls_of(emitted)
    assert bool(calls) != bool(text_of(emitted))
    if not calls:
        jsonschema.validate(json.loads(text_of(emitted)), SCHEMAS[0])


def test_an_answer_without_hits_still_fits_the_schema(world: World) -> None:
    rag = RagOptions(query="weather", top_k=3)
    emitted = world.run(answer_schema=SCHEMAS[0], rag=rag)
    jsonschema.validate(json.loads(text_of(emitted)), SCHEMAS[0])


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"not": {"type": "string"}}, "not"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-ahead"),
        ({"type": "no such type"}, "no such type"),
        ({"$ref": "#/properties/missing"}, "missing"),
        ({"type": "string", "format": "idn-email"}, "idn-email"),
    ],
)
def test_a_strict_schema_that_cannot_be_enforced_is_refused_by_name(world: World, schema: Any, keyword: str) -> None:
    param, message = refusal_of(world.run(answer_schema=schema, strict_answer=True))
    assert param == "response_format" and keyword in message
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": schema}}}}
    param, message = refusal_of(world.run(tools=[CLOCK, tool], strict_tools=["f"]))
    assert param == "tools.1.function.parameters" and keyword in message


def test_an_answer_that_violates_what_no_grammar_enforces_says_so(world: World) -> None:
    same = {"type": "array", "items": {"const": 1}, "minItems": 2, "maxItems": 2, "uniqueItems": True}
    job_id = world.submit_durable(answer_schema=same)
    emitted = world.generate(job_id)
    assert (text_of(emitted), reasons_of(emitted)) == ("[1, 1]", ["stop"])
    (finished,) = (event for event in emitted if isinstance(event, events.ChoiceFinished))
    assert finished.schema_errors == ["$: its items are not unique"]
    assert world.result_of(job_id).choices[0].schema_errors == finished.schema_errors


def test_a_call_that_violates_what_no_grammar_enforces_says_so(world: World) -> None:
    names = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "propertyNames": {"maxLength": 0}}
    tool = {"type": "function", "function": {"name": "f", "parameters": names}}
    emitted = world.run(tools=[tool], tool_choice="required", parallel_tool_calls=False)
    assert calls_of(emitted) == [("f", {"a": 1})]
    (finished,) = (event for event in emitted if isinstance(event, events.ChoiceFinished))
    assert finished.finish_reason == "tool_calls"
    assert [error.partition(":")[0] for error in finished.schema_errors] == ["tool_calls[0]"]


def test_a_function_whose_schema_requires_what_it_does_not_declare_can_be_called(world: World) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a", "b"]}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert reasons_of(world.run(messages=[ChatMessage("user", "Hi!")], tools=[tool], max_tokens=8))
    ((_, arguments),) = calls_of(world.run(tools=[tool], tool_choice="required", parallel_tool_calls=False))
    assert arguments.keys() == {"a", "b"}


@pytest.mark.parametrize("max_tokens", range(4, 24, 3))
@pytest.mark.parametrize("pattern", ["^[a-z]{30}$", "^.*[0-9]{12}$", "^(é|ü){9}$", "^[A-Z]{2}-[0-9]{4}( [a-z]+){3}$"])
def test_an_answer_that_is_cut_has_valid_json_or_says_so(world: World, pattern: str, max_tokens: int) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}, "required": ["a"]}
    emitted = world.run(answer_schema=schema, sampling=SamplingParams(temperature=1, seed=1), max_tokens=max_tokens)
    if reasons_of(emitted) == ["stop"]:
        jsonschema.validate(json.loads(text_of(emitted)), schema)


def test_arguments_that_are_no_object_are_refused(world: World) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}
    param, _ = refusal_of(world.run(tools=[tool]))
    assert param == "tools.0.function.parameters"


SAY = {
    "type": "function",
    "function": {"name": "say", "parameters": {"properties": {"text": {"type": "string"}}, "required": ["text"]}},
}


@pytest.mark.parametrize(
    "form", [BareFormat(), FunctionTagFormat(), ParameterTagFormat()], ids=lambda form: type(form).__name__
)
@pytest.mark.parametrize("parallel", [False, True])
def test_calls_in_another_format_are_enforced_too(
    world: World, monkeypatch: pytest.MonkeyPatch, form: CallFormat, parallel: bool
) -> None:
    monkeypatch.setattr(world.service.engine.grammars, "call_format", form)
    tools = [WEATHER, CLOCK, SAY]
    for named, max_tokens in [(None, 80), ("say", 40)]:
        sampling = SamplingParams(temperature=1.0, seed=7)
        emitted = world.run(
            tools=tools,
            tool_choice="required",
            tool_name=named,
            parallel_tool_calls=parallel,
            sampling=sampling,
            max_tokens=max_tokens,
        )
        calls = calls_of(emitted)
        assert calls and (parallel or len(calls) == 1)
        for name, arguments in calls:
            schema = next(tool["function"] for tool in tools if tool["function"]["name"] == name).get("parameters")
            jsonschema.validate(arguments, schema or {"maxProperties": 0})
        assert (text_of(emitted), reasons_of(emitted)) == ("", ["tool_calls"])
    emitted = world.run(messages=[ChatMessage("user", "Hi, who are you?")], tools=[WEATHER], max_tokens=8)
    assert text_of(emitted) and calls_of(emitted) == []


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_only_allowed_tools_can_be_called(world: World, mode: str) -> None:
    tokens = world.service.engine._backend.tokenize("<tool_call>", special=False)
    first = [(events.TextDelta, {"text": "", "token_ids": tokens})] if mode == "auto" else []
    fields: dict[str, Any] = {"tools": [WEATHER, CLOCK], "tool_choice": mode, "allowed_tools": ["get_time"]}
    emitted = world.resume(first, **fields) if first else world.run(**fields)
    calls = calls_of(emitted)
    assert calls and {name for name, _ in calls} == {"get_time"}


@pytest.mark.parametrize("pattern", [r"yes|no \(really\)|50% \{a\}", "[0-9]{3}-[A-Z]{2}"])
def test_an_answer_matches_its_regular_expression(world: World, pattern: str) -> None:
    emitted = world.run(answer_pattern=pattern, format_param="guided_regex", max_tokens=40)
    assert re.fullmatch(pattern, text_of(emitted))
    assert reasons_of(emitted) == ["stop"]


def test_what_is_no_regular_expression_is_refused_with_its_field(world: World) -> None:
    param, _ = refusal_of(world.run(answer_pattern="(", format_param="guided_regex"))
    assert param == "guided_regex"
