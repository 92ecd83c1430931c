"""Reasoning with the real engine: the starter model under a template that opens it, as DeepSeek R1's does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from core import events
from core.messages import ChatMessage, Hit, RagOptions, SamplingParams
from core.settings import load_settings
from inference.engine.model_files import resolve_model
from tasks.jobs.producer import Producer
from tests.gguf_files import CONTROL, changed_copy
from tests.integration.tasks.generating import World, calls_of, fields_of, reasons_of, text_of
from tests.support import migrated_catalog

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{% if message.reasoning_content %}{{ '<think>' + message.reasoning_content + '</think>' }}{% endif %}"
    "{{ message.content + '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n<think>\\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '\\n</think>\\n\\n' }}{% endif %}"
)
#: The model was not trained with these tags, and would end its answer after some of them.
ENDLESS = SamplingParams(temperature=0, ignore_eos=True)
HELLO = [ChatMessage("user", "Hi, who are you?")]
PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "add_person", "parameters": PERSON}}]
THOUGHT = "The user greets me. I should [1] tell who I am."

pytestmark = pytest.mark.check


@pytest.fixture(scope="module", params=["text", "control tokens"])
def world(redis_url: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("reasoning")
    tags = {"<reponame>": ("<think>", CONTROL), "<file_sep>": ("</think>", CONTROL)}
    renamed = tags if request.param == "control tokens" else {}
    path = changed_copy(resolve_model(load_settings(_env_file=None)).path, folder / "thinker.gguf", TEMPLATE, renamed)
    producer = Producer(load_settings(_env_file=None, redis_url=redis_url))
    catalog = migrated_catalog(folder / "catalog.sqlite3")
    world = World(producer, catalog, folder, model_path=path)
    yield world
    world.close()
    catalog.close()
    producer.close()


def thought_of(emitted: Sequence[events.AnyEvent], index: int = 0) -> str:
    found = (event for event in emitted if isinstance(event, events.ReasoningDelta) and event.index == index)
    return "".join(event.text for event in found)


def usage_of(emitted: Sequence[events.AnyEvent]) -> Any:
    assert isinstance(emitted[-1], events.Finished), emitted[-1]
    return emitted[-1].usage


def tokens_of(world: World, text: str) -> list[int]:
    return world.service.engine._backend.tokenize(text, special=True)


def thought(world: World, text: str = THOUGHT) -> list[tuple[Any, dict[str, Any]]]:
    """Return the events of a worker that was lost after a finished thought."""
    return [(events.ReasoningDelta, {"text": text, "token_ids": tokens_of(world, f"{text}\n</think>\n\n")})]


def test_the_model_is_known_to_reason(world: World) -> None:
    assert world.service.engine.model.reasons and world.service.engine.model.chat_template == "file"


def test_an_answer_that_is_cut_while_the_model_thinks_has_no_content(world: World) -> None:
    emitted = world.run(messages=HELLO, max_tokens=12, n=2, sampling=ENDLESS)
    for index in (0, 1):
        assert thought_of(emitted, index) and text_of(emitted, index) == ""
    assert reasons_of(emitted) == ["length", "length"] and usage_of(emitted).reasoning_tokens == 24


def test_the_answer_follows_the_closing_tag(world: World) -> None:
    sampling = SamplingParams(temperature=0, logprobs=True)
    emitted = world.resume(thought(world), messages=HELLO, max_tokens=40, sampling=sampling)
    assert thought_of(emitted) == THOUGHT and text_of(emitted).strip() and "think>" not in text_of(emitted)
    assert usage_of(emitted).reasoning_tokens == len(tokens_of(world, f"{THOUGHT}\n</think>\n\n"))
    logprobs = [entry for event in emitted if isinstance(event, events.TextDelta) for entry in event.logprobs]
    assert text_of(emitted).startswith("".join(entry.token for entry in logprobs)) and logprobs


def test_stop_strings_count_in_the_answer_alone(world: World) -> None:
    sampling = SamplingParams(temperature=0, stop=["I"])
    emitted = world.resume(thought(world), messages=HELLO, max_tokens=40, sampling=sampling)
    assert thought_of(emitted) == THOUGHT and "I" not in text_of(emitted) and reasons_of(emitted) == ["stop"]


@pytest.mark.parametrize("fields", [
    {"answer_schema": PERSON},
    {"tools": TOOLS, "tool_choice": "required"},
    {"answer_pattern": "(yes|no)"},
])  # fmt: skip
def test_a_grammar_applies_to_what_follows_the_reasoning(world: World, fields: dict[str, Any]) -> None:
    emitted = world.run(messages=HELLO, max_tokens=120, sampling=ENDLESS, **fields)
    text, calls = text_of(emitted), calls_of(emitted)
    assert thought_of(emitted)
    if "tools" in fields:
        ((name, arguments),) = calls
        assert (name, text, reasons_of(emitted)) == ("add_person", "", ["tool_calls"])
        jsonschema.validate(arguments, PERSON)
    elif "answer_schema" in fields:
        jsonschema.validate(msgspec.json.decode(text), PERSON)
    else:
        assert text in ("yes", "no")
    assert 0 < usage_of(emitted).reasoning_tokens <= 60


def test_another_worker_resumes_at_every_event(world: World) -> None:
    fields: dict[str, Any] = {"messages": HELLO, "max_tokens": 80, "answer_schema": PERSON, "sampling": ENDLESS}
    whole = world.run(**fields)
    pieces = [event for event in whole if isinstance(event, events.ReasoningDelta | events.TextDelta)]
    assert len(pieces) > 1
    for at in range(0, len(pieces) + 1, max(1, len(pieces) // 4)):
        emitted = world.resume([(type(event), fields_of(event)) for event in pieces[:at]], **fields)
        assert (thought_of(emitted), text_of(emitted)) == (thought_of(whole), text_of(whole)), at
        assert usage_of(emitted).reasoning_tokens == usage_of(whole).reasoning_tokens


def test_a_call_follows_the_reasoning_and_the_next_round_is_given_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts: list[str] = []
    prepare = world.service.engine.prepare

    def recording(*arguments: Any, **options: Any) -> Any:
        prepared = prepare(*arguments, **options)
        prompts.append(prepared.text)
        return prepared

    monkeypatch.setattr(world.service.engine, "prepare", recording)
    emitted = world.resume(
        [*thought(world), (events.ToolCallDelta, {"call_index": 0, "server": True, "id": "call_1", "name": "add"}),
         (events.ToolCallDelta, {"call_index": 0, "server": True, "arguments": '{"a": 1, "b": 2}'}),
         (events.RoundFinished, {"finish_reason": "tool_calls"})],
        messages=HELLO, max_tokens=60, server_tools=["add"],
    )  # fmt: skip
    assert thought_of(emitted).startswith(THOUGHT) and THOUGHT not in text_of(emitted)
    assert f"<think>{THOUGHT}</think>" in prompts[-1] and world.workshop.added[-1] == (1, 2)


def test_citations_are_in_the_answer_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hit = Hit("doc", 0, "The tower is in Paris. It is tall.", 1.0, "tower.txt", "default")
    monkeypatch.setattr(type(world.producer.records), "load_hits", lambda *_: ([hit], 1.0))
    answered = f"{THOUGHT}\n</think>\n\nThe tower is in Paris."
    emitted = world.resume(
        [(events.ReasoningDelta, {"text": THOUGHT, "token_ids": tokens_of(world, answered)})],
        messages=HELLO, max_tokens=len(tokens_of(world, answered)) + 12, rag=RagOptions(query="tower", top_k=1),
    )  # fmt: skip
    assert thought_of(emitted) == THOUGHT and text_of(emitted).startswith("The tower is in Paris. [1]")


def test_thinking_can_be_switched_off(world: World) -> None:
    off = {"enable_thinking": False}
    emitted = world.run(messages=HELLO, max_tokens=20, template_options=off, sampling=ENDLESS)
    assert thought_of(emitted) == "" and text_of(emitted).strip() and usage_of(emitted).reasoning_tokens == 0


def test_a_durable_job_keeps_the_reasoning(world: World) -> None:
    job_id = world.submit_durable(messages=HELLO, max_tokens=12, sampling=ENDLESS)
    world.generate(job_id)
    (choice,) = world.result_of(job_id).choices
    assert choice.reasoning and choice.text == ""
