"""Tools in prompts: by the model's template where it knows the tags that are enforced, by a description otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from core.messages import ChatMessage
from inference.call_formats import CallFormat
from inference.chat_template import CHATML, ChatTemplate

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
NATIVE = (
    "{% for tool in tools or [] %}[{{ tool | tojson }}]{% endfor %}{% for message in messages %}{{ message.role }}:"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}"
    "{{ message.content }};{% endfor %}"
)
#: As Llama 3.1 and its followers write calls: one at a time, without tags.
BARE = """\
{%- if tools %}Respond in the format {"name": function name, "parameters": dictionary}.
{%- for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}
{%- for message in messages %}<|{{ 'ipython' if message.role == 'tool' else message.role }}|>
{%- if message.tool_calls %}
{%- if message.tool_calls | length != 1 %}{{ raise_exception("single tool-calls at once!") }}{% endif %}
{%- set call = message.tool_calls[0].function %}
{{- '{"name": "' + call.name + '", ' }}{{ '"parameters": ' }}{{ call.arguments | tojson }}{{ "}" }}
{%- else %}{{ message.content }}{% endif %}{% endfor %}"""
#: As Mistral's models write calls: behind a control token, in a list.
LISTED = """\
{%- if tools %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}
{%- for message in messages %}{% if message.tool_calls %}[TOOL_CALLS][
{%- for call in message.tool_calls %}{{ call.function | tojson }}{% endfor %}]
{%- else %}[INST]{{ message.content }}[/INST]{% endif %}{% endfor %}"""
#: As Qwen3-Coder writes calls: in the same tags, but not as JSON.
XML = """\
{%- for tool in tools or [] %}{{ tool.function.name }}{% endfor %}
{%- for message in messages %}{{ message.role }}:{% for call in message.tool_calls or [] %}<tool_call>
<function={{ call.function.name }}>{% for key, value in call.function.arguments.items() %}
<parameter={{ key }}>{{ value }}</parameter>{% endfor %}
</function></tool_call>{% endfor %}{{ message.content }}{% endfor %}"""
#: A template with another form of calls, which is neither enforced nor read here.
FOREIGN = "{% if tools %}[TOOLS]{% endif %}" + CHATML


def history(arguments: str) -> list[ChatMessage]:
    call = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": arguments}}
    return [
        ChatMessage("user", "What time is it?"),
        ChatMessage("assistant", None, tool_calls=[call]),
        ChatMessage("tool", "12:00", tool_call_id="c"),
    ]


def render(source: str | None, messages: list[ChatMessage], *tools: dict[str, Any]) -> str:
    return "".join(text for text, _ in ChatTemplate(source).render(messages, tools))


@pytest.mark.parametrize("source", [None, CHATML, FOREIGN])
def test_tools_are_described_where_the_template_does_not_know_the_tags(source: str | None) -> None:
    prompt = render(source, [ChatMessage("system", "Be kind."), ChatMessage("user", "Hi")], TOOL)
    assert "[TOOLS]" not in prompt
    system = prompt.partition("<|im_end|>")[0]
    assert system.startswith("<|im_start|>system\nBe kind.")
    assert '"name": "clock"' in system and "<tool_call>" in system


@pytest.mark.parametrize("tools", [(), (TOOL,)])
@pytest.mark.parametrize("arguments", ["", "{}"])
def test_calls_and_results_are_text_where_the_template_knows_neither(tools: Any, arguments: str) -> None:
    prompt = render(CHATML, history(arguments), *tools)
    assert '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>' in prompt
    assert "<|im_start|>user\n<tool_response>\n12:00\n</tool_response>" in prompt


def test_a_template_that_knows_the_tags_has_its_way() -> None:
    prompt = render(NATIVE, history('{"zone": "UTC"}'), TOOL)
    assert prompt == (
        '[{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]user:What time is it?;'
        'assistant:<tool_call>{"name": "clock", "arguments": {"zone": "UTC"}}</tool_call>;tool:12:00;'
    )


@pytest.mark.parametrize(
    ("source", "form", "is_native"),
    [
        (NATIVE, CallFormat.TAGGED, True),
        (BARE, CallFormat.BARE, True),
        (None, CallFormat.TAGGED, False),
        (FOREIGN, CallFormat.TAGGED, False),
        (LISTED, CallFormat.TAGGED, False),
        (XML, CallFormat.TAGGED, False),
    ],
    ids=["tagged", "bare", "none", "foreign", "listed", "xml"],
)
def test_the_form_of_calls_is_seen_from_how_a_template_writes_one(
    source: str | None, form: CallFormat, is_native: bool
) -> None:
    assert ChatTemplate(source).call_format is form
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


def test_parallel_calls_are_told_one_by_one_where_a_template_knows_one_at_a_time() -> None:
    prompt = render(BARE, two_calls(), TOOL)
    call = '{"name": "clock", "parameters": {}}'
    assert prompt.endswith(f"<|assistant|>{call}<|ipython|>12:00<|assistant|>{call}<|ipython|>12:01")


def test_results_are_one_turn_where_the_roles_take_turns() -> None:
    turns = "{% for message in messages %}{{ message.role }}:{{ message.content }};{% endfor %}"
    prompt = render(turns, two_calls())
    assert [part.partition(":")[0] for part in prompt.split(";")] == ["user", "assistant", "user", ""]
    assert prompt.index("12:01") < prompt.index("12:00")
