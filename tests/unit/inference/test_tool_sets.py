"""`tool_choice: required` with a hundred sets of tools and a model that writes random allowed tokens."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer

from inference.grammars.call_formats import AnswerOptions, CallFormat, ToolCall
from inference.grammars.prepared_schema import prepared
from inference.grammars.tool_grammar import arguments_schema, tool_grammar
from tests.call_forms import FORMS, form_id, parsed, text_of
from tests.tool_sets import tool_set

pytestmark = pytest.mark.check

SETS = 100
BYTES = LLTokenizer("byte")
MOST_BYTES = 20_000


def written_at_random(grammar: str, draw: random.Random) -> list[int]:
    """Return an answer in which each byte is a random one of those that the grammar allows."""
    matcher = LLMatcher(BYTES, grammar)
    assert not matcher.is_error(), matcher.get_error()
    written: list[int] = []
    while not matcher.is_stopped() and len(written) < MOST_BYTES:
        mask = np.frombuffer(matcher.compute_bitmask(), np.uint8)
        token = draw.choice(np.flatnonzero(np.unpackbits(mask, bitorder="little")).tolist())
        assert matcher.consume_token(token), matcher.get_error()
        if token != BYTES.eos_token:
            written.append(token)
    return written


def prepared_tools(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the tools with the schemas that the compiler enforces."""
    functions = [tool["function"] for tool in tools]
    schemas = [prepared(arguments_schema(function, "tools")) for function in functions]
    return [
        {"function": function | {"parameters": schema}} for function, schema in zip(functions, schemas, strict=True)
    ]


@pytest.mark.parametrize("form", FORMS, ids=form_id)
def test_every_random_answer_is_a_call_that_fits_its_schema(form: CallFormat) -> None:
    for number in range(SETS):
        tools, draw = tool_set(number), random.Random(number)
        grammar = tool_grammar(prepared_tools(tools), AnswerOptions("required"), form)
        answer = text_of(form, written_at_random(grammar, draw))
        (call,) = parsed(form.parser(tools), answer, size=len(answer))
        assert isinstance(call, ToolCall), (number, answer)
        assert_fits(tools, call, number)


def assert_fits(tools: list[dict[str, Any]], call: ToolCall, number: int) -> None:
    schemas = {tool["function"]["name"]: tool["function"].get("parameters", {"maxProperties": 0}) for tool in tools}
    arguments = json.loads(call.arguments)
    jsonschema.Draft202012Validator(schemas[call.name]).validate(arguments)
    assert set(arguments) <= set(schemas[call.name].get("properties", {})), number


def test_the_sets_are_different() -> None:
    assert len({str(tool_set(number)) for number in range(SETS)}) == SETS
