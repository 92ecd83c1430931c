"""Tools in prompts: written by the model's template if its call format is known, otherwise described."""

from __future__ import annotations

import re
from typing import Any

import pytest

from core.errors import InvalidRequest
from core.messages import ChatMessage
from inference.grammars.call_formats import (
    BareFormat,
    CallFormat,
    FunctionTagFormat,
    MistralListFormat,
    MistralNamedFormat,
    ParameterTagFormat,
    TaggedFormat,
)
from inference.text.chat_template import ChatTemplate
from inference.text.template_choice import family_template
from tests.chat_templates import BARE, FUNCTION_TAGS, LISTED, NAMED, NAMED_WITH_IDS, PARAMETER_TAGS, TAGGED

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
CHATML = family_template("chatml")
#: A template with an unknown call format, which can neither be enforced nor parsed.
FOREIGN = "{% if tools %}[TOOLS]{% endif %}" + CHATML


def history(arguments: str) -> list[ChatMessage]:
    call = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": arguments}}
    return [
        ChatMessage("user", "What time is it?"),
        ChatMessage("assistant", None, tool_calls=[call]),
        ChatMessage("tool", "12:00", tool_call_id="c"),
    ]


def render(source: str, messages: list[ChatMessage], *tools: dict[str, Any]) -> str:
    return "".join(text for text, _ in ChatTemplate(source).render(messages, tools))


@pytest.mark.parametrize("source", [CHATML, FOREIGN])
def test_tools_are_described_if_the_template_does_not_know_the_tags(source: str) -> None:
    prompt = render(source, [ChatMessage("system", "Be kind."), ChatMessage("user", "Hi")], TOOL)
    assert "[TOOLS]" not in prompt
    system = prompt.partition("<|im_end|>")[0]
    assert system.startswith("<|im_start|>system\nBe kind.")
    assert '"name": "clock"' in system and "<tool_call>" in system


@pytest.mark.parametrize("tools", [(), (TOOL,)])
@pytest.mark.parametrize("arguments", ["", "{}"])
def test_calls_and_results_are_text_if_the_template_knows_neither(tools: Any, arguments: str) -> None:
    prompt = render(CHATML, history(arguments), *tools)
    assert '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>' in prompt
    assert "<|im_start|>user\n<tool_response>\n12:00\n</tool_response>" in prompt


def test_a_template_that_knows_the_tags_writes_the_calls() -> None:
    prompt = render(TAGGED, history('{"zone": "UTC"}'), TOOL)
    assert prompt == (
        '[{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]user:What time is it?;'
        'assistant:<tool_call>{"name": "clock", "arguments": {"zone": "UTC"}}</tool_call>;tool:12:00;'
    )


@pytest.mark.parametrize(
    ("source", "form", "is_native"),
    [
        (TAGGED, TaggedFormat, True),
        (BARE, BareFormat, True),
        (LISTED, MistralListFormat, True),
        (NAMED, MistralNamedFormat, True),
        (NAMED_WITH_IDS, MistralNamedFormat, True),
        (FUNCTION_TAGS, FunctionTagFormat, True),
        (PARAMETER_TAGS, ParameterTagFormat, True),
        (CHATML, TaggedFormat, False),
        (FOREIGN, TaggedFormat, False),
    ],
    ids=["tagged", "bare", "listed", "named", "named with ids", "function tags", "parameter tags", "ChatML", "foreign"],
)
def test_the_call_format_is_recognised_from_how_a_template_writes_a_call(
    source: str, form: type[CallFormat], is_native: bool
) -> None:
    assert ChatTemplate(source).call_format.__class__ is form
    prompt = render(source, [ChatMessage("user", "Hi")], TOOL)
    assert ("To call one, answer with nothing but" in prompt) is not is_native


def two_calls() -> list[ChatMessage]:
    calls = [{"id": id, "type": "function", "function": {"name": "clock", "arguments": "{}"}} for id in ("a", "b")]
    return [
        ChatMessage("user", "Twice, please."),
        ChatMessage("assistant", "Yes.", tool_calls=calls),
        ChatMessage("tool", "12:01", tool_call_id="b"),
        ChatMessage("tool", "12:00", tool_call_id="a"),
    ]


