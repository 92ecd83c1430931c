"""How JSON is brought to its end, by hand-made masks; and how older schemas are written today."""

from __future__ import annotations

from typing import Any

import pytest

from inference.closing import ClosingTokens, Room, allows, least_characters
from inference.schema_dialects import modern

TOKENS = ClosingTokens(quote=ord('"'), brace=ord("}"), bracket=ord("]"), comma=ord(","))


def mask_of(characters: str) -> bytes:
    mask = bytearray(32)
    for character in characters:
        mask[ord(character) >> 3] |= 1 << (ord(character) & 7)
    return bytes(mask)


@pytest.mark.parametrize(
    ("allowed", "left"),
    [
        ('abc"}],', '"'),  # in a string
        ('"}', "}"),  # after an object's opening, or its last required value
        ('"]', "]"),  # after a list's opening
        (",}", "}"),  # after a value: the rest is optional
        (",]", "]"),
        ("123,.", ","),  # a number, and more is required
        ('"123-tfn', '"'),  # a value of any type: a string has the shortest end
        ("abc}],", "abc}],"),  # in a string that has not its least length
        ("123-", "123-"),
        (":", ":"),
    ],
)
def test_what_can_be_ended_is_ended(allowed: str, left: str) -> None:
    narrowed = TOKENS.narrowed(mask_of(allowed))
    assert {chr(token) for token in range(256) if allows(narrowed, token)} == set(left)


def test_a_vocabulary_without_single_characters_ends_nothing() -> None:
    assert ClosingTokens.of(lambda text: [ord(text)]) == TOKENS
    assert ClosingTokens.of(lambda text: [1, 2]) is None


NODE = {"type": "object", "properties": {"next": {"$ref": "#"}, "v": {"type": "string"}}, "required": ["v"]}


@pytest.mark.parametrize(
    ("schema", "characters"),
    [
        ({}, 2),
        (True, 2),
        ({"const": "abc"}, 5),
        ({"enum": ["a", "bcd", None]}, 3),
        ({"type": "string", "minLength": 10}, 12),
        ({"type": ["string", "null"]}, 4),
        ({"type": "array", "items": {"const": 1}, "minItems": 3}, 11),
        ({"type": "object", "required": ["abc"], "properties": {"abc": {"const": 1}}}, 12),
        ({"anyOf": [{"const": "long one"}, {"const": 1}]}, 3),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 1}}}, 1),
        (NODE, 11),
        ({"$ref": "#/nowhere"}, 2),
        ({"type": "object", "required": 5, "properties": [], "minItems": "x"}, 2),
    ],
)
def test_the_shortest_answer_is_estimated(schema: Any, characters: int) -> None:
    assert least_characters(schema, schema) == characters


def test_a_schema_that_refers_to_itself_for_ever_has_an_estimate() -> None:
    loop = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}
    assert least_characters(loop, loop) < 500


def test_the_end_comes_when_the_room_is_short() -> None:
    room = Room.of({"type": "string"}, 100)
    assert room is not None and not room.is_short(0) and room.is_short(100 - room.reserve)
    assert Room.of({"type": "string", "minLength": 1000}, 100) is None, "not even the shortest answer fits"


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
