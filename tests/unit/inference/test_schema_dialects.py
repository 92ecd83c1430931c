"""How older schemas are written today."""

from __future__ import annotations

from inference.grammars.schema_dialects import modern


def test_old_ways_of_writing_are_brought_up_to_date_where_schemas_stand() -> None:
    schema = {
        "type": "object",
        "properties": {
            "format": {"type": "integer", "format": "int32"},
            "uniqueItems": {"type": "array", "uniqueItems": False, "items": {"type": "string", "format": "uuid"}},
            "price": {
                "type": "number",
                "minimum": 0,
                "exclusiveMinimum": True,
                "maximum": 9,
                "exclusiveMaximum": False,
            },
        },
        "default": {"format": "password"},
        "$defs": {"secret": {"anyOf": [{"type": "string", "format": "password"}, {"const": {"format": "x"}}]}},
    }
    assert modern(schema) == {
        "type": "object",
        "properties": {
            "format": {"type": "integer"},
            "uniqueItems": {"type": "array", "items": {"type": "string", "format": "uuid"}},
            "price": {"type": "number", "exclusiveMinimum": 0, "maximum": 9},
        },
        "default": {"format": "password"},
        "$defs": {"secret": {"anyOf": [{"type": "string"}, {"const": {"format": "x"}}]}},
    }
    assert schema["properties"]["format"] == {"type": "integer", "format": "int32"}, "the client's own is not touched"  # type: ignore[index]
