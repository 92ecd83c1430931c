"""The grammar of calls without tags, over a vocabulary of bytes."""

from __future__ import annotations

import pytest
from llguidance import LLMatcher, LLTokenizer

from inference.call_formats import Asked, BareFormat, ToolMode
from inference.tool_grammar import tool_grammar

CLOCK = {"type": "function", "function": {"name": "get_time"}}
CALL = '{"name": "get_time", "parameters": {}}'


def is_answer(text: str, mode: ToolMode) -> bool:
    """Whether the grammar takes this as a whole answer."""
    matcher = LLMatcher(LLTokenizer("byte"), tool_grammar([CLOCK], Asked(mode, parallel=True), BareFormat()))
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
