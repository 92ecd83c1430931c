"""The conversion of older schemas to today's JSON Schema."""

from __future__ import annotations

import pytest
from llguidance import LLMatcher

from inference.grammars.lark import of_schema
from inference.grammars.schema_dialects import modern
from inference.grammars.shortest_end import byte_tokenizer


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


@pytest.mark.parametrize("schema", [{"format": "date"}, {"format": "date-time"}, {"anyOf": [{"format": "date"}]}])
def test_dates_are_in_years_that_calendars_have(schema: dict[str, object]) -> None:
    tokenizer = byte_tokenizer()
    grammar = "start: " + of_schema({"type": "string", **schema})
    for year, is_valid in (("0000", False), ("0001", True), ("0999", True), ("2026", True)):
        text = f'"{year}-02-28{"T10:00:00Z" if schema.get("format") == "date-time" else ""}"'.encode()
        matcher = LLMatcher(tokenizer, grammar)
        assert not matcher.is_error(), matcher.get_error()
        assert (matcher.validate_tokens(list(text)) == len(text)) == is_valid, text


def test_a_pattern_of_the_client_is_kept() -> None:
    assert modern({"format": "date", "pattern": "^20"}) == {"format": "date", "pattern": "^20"}
