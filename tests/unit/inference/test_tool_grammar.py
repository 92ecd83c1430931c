"""The grammars of tool calls, over a vocabulary of bytes."""

from __future__ import annotations

from typing import Any

import pytest
from llguidance import LLMatcher, LLTokenizer

from core.messages import ToolChoice
from inference.grammars.call_formats import (
    AnswerOptions,
    BareFormat,
    CallFormat,
    FunctionTagFormat,
    MistralNamedFormat,
    ParameterTagFormat,
    TaggedFormat,
)
from inference.grammars.prepared_schema import prepared
from inference.grammars.tool_grammar import arguments_schema, tool_grammar

CLOCK = {"type": "function", "function": {"name": "get_time"}}
CALL = '{"name": "get_time", "parameters": {}}'


def is_answer(
    text: str, mode: ToolChoice, form: CallFormat | None = None, *, parallel: bool = True, tools: Any = (CLOCK,)
) -> bool:
    """Return whether the grammar accepts this text as a complete answer."""
    prepared_tools = [
        {"function": function | {"parameters": prepared(arguments_schema(function, "tools"))}}
        for function in (tool["function"] for tool in tools)
    ]
    grammar = tool_grammar(prepared_tools, AnswerOptions(mode, parallel), form or BareFormat())
    matcher = LLMatcher(LLTokenizer("byte"), grammar)
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(text.encode())
    if matcher.validate_tokens(tokens) < len(tokens):
        return False
    matcher.consume_tokens(tokens)
    return bool(matcher.is_accepting())


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_call_without_tags_is_enforced_from_its_beginning(mode: ToolChoice) -> None:
    assert is_answer(CALL, mode)
    for wrong in (CALL[:-1], CALL + CALL, CALL.replace("{}", '{"a": 1}'), CALL.replace("get_time", "other")):
        assert not is_answer(wrong, mode), wrong


@pytest.mark.parametrize(
    "text", ["It is noon.\nReally {so}.", '{"name": 3}', '{"time": "noon"}', '{"na', "{", '{"name": ', ""]
)
def test_text_is_free_unless_it_begins_like_a_call(text: str) -> None:
    assert is_answer(text, "auto")
    assert not is_answer(text, "required")


CALLS: list[tuple[CallFormat, str, str]] = [
    (TaggedFormat(), '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>', "\n"),
    (MistralNamedFormat(), "[TOOL_CALLS]get_time[ARGS]{}", ""),
    (FunctionTagFormat(), "<function=get_time>{}</function>", ""),
    (ParameterTagFormat(), "<tool_call>\n<function=get_time>\n</function>\n</tool_call>", "\n"),
]


@pytest.mark.parametrize(("form", "call", "separator"), CALLS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_calls_are_enforced_as_models_write_them(form: CallFormat, call: str, separator: str, mode: ToolChoice) -> None:
    two = call + separator + call
    assert is_answer(call, mode, form) and is_answer(two, mode, form)
    assert is_answer(call, mode, form, parallel=False) and not is_answer(two, mode, form, parallel=False)
    assert is_answer(f"So: {call}", mode, form) is (mode == "auto")
    for wrong in (call[:-1], call.replace("{}", '{"a": 1}'), call.replace("get_time", "other")):
        assert wrong == call or not is_answer(wrong, mode, form), wrong


SHOP: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "buy",
        "parameters": {
            "type": "object",
            "properties": {
                "what": {"type": "string", "description": "Any text."},
                "size": {"type": "string", "enum": ["small", "large"]},
                "code": {"type": "string", "pattern": "^[A-Z]{2}$"},
                "count": {"$ref": "#/$defs/count"},
                "gift": {"type": ["boolean", "null"]},
            },
            "required": ["what", "count"],
            "$defs": {"count": {"type": "integer", "minimum": 1, "maximum": 9}},
        },
    },
}
EITHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "pay", "parameters": {"anyOf": [{"required": ["cash"]}, {"required": ["card"]}]}},
}


def bought(**values: str) -> str:
    parameters = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in values.items())
    return f"<tool_call>\n<function=buy>\n{parameters}</function>\n</tool_call>"


def test_each_parameter_between_tags_fits_its_schema() -> None:
    def fits(text: str) -> bool:
        return is_answer(text, "required", ParameterTagFormat(), tools=[SHOP, EITHER])

    assert fits(bought(what="tea\n</parameter> & <function>", count="2"))
    assert fits(bought(what="", size="large", code='"AB"', count="9", gift="null"))
    assert fits(bought(what='"tea"', count="1") + "\n" + bought(what="x", count="1"))
    for wrong in (
        bought(what="tea"),
        bought(count="2"),
        bought(count="2", what="tea"),
        bought(what="tea", count="10"),
        bought(what="tea", size="medium", count="2"),
        bought(what="tea", code="AB", count="2"),
        bought(what="tea", code='"abc"', count="2"),
        bought(what="tea", count="2", gift="True"),
        bought(what="tea", count="2", more="1"),
        bought(what="tea", count="2").replace("buy", "sell"),
    ):
        assert not fits(wrong), wrong


def test_the_arguments_of_a_schema_that_does_more_than_list_parameters_are_one_object() -> None:
    text = "<tool_call>\n<function=pay>\n{}\n</function>\n</tool_call>"
    for arguments, is_right in [('{"card": 1}', True), ('{"cash": true, "card": 1}', True), ("{}", False)]:
        assert is_answer(text.replace("{}", arguments), "auto", ParameterTagFormat(), tools=[SHOP, EITHER]) is is_right
