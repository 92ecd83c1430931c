"""Tools in prompts: by the model's template where it knows the tags that are enforced, by a description otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from core.messages import ChatMessage
from inference.chat_template import CHATML, ChatTemplate

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}
NATIVE = (
    "{% for tool in tools or [] %}[{{ tool | tojson }}]{% endfor %}{% for message in messages %}{{ message.role }}:"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function.arguments | tojson }}</tool_call>"
    "{% endfor %}"
    "{{ message.content }};{% endfor %}"
)
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
        '[{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}]'
        'user:What time is it?;assistant:<tool_call>{"zone": "UTC"}</tool_call>;tool:12:00;'
    )
