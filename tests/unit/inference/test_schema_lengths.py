"""Schemas whose answers cannot end, or are too long, are refused before anything is compiled."""

from __future__ import annotations

from typing import Any

import pytest

from core.errors import InvalidRequest
from inference.grammars.schema_lengths import MAX_SHORTEST_CHARACTERS, check_lengths

NODE: dict[str, Any] = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
ITEM: dict[str, Any] = {"type": "array", "items": {"type": "integer"}, "minItems": 100}


def nested(levels: int) -> dict[str, Any]:
    return {**ITEM, "items": nested(levels - 1)} if levels else ITEM


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
        {"type": "object", "properties": {"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["a"]},
        {"type": "array", "items": {"$ref": "#"}},
        {"$defs": {f"d{at}": {"$ref": f"#/$defs/d{at + 1}"} for at in range(200)} | {"d200": {}}, "$ref": "#/$defs/d0"},
        {"$ref": "#/definitions/a~1b%25", "definitions": {"a/b%": {"type": "string"}}},
        nested(0),
        {"type": ["array", "null"], "minItems": 1, "items": {"$ref": "#"}},
        {},
    ],
)
def test_schemas_whose_answers_can_end_are_taken(schema: dict[str, Any]) -> None:
    check_lengths(schema, "f")


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"$ref": "#"}, "refers to itself"),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, "refers to itself"),
        ({"type": "object", "not": {"$ref": "#"}}, "refers to itself"),
        (
            {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}},
            "itself",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "recurs without an end"),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, "recurs without an end"),
        (
            {"$ref": "#/$defs/node", "$defs": {"node": NODE | {"required": ["next"]}}},
            "recurs without an end",
        ),
        ({"$ref": "#/$defs/missing"}, "points to nothing"),
        (nested(1), f"at most {MAX_SHORTEST_CHARACTERS}"),
        (nested(3), f"at most {MAX_SHORTEST_CHARACTERS}"),
        ({"type": "object", "properties": {"a": nested(2)}, "required": ["a"]}, "characters"),
    ],
)
def test_schemas_whose_answers_cannot_end_or_are_too_long_are_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        check_lengths(schema, "field")
    assert refused.value.param == "field"
