"""Generated sets of tools like those that programs of all kinds declare. The same number makes the same set."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]

NAMES = [
    "city", "größe", "名前", "emoji🙂", "with space", 'quo"te', "back\\slash", "naïve-key", "$id", "type", "properties",
    "required", "enum", "items", "{}", "a.b/c~d", "Ελλάδα", "ключ", "x" * 60, "0", "é", "null", "true", "name",
    "arguments",
]  # fmt: skip
TEXTS = ["red", "green", "blå", "日本", 'say "hi"', "tab\t", "line\nbreak", "", "</tool_call>", "🙂"]


def _enum(draw: random.Random) -> Schema:
    return {"enum": draw.sample([*TEXTS, 1, 2.5, True, None], draw.randint(1, 4))}


def _text(draw: random.Random) -> Schema:
    kinds: list[Schema] = [
        {"maxLength": draw.randint(1, 8)},
        {"minLength": 2, "maxLength": 5},
        {"pattern": "^[A-Z]{2}-[0-9]{1,3}$"},
        {"format": "date"},
        {"enum": draw.sample(TEXTS, 3)},
        {"const": draw.choice(TEXTS)},
    ]
    return {"type": "string", **draw.choice(kinds)}


def _number(draw: random.Random) -> Schema:
    low = draw.randint(-50, 50)
    kinds: list[Schema] = [
        {"type": "integer", "minimum": low, "maximum": low + draw.randint(0, 900)},
        {"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": low + 7, "default": low + 1},
        {"type": "number", "enum": [0.5, -1.25, 3]},
        {"type": "integer", "minimum": 0, "maximum": 100, "multipleOf": 5},
    ]
    return draw.choice(kinds)


def _flag(draw: random.Random) -> Schema:
    return draw.choice([{"type": "boolean"}, {"type": "boolean", "default": False}, {"type": ["boolean", "null"]}])


def _list(draw: random.Random) -> Schema:
    inner = draw.choice([_text, _number, _flag, _pairs])(draw)
    kinds: list[Schema] = [
        {"items": inner, "minItems": 1, "maxItems": 2},
        {"items": {"type": "array", "items": _number(draw), "maxItems": 2}, "maxItems": 2},
        {"prefixItems": [_flag(draw), _number(draw)], "items": False, "minItems": 2},
    ]
    return {"type": "array", **draw.choice(kinds)}


def _pairs(draw: random.Random) -> Schema:
    names = draw.sample(NAMES, 2)
    return {
        "type": "object",
        "properties": {name: draw.choice([_text, _number, _flag])(draw) for name in names},
        "required": names[:1],
        "additionalProperties": False,
    }


def _either(draw: random.Random) -> Schema:
    return {"anyOf": [{"type": "null"}, draw.choice([_text, _number])(draw)]}


def _shared(draw: random.Random) -> Schema:
    return {"$ref": draw.choice(["#/$defs/shared", "#/$defs/wrapped"])}


KINDS: list[Callable[[random.Random], Schema]] = [
    _enum, _text, _number, _flag, _list, _pairs, _either, _shared,
]  # fmt: skip


def _parameters(draw: random.Random) -> Schema:
    names = draw.sample(NAMES, draw.randint(1, 4))
    schema: Schema = {
        "type": "object",
        "properties": {name: draw.choice(KINDS)(draw) for name in names},
        "required": [name for name in names if draw.random() < 0.6],
    }
    if "$ref" in str(schema):
        schema["$defs"] = {"shared": _pairs(draw), "wrapped": {"allOf": [{"$ref": "#/$defs/shared"}]}}
    if draw.random() < 0.3:
        schema["additionalProperties"] = False
    return schema


def _tool(draw: random.Random, number: int) -> Schema:
    function: Schema = {"name": f"{draw.choice(['get', 'set', 'find-it', 'RUN_ALL'])}_{number}"}
    if draw.random() < 0.7:
        function["description"] = draw.choice(["Looks it up.", "Changes «it» – carefully.", "検索します。"])
    if draw.random() < 0.95:
        function["parameters"] = _parameters(draw)
    return {"type": "function", "function": function}


def tool_set(number: int) -> list[Schema]:
    """Return the set of tools with this number, which has one to three tools."""
    draw = random.Random(number)
    return [_tool(draw, at) for at in range(draw.randint(1, 3))]
