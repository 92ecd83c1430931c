"""The conversion of older schemas to today's JSON Schema."""

from __future__ import annotations

from inference.grammars.schema_dialects import modern


def test_outdated_keywords_are_converted_in_schemas_and_nowhere_else() -> None:
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
    assert schema["properties"]["format"] == {"type": "integer", "format": "int32"}, "the client's schema is the same"  # type: ignore[index]
