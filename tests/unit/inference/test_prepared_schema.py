"""Schemas as they are prepared for their grammar: objects closed, tags required, names said as patterns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from llguidance import LLMatcher

from inference.grammars.lark import of_schema
from inference.grammars.prepared_schema import prepared
from inference.grammars.shortest_end import byte_tokenizer

NAME: dict[str, Any] = {"type": "string", "maxLength": 5}


def is_answer(schema: dict[str, Any], value: Any) -> bool:
    """Return whether the grammar of a schema accepts a value; nothing of the schema may be left to a later check."""
    matcher = LLMatcher(byte_tokenizer(), f"start: {of_schema(prepared(schema))}\n", log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    assert not matcher.get_grammar_warnings()
    return bool(matcher.consume_tokens(list(json.dumps(value).encode()))) and bool(matcher.is_accepting())


def listing(*names: str, required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(names, NAME), "required": [*required]}


CAR = {
    "type": "object",
    "properties": {"kind": {"const": "car", "default": "car"}, "brand": NAME},
    "required": ["brand"],
}
BIKE = {
    "type": "object",
    "properties": {"kind": {"enum": ["bike"], "default": "bike"}, "gears": {"type": "integer"}},
    "required": ["gears"],
}
GARAGE = {
    "$defs": {"Car": CAR, "Bike": BIKE},
    "type": "object",
    "properties": {
        "v": {
            "discriminator": {"propertyName": "kind"},
            "oneOf": [{"$ref": "#/$defs/Car"}, {"$ref": "#/$defs/Bike"}],
        },
        "all": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/Car"}, {"$ref": "#/$defs/Bike"}]}},
    },
    "required": ["v"],
}


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        (listing("a"), [{}, {"a": "x"}], [{"b": 1}, {"a": "x", "b": 1}]),
        ({"type": "array", "items": listing("a")}, [[{"a": "x"}]], [[{"b": 1}]]),
        (
            {"properties": {"o": {"$ref": "#/$defs/o"}}, "$defs": {"o": listing("a")}},
            [{"o": {"a": "x"}}],
            [{"o": {"b": 1}}],
        ),
        ({**listing("a"), "additionalProperties": True}, [{"a": "x", "b": 1}], []),
        ({**listing("a"), "additionalProperties": NAME}, [{"b": "x"}], [{"b": 1}]),
        ({**listing("a"), "patternProperties": {"^x": {"type": "integer"}}}, [{"x1": 1}], [{"x1": "x"}]),
        ({**listing("a"), "unevaluatedProperties": False}, [{"a": "x"}], [{"b": 1}]),
        ({"type": "object"}, [{"a": 1}], [1]),
        ({"type": "object", "properties": {}}, [{"a": 1}], []),
        (listing("a", required=("b",)), [{"b": [1]}, {"a": "x", "b": 1}], [{}, {"b": 1, "c": 1}]),
        (
            {"allOf": [{"$ref": "#/$defs/base"}, listing("b", required=("b",))], "$defs": {"base": listing("a")}},
            [{"a": "x", "b": "y"}],
            [{"b": "y", "c": 1}, {"a": "x"}],
        ),
        (
            {**listing("a", "b"), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
            [{"a": "x"}, {"b": "y"}, {"a": "x", "b": "y"}],
            [{}, {"a": "x", "c": 1}],
        ),
        ({"anyOf": [listing("a", required=("a",)), {"type": "null"}]}, [None, {"a": "x"}], [{"a": "x", "b": 1}]),
        (
            GARAGE,
            [
                {"v": {"kind": "bike", "gears": 3}},
                {"v": {"kind": "car", "brand": "x"}, "all": [{"kind": "bike", "gears": 1}]},
            ],
            [
                {"v": {"gears": 3}},
                {"v": {"kind": "car", "gears": 3}},
                {"v": {"kind": "bike", "gears": 1, "brand": "x"}},
            ],
        ),
        ({"oneOf": [{"type": "integer"}, {"type": ["string", "null"]}]}, [1, "x", None], [True]),
        (
            {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "integer"}},
            [{}, {"a": 1, "b": 2}],
            [{"a": "x"}],
        ),
        (
            {"type": "object", "propertyNames": {"enum": ["a.", "b"]}, "additionalProperties": {"type": "integer"}},
            [{}, {"b": 1}, {"a.": 1}],
            [{"c": 1}, {"ab": 1}, {"a.": "x"}],
        ),
        ({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}, [{"ab": 1}], [{"A": 1}]),
    ],
)
def test_the_grammar_of_a_prepared_schema_takes_what_it_should(
    schema: dict[str, Any], right: list[Any], wrong: list[Any]
) -> None:
    before = json.dumps(schema)
    assert [value for value in right if not is_answer(schema, value)] == []
    assert [value for value in wrong if is_answer(schema, value)] == []
    assert json.dumps(schema) == before, "the client's schema is the same"


def test_a_prepared_schema_stays_the_same_when_it_is_prepared_again() -> None:
    once = prepared(GARAGE)
    assert prepared(once) == once
