"""A model that writes at random what it may comes to an end in time, over a vocabulary of bytes."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer

from inference.call_formats import CallFormat
from inference.grammar import GrammarCompiler
from inference.sequence import Constraint
from inference.shortest_end import byte_tokenizer, shortest_end
from inference.tool_calls import ToolCall
from inference.tool_grammar import styled
from tests.schema_collection import Schema, collection
from tests.tool_sets import tool_set

BYTES: LLTokenizer = byte_tokenizer()
END = BYTES.eos_token
CASES = [(name, schema) for name, schema, refused in collection() if refused is None]
#: Every shortest answer fits into this; most that are written at random do not.
MOST_BYTES = 256


@pytest.fixture(scope="module", params=CallFormat)
def compiler(request: pytest.FixtureRequest) -> GrammarCompiler:
    return GrammarCompiler(byte_tokenizer, request.param)


def written(constraint: Constraint, most: int, draw: random.Random) -> tuple[bytes, bool]:
    """What a model writes that takes any byte that it may, as the engine lets it; and whether it came to an end."""
    text = bytearray()
    while len(text) < most:
        token = drawn(constraint, draw)
        if token != END and constraint.refuses(token):
            token = drawn(constraint, draw)
        if token == END:
            return bytes(text), True
        constraint.accept(token)
        text.append(token)
        if constraint.is_complete:
            return bytes(text), True
    return bytes(text), False


def drawn(constraint: Constraint, draw: random.Random) -> int:
    bits = np.unpackbits(np.frombuffer(constraint.mask() or b"", np.uint8), bitorder="little")
    token: int = draw.choice(np.flatnonzero(bits).tolist())
    return token


def check(schema: Schema, text: bytes) -> None:
    exact, answer = (json.loads(one, parse_float=Decimal) for one in (json.dumps(schema), text))
    jsonschema.validators.validator_for(exact, jsonschema.Draft202012Validator)(exact).validate(answer)


@pytest.mark.parametrize("cases", [CASES[::15], pytest.param(CASES, marks=pytest.mark.soak)], ids=["some", "all"])
def test_random_json_of_real_schemas_ends_in_time_and_fits(cases: list[tuple[str, Schema]]) -> None:
    compiler, closed = GrammarCompiler(byte_tokenizer), 0
    for name, schema in cases:
        constraint = compiler.json_schema(schema, max_tokens=MOST_BYTES)()
        text, ended = written(constraint, MOST_BYTES, random.Random(name))
        assert ended, (name, text)
        check(schema, text)
        closed += len(text) > MOST_BYTES * 0.9
    assert closed > len(cases) / 4, "the room must have been short for many"


def test_random_calls_of_tool_sets_end_in_time_and_fit(compiler: GrammarCompiler) -> None:
    for number in range(0, 100, 5):
        tools = tool_set(number)
        constraint = compiler.tool_calls(tools, max_tokens=400, parallel=number % 2 == 1)()
        text, ended = written(constraint, 400, random.Random(number))
        assert ended, (number, text)
        parser = compiler.call_format.parser()
        calls = [*parser.push(text.decode()), *parser.finish()]
        assert calls, text
        schemas = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
        for call in calls:
            assert isinstance(call, ToolCall), (number, text)
            check(schemas[call.name], call.arguments.encode())


@pytest.mark.parametrize(
    ("schema", "shortest"),
    [
        ({}, "1"),
        ({"type": "string", "minLength": 3}, '"..."'),
        ({"type": "string", "pattern": "^(aaaaaaaa|b*c)$"}, '"c"'),
        ({"type": "string", "format": "email"}, None),
        ({"enum": ["a long one", "short", "another"]}, '"short"'),
        ({"type": ["object", "null"], "properties": {"a": {"type": "integer"}}, "required": ["a"]}, "null"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3}, "[true, true]"),
        (
            {
                "type": "object",
                "properties": {"optional": {"type": "string"}, "needed": {"const": 1}},
                "required": ["needed"],
            },
            '{"needed": 1}',
        ),
        (
            {
                "anyOf": [
                    {
                        "properties": {"kind": {"const": "long"}, "text": {"const": "x" * 40}},
                        "required": ["kind", "text"],
                    },
                    {"properties": {"kind": {"const": "short"}}, "required": ["kind"]},
                ]
            },
            None,
        ),
    ],
)
def test_the_shortest_answer_is_found(schema: Any, shortest: str | None) -> None:
    matcher = LLMatcher(BYTES, f"start: %json {json.dumps(styled(schema))}\n", log_level=0)
    found = shortest_end(matcher, 1000)
    assert found is not None
    check(schema, found)
    assert len(found) < 50
    if shortest is not None:
        assert found.decode() == shortest


def test_there_is_no_end_where_none_fits() -> None:
    matcher = LLMatcher(BYTES, f"start: %json {json.dumps(styled({'const': 'x' * 100}))}\n", log_level=0)
    assert shortest_end(matcher, 50) is None
    constraint = GrammarCompiler(byte_tokenizer).json_schema({"const": "x" * 100}, max_tokens=50)()
    assert written(constraint, 50, random.Random(1)) == (b'"' + b"x" * 49, False)


def test_free_text_is_cut_where_its_tokens_end() -> None:
    tools = [{"type": "function", "function": {"name": "get_time"}}]
    constraint = GrammarCompiler(byte_tokenizer).tool_calls(tools, mode="auto", max_tokens=20)()
    for token in b"It is late, so goodb":
        assert not constraint.refuses(token)
        constraint.accept(token)
    assert not constraint.is_complete
