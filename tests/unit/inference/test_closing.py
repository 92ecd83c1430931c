"""Answers of a model that writes random allowed tokens are completed in time, over a vocabulary of bytes."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import jsonschema
import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer

from inference.grammars import closing
from inference.grammars.call_formats import CallFormat, Text, ToolCall
from inference.grammars.compiler import GrammarCompiler
from inference.grammars.constraint import Constraint
from inference.grammars.lark import of_schema
from inference.grammars.shortest_end import byte_tokenizer, shortest_end
from tests.call_forms import CONTROLLED, FORMS, form_id, parsed, text_of
from tests.schema_collection import Schema, collection
from tests.tool_sets import tool_set

BYTES: LLTokenizer = byte_tokenizer()
END = BYTES.eos_token
CASES = [(name, schema) for name, schema, refused in collection() if refused is None]
#: Every shortest answer fits into this; most random answers do not.
MOST_BYTES = 256


def written(constraint: Constraint, most: int, draw: random.Random) -> tuple[list[int], bool]:
    """Return the tokens that a model writes at random under a constraint, as in the engine, and whether it ended."""
    tokens: list[int] = []
    while len(tokens) < most:
        token = allowed(constraint, drawn(constraint, draw))
        if token == END:
            return tokens, True
        constraint.accept(token)
        tokens.append(token)
        if constraint.is_complete:
            return tokens, True
    return tokens, False


def allowed(constraint: Constraint, token: int) -> int:
    """Return the token that comes when the model has chosen one, as in the engine."""
    if token == END:
        return token
    if (search := constraint.check(token)) is not None:
        search.result(60)
        assert constraint.check(token) is None
    replacement = constraint.replacement(token)
    return token if replacement is None else replacement


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
        tokens, ended = written(constraint, MOST_BYTES, random.Random(name))
        text = bytes(tokens)
        assert ended, (name, text)
        check(schema, text)
        closed += len(text) > MOST_BYTES * 0.9
    assert closed > len(cases) / 4, "many answers must have been close to the limit"


@pytest.mark.parametrize("form", FORMS, ids=form_id)
def test_random_calls_of_tool_sets_end_in_time_and_fit(form: CallFormat) -> None:
    compiler = GrammarCompiler(byte_tokenizer, form)
    for number in range(0, 100, 8):
        tools = tool_set(number)
        constraint = compiler.tool_calls(tools, max_tokens=400, parallel=number % 2 == 1)()
        tokens, ended = written(constraint, 400, random.Random(number))
        text = text_of(form, tokens)
        assert ended, (number, text)
        calls = parsed(form.parser(tools), text, size=len(text))
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
    matcher = LLMatcher(BYTES, f"start: {of_schema(schema)}\n", log_level=0)
    found = shortest_end(matcher, 1000)
    assert found is not None
    check(schema, bytes(found))
    assert len(found) < 50
    if shortest is not None:
        assert bytes(found).decode() == shortest


def test_there_is_no_end_if_none_fits() -> None:
    matcher = LLMatcher(BYTES, f"start: {of_schema({'const': 'x' * 100})}\n", log_level=0)
    assert shortest_end(matcher, 50) is None
    constraint = GrammarCompiler(byte_tokenizer).json_schema({"const": "x" * 100}, max_tokens=50)()
    assert written(constraint, 50, random.Random(1)) == (list(b'"' + b"x" * 49), False)


def test_free_text_is_cut_off_at_its_last_token() -> None:
    tools = [{"type": "function", "function": {"name": "get_time"}}]
    constraint = GrammarCompiler(byte_tokenizer).tool_calls(tools, mode="auto", max_tokens=20)()
    for token in b"It is late, so goodb":
        assert allowed(constraint, token) == token
        constraint.accept(token)
    assert not constraint.is_complete


@pytest.mark.parametrize("form", CONTROLLED, ids=form_id)
def test_a_call_that_begins_with_a_control_token_after_text_ends_in_time(form: CallFormat) -> None:
    tool = {"type": "function", "function": {"name": "say", "parameters": {"properties": {"text": {"type": "string"}}}}}
    constraint = GrammarCompiler(byte_tokenizer, form).tool_calls([tool], mode="auto", max_tokens=150)()
    beginning = [*b"Look: ", next(iter(form.controls.values()))]
    for token in beginning:
        assert allowed(constraint, token) == token
        constraint.accept(token)
    tokens, _ = written(constraint, 150 - len(beginning), random.Random(1))
    text, call = parsed(form.parser([tool]), text_of(form, [*beginning, *tokens]))
    assert text == Text("Look:") and isinstance(call, ToolCall) and call.name == "say"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "items": {"type": "integer"}, "minItems": 600},
        {"type": "string", "pattern": "^[a-z]{30,60}-[0-9]{3}$"},
        {"type": "array", "items": {"type": "object", "properties": {"a": {"enum": ["long", "x"]}}}, "minItems": 40},
    ],
)
@pytest.mark.parametrize("spare", [1, 40])
def test_required_text_is_completed_however_little_room_is_left(schema: Schema, spare: int) -> None:
    compiler = GrammarCompiler(byte_tokenizer)
    first = compiler.json_schema(schema).compiled.first_end
    assert first is not None
    most = len(first.tokens) + spare
    tokens, ended = written(compiler.json_schema(schema, max_tokens=most)(), most, random.Random(3))
    assert ended
    check(schema, bytes(tokens))


def test_ends_are_searched_for_on_a_thread_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def recorded(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return shortest_end(*arguments)

    compiler = GrammarCompiler(byte_tokenizer)
    schema = {"type": "array", "items": {"type": "object", "required": ["a", "b"]}, "minItems": 9}
    grammar = compiler.json_schema(schema, max_tokens=MOST_BYTES)
    monkeypatch.setattr(closing, "shortest_end", recorded)
    _, ended = written(grammar(), MOST_BYTES, random.Random(1))
    assert ended
    assert threads and all(name.startswith("grammar-search") for name in threads), set(threads)


def test_a_search_takes_a_bounded_number_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    matcher = LLMatcher(BYTES, f"start: {of_schema({'type': 'array', 'minItems': 1000})}\n", log_level=0)
    assert shortest_end(matcher, 10_000) is not None
    monkeypatch.setattr("inference.grammars.shortest_end.MAX_STEPS", 1000)
    assert shortest_end(matcher, 10_000) is None


class OtherTokens:
    """A vocabulary of bytes whose text is written with a token that no grammar allows."""

    eos_token = END

    def decode_bytes(self, tokens: list[int]) -> bytes:
        return bytes(byte for token in tokens for byte in (b'..."' if token == END - 1 else bytes([token])))

    def tokenize_bytes(self, text: bytes) -> list[int]:
        return [END - 1] if text == b'..."' else list(text)


def test_a_token_that_the_grammar_does_not_allow_is_never_forced() -> None:
    grammar = GrammarCompiler(byte_tokenizer).json_schema({"type": "string", "minLength": 3}, max_tokens=3)
    ends = replace(grammar.compiled.ends, tokenizer=OtherTokens())
    compiled = replace(grammar.compiled, ends=ends, first_end=None)
    tokens, ended = written(replace(grammar, compiled=compiled)(), 3, random.Random(1))
    assert not ended and len(tokens) == 3 and END - 1 not in tokens
