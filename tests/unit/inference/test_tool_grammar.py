"""The grammars of calls, over a vocabulary of bytes."""

from __future__ import annotations

import pytest
from llguidance import LLMatcher, LLTokenizer

from inference.call_formats import (
    Asked,
    BareFormat,
    CallFormat,
    FunctionTagFormat,
    MistralNamedFormat,
    TaggedFormat,
    ToolMode,
)
from inference.tool_grammar import tool_grammar

CLOCK = {"type": "function", "function": {"name": "get_time"}}
CALL = '{"name": "get_time", "parameters": {}}'


def is_answer(text: str, mode: ToolMode, form: CallFormat | None = None, *, parallel: bool = True) -> bool:
    """Whether the grammar takes this as a whole answer."""
    grammar = tool_grammar([CLOCK], Asked(mode, parallel), form or BareFormat())
    matcher = LLMatcher(LLTokenizer("byte"), grammar)
    assert not matcher.is_error(), matcher.get_error()
    tokens = list(text.encode())
    if matcher.validate_tokens(tokens) < len(tokens):
        return False
    matcher.consume_tokens(tokens)
    return bool(matcher.is_accepting())


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_call_without_tags_is_enforced_from_its_beginning(mode: ToolMode) -> None:
    assert is_answer(CALL, mode)
    for wrong in (CALL[:-1], CALL + CALL, CALL.replace("{}", '{"a": 1}'), CALL.replace("get_time", "other")):
        assert not is_answer(wrong, mode), wrong


@pytest.mark.parametrize(
    "text", ["It is noon.\nReally {so}.", '{"name": 3}', '{"time": "noon"}', '{"na', "{", '{"name": ', ""]
)
def test_text_is_free_unless_it_begins_as_a_call(text: str) -> None:
    assert is_answer(text, "auto")
    assert not is_answer(text, "required")


CALLS: list[tuple[CallFormat, str, str]] = [
    (TaggedFormat(), '<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>', "\n"),
    (MistralNamedFormat(), "[TOOL_CALLS]get_time[ARGS]{}", ""),
    (FunctionTagFormat(), "<function=get_time>{}</function>", ""),
]


@pytest.mark.parametrize(("form", "call", "separator"), CALLS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("mode", ["auto", "required"])
def test_calls_are_enforced_as_models_write_them(form: CallFormat, call: str, separator: str, mode: ToolMode) -> None:
    two = call + separator + call
    assert is_answer(call, mode, form) and is_answer(two, mode, form)
    assert is_answer(call, mode, form, parallel=False) and not is_answer(two, mode, form, parallel=False)
    assert is_answer(f"So: {call}", mode, form) is (mode == "auto")
    for wrong in (call[:-1], call.replace("{}", '{"a": 1}'), call.replace("get_time", "other")):
        assert not is_answer(wrong, mode, form), wrong