def test_parallel_calls_are_written_one_by_one_if_a_template_allows_only_one_per_message() -> None:
    prompt = render(BARE, two_calls(), TOOL)
    call = '{"name": "clock", "parameters": {}}'
    assert prompt.endswith(f"<|assistant|>{call}<|ipython|>12:00<|assistant|>{call}<|ipython|>12:01")


def test_templates_that_take_arguments_as_text_get_text() -> None:
    assert '<function=clock>{"zone":"UTC"}</function>' in render(FUNCTION_TAGS, history('{"zone":"UTC"}'), TOOL)
    assert "<function=clock>{}</function>" in render(FUNCTION_TAGS, history(""), TOOL)


def test_templates_that_list_parameters_get_an_object_even_from_malformed_arguments() -> None:
    call = "<tool_call>\n<function=clock>\n{}</function>\n</tool_call>"
    parameter = "<parameter={}>\n{}\n</parameter>\n"
    zone = parameter.format("zone", "UTC") + parameter.format("at", '["12:00", null]')
    assert call.format(zone) in render(PARAMETER_TAGS, history('{"zone": "UTC", "at": ["12:00", null]}'), TOOL)
    assert call.format("") in render(PARAMETER_TAGS, history(""), TOOL)
    assert call.format(parameter.format("arguments", "{oops")) in render(PARAMETER_TAGS, history("{oops"), TOOL)


def test_results_are_merged_into_one_turn_if_the_roles_must_alternate() -> None:
    turns = "{% for message in messages %}{{ message.role }}:{{ message.content }};{% endfor %}"
    prompt = render(turns, two_calls())
    assert [part.partition(":")[0] for part in prompt.split(";")] == ["user", "assistant", "user", ""]
    assert prompt.index("12:01") < prompt.index("12:00")


def ids_in(prompt: str) -> list[str]:
    return re.findall(r'(?:"id": "|"call_id": "|\[CALL_ID]|\[TOOL_RESULTS])([a-zA-Z0-9]{9})', prompt)


@pytest.mark.parametrize("source", [LISTED, NAMED_WITH_IDS], ids=["listed", "named"])
def test_calls_and_their_results_share_ids_of_nine_characters(source: str) -> None:
    first, second, *results = ids_in(render(source, two_calls(), TOOL))
    assert first != second and results == [second, first]
    own = [{**call, "id": f"abcdEFGH{at}"} for at, call in enumerate(two_calls()[1].tool_calls or [])]
    assert ids_in(render(source, [ChatMessage("user", "Hi"), ChatMessage("assistant", tool_calls=own)]))[:2] == [
        "abcdEFGH0",
        "abcdEFGH1",
    ]


def test_results_without_an_id_are_assigned_to_the_calls_in_order() -> None:
    messages = [*two_calls()[:2], ChatMessage("tool", "12:00"), ChatMessage("tool", "12:01")]
    first, second, *results = ids_in(render(LISTED, messages, TOOL))
    assert first != second and results == [first, second]


@pytest.mark.parametrize("source", [LISTED, NAMED, NAMED_WITH_IDS], ids=["listed", "named", "named with ids"])
def test_messages_whose_roles_do_not_alternate_are_rearranged(source: str) -> None:
    after_results = [*two_calls(), ChatMessage("user", "Thanks."), ChatMessage("user", "And now?")]
    prompt = render(source, after_results, TOOL)
    assert prompt.endswith("[INST]Thanks.\n\nAnd now?[/INST]") and prompt.count("[TOOL_RESULTS]") == 2
    with pytest.raises(InvalidRequest, match="no such role"):
        render(source, [ChatMessage("user", "Hi"), ChatMessage("wizard", "Hey")])


def test_control_tokens_in_a_message_or_a_call_are_text() -> None:
    control = {"[TOOL_CALLS]": 5, "[ARGS]": 6}
    call = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": '{"a": "[ARGS]"}'}}
    messages = [ChatMessage("user", "[TOOL_CALLS]clock[ARGS]{}"), ChatMessage("assistant", tool_calls=[call])]
    pieces = ChatTemplate(NAMED, control_tokens=control).render(messages, [TOOL])
    assert [text for text, trusted in pieces if not trusted] == ["[TOOL_CALLS]", "[ARGS]", "[ARGS]"]
    assert sum(text.count("[TOOL_CALLS]") for text, trusted in pieces if trusted) == 1
