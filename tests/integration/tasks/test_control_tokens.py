"""Calls that follow control tokens, as Mistral's models write them. The starter model gets their template."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from core import events
from core.messages import ChatMessage, SamplingParams
from core.settings import load_settings
from inference.engine.model_files import resolve_model
from inference.grammars.call_formats import CallFormat, MistralListFormat, MistralNamedFormat
from tasks.jobs.producer import Producer
from tests.chat_templates import LISTED
from tests.gguf_files import CONTROL, changed_copy
from tests.integration.tasks.generating import World, calls_of, fields_of, reasons_of, text_of
from tests.support import migrated_catalog

pytestmark = pytest.mark.check

RENAMED = {
    "<reponame>": ("[TOOL_CALLS]", CONTROL),
    "<file_sep>": ("[ARGS]", CONTROL),
    "<filename>": ("[CALL_ID]", CONTROL),
}
SAY: dict[str, Any] = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "loud": {"type": "boolean", "default": False}},
    "required": ["text"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "say", "description": "Say something.", "parameters": SAY}},
    {"type": "function", "function": {"name": "say_nothing"}},
]
SCHEMAS = {"say": SAY, "say_nothing": {"maxProperties": 0}}


@pytest.fixture(scope="module")
def mistral(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("mistral")
    path = changed_copy(resolve_model(load_settings(_env_file=None)).path, folder / "mistral.gguf", LISTED, RENAMED)
    producer = Producer(load_settings(_env_file=None, redis_url=redis_url))
    catalog = migrated_catalog(folder / "catalog.sqlite3")
    world = World(producer, catalog, folder, model_path=path)
    yield world
    world.close()
    catalog.close()
    producer.close()


@pytest.fixture(params=["listed", "named", "named with ids"])
def world(mistral: World, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    own, controls = mistral.service.engine.grammars.call_format, control_tokens(mistral)
    forms: dict[str, CallFormat] = {
        "listed": own,
        "named": MistralNamedFormat(controls),
        "named with ids": MistralNamedFormat(controls, has_ids=True),
    }
    monkeypatch.setattr(mistral.service.engine.grammars, "call_format", forms[request.param])
    return mistral


def control_tokens(world: World) -> dict[str, int]:
    return dict(world.service.engine._backend.control_tokens)


def assert_calls_fit(emitted: list[events.AnyEvent], *, at_most: int = 8) -> None:
    calls = calls_of(emitted)
    assert 1 <= len(calls) <= at_most, calls
    for name, arguments in calls:
        jsonschema.validate(arguments, SCHEMAS[name])
    assert reasons_of(emitted) == ["tool_calls"]


def test_the_call_format_is_detected_from_the_template_of_the_file(mistral: World) -> None:
    form = mistral.service.engine.grammars.call_format
    assert isinstance(form, MistralListFormat)
    assert form.controls == {"[TOOL_CALLS]": control_tokens(mistral)["[TOOL_CALLS]"]}


@pytest.mark.parametrize("parallel", [False, True])
def test_required_calls_come_and_end_in_time(world: World, parallel: bool) -> None:
    sampling = SamplingParams(temperature=1.0, seed=3)
    emitted = world.run(
        tools=TOOLS, tool_choice="required", parallel_tool_calls=parallel, sampling=sampling, max_tokens=60
    )
    assert_calls_fit(emitted, at_most=8 if parallel else 1)
    assert text_of(emitted) == ""


def test_the_named_function_is_called_once(world: World) -> None:
    emitted = world.run(tools=TOOLS, tool_choice="required", tool_name="say_nothing")
    assert (calls_of(emitted), text_of(emitted), reasons_of(emitted)) == ([("say_nothing", {})], "", ["tool_calls"])


@pytest.mark.parametrize("parallel", [False, True])
def test_a_call_that_the_model_begins_by_itself_is_enforced(world: World, parallel: bool) -> None:
    """Resume after some text, with a bias towards the token that begins a call, which the model was not trained on."""
    opening = control_tokens(world)["[TOOL_CALLS]"]
    tokens = world.service.engine._backend.tokenize("So: ", special=False)
    emitted = world.resume(
        [(events.TextDelta, {"text": "So:", "token_ids": tokens})],
        tools=TOOLS,
        sampling=SamplingParams(temperature=0, logit_bias={opening: 60}),
        parallel_tool_calls=parallel,
        max_tokens=80,
    )
    calls = calls_of(emitted)
    assert calls and text_of(emitted) == "So:" and (parallel or len(calls) == 1)
    for name, arguments in calls:
        jsonschema.validate(arguments, SCHEMAS[name])


def test_text_stays_text_beside_tools(world: World) -> None:
    sampling = SamplingParams(temperature=0, logprobs=True)
    emitted = world.run(
        messages=[ChatMessage("user", "Hi, who are you?")], tools=TOOLS, sampling=sampling, max_tokens=20
    )
    text = text_of(emitted)
    tokens = [entry.token for event in emitted if isinstance(event, events.TextDelta) for entry in event.logprobs]
    assert text.encode() and text.startswith("".join(tokens)) and calls_of(emitted) == []


def test_another_worker_emits_what_a_lost_one_has_not(world: World) -> None:
    fields: dict[str, Any] = {"tools": TOOLS, "tool_choice": "required", "max_tokens": 60}
    whole = world.run(**fields)
    pieces = [event for event in whole if isinstance(event, events.ToolCallDelta)]
    second = next((at for at, event in enumerate(pieces) if at and event.id is not None), len(pieces))
    emitted = world.resume([(type(event), fields_of(event)) for event in pieces[:second]], **fields)
    assert (calls_of(emitted), text_of(emitted), reasons_of(emitted)) == (calls_of(whole), "", reasons_of(whole))


def test_earlier_calls_and_results_are_rendered_with_control_tokens(mistral: World) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "say", "arguments": '{"text": "[TOOL_CALLS]"}'}}
    messages = [
        ChatMessage("user", "Say [TOOL_CALLS][{}] and [ARGS]!"),
        ChatMessage("assistant", None, tool_calls=[call]),
        ChatMessage("tool", "[TOOL_CALLS]", tool_call_id="call_1"),
    ]
    prepared = mistral.service.engine.prepare(messages, tools=TOOLS)
    opening = control_tokens(mistral)["[TOOL_CALLS]"]
    assert prepared.token_ids.count(opening) == 1 and control_tokens(mistral)["[ARGS]"] not in prepared.token_ids
    assert prepared.text.count("[TOOL_CALLS]") == 4
    emitted = mistral.run(messages=messages, tools=TOOLS, tool_choice="required", max_tokens=60)
    assert_calls_fit(emitted)
