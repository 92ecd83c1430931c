"""Calls with a tag for each parameter: Qwen3-Coder, Qwen 3.5.

<tool_call>
<function=name>
<parameter=city>
Paris
</parameter>
</function>
</tool_call>

A string is unquoted, and ends at the first line that closes its parameter. Other values are JSON, and so are strings
with more constraints than their type. If a function's schema does more than list its parameters, one JSON object
replaces them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core.messages import ChatMessage
from inference.grammars import lark
from inference.grammars.call_formats.base import AnswerOptions, Terminals
from inference.grammars.call_formats.marked import MarkedFormat, Schemas
from inference.grammars.call_formats.objects import Call, arguments_rules, end_of_head, end_of_json, is_arguments
from inference.grammars.call_formats.tagged import CLOSE, OPEN
from inference.grammars.schema_dialects import modern

FUNCTION, FUNCTION_END = "\n<function=", "</function>\n"
PARAMETER, PARAMETER_END = "<parameter=", "\n</parameter>\n"
HEAD_END = ">\n"

_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "deprecated", "$comment"})
_LISTING = _ANNOTATIONS | {"type", "properties", "required", "additionalProperties", "$defs", "definitions", "$schema"}
#: The parts of the whole schema that references in one parameter's schema may point to.
_SHARED = ("$defs", "definitions")


class ParameterTagFormat(MarkedFormat):
    """A tag for each parameter, in the order of the schema; those that are not required may be left out."""

    markers = (OPEN, CLOSE)
    opening = OPEN
    separator = "\n"
    text_end = PARAMETER_END

    def body(self, _options: AnswerOptions, terminal: Terminals) -> str:
        text = f"parameter_text[lazy]: /(.|\\n)*{lark.pattern(PARAMETER_END)}/\n"
        return f"{lark.literal(FUNCTION)} any_call {lark.literal(FUNCTION_END)} {terminal(CLOSE)}\n{text}"

    def call_rules(self, rule: str, name: str, schema: dict[str, Any], _terminal: Terminals) -> str:
        opening = lark.literal(name + HEAD_END)
        if not _lists_parameters(schema):
            return arguments_rules(rule, opening, schema, closing=lark.literal("\n"))
        parts, rules = [opening], ""
        for at, (key, value) in enumerate(schema["properties"].items()):
            parts.append(f"{rule}_{at}" if key in schema.get("required", ()) else f"{rule}_{at}?")
            rules += f"{rule}_{at}: {lark.literal(PARAMETER + key + HEAD_END)} {_value_rule(value, schema)}\n"
        return f"{rule}: {' '.join(parts)}\n{rules}"

    def body_end(self, text: str) -> int:
        return _scanned(text, self.marker_in_text(CLOSE)).end

    def read(self, body: str, schemas: Schemas) -> list[Call]:
        found = _scanned(body, self.marker_in_text(CLOSE))
        properties = schemas.get(found.name, {}).get("properties", {})
        arguments = found.whole or _as_object(found.values, properties)
        return [(found.name, arguments)] if found.end > 0 and is_arguments(arguments) else []

    def conversation(self, messages: Sequence[ChatMessage]) -> Sequence[ChatMessage]:
        """Return the messages with all arguments as JSON objects, even malformed ones, because templates list them."""
        return [
            msgspec.structs.replace(message, tool_calls=[_with_object(call) for call in message.tool_calls])
            if message.tool_calls
            else message
            for message in messages
        ]


@dataclass
class _Scanned:
    """The parts of a body, as far as it is complete, and its `end` as `body_end` returns it."""

    end: int
    name: str = ""
    values: list[tuple[str, str]] = field(default_factory=list)
    #: The JSON object that replaces the parameters.
    whole: str = ""


def _scanned(text: str, close: str) -> _Scanned:
    if not text.startswith(FUNCTION):
        return _Scanned(-1 if FUNCTION.startswith(text) else 0)
    head = end_of_head(text[len(FUNCTION) :], HEAD_END)
    if head <= 0:
        return _Scanned(head)
    at = len(FUNCTION) + head
    found = _Scanned(-1, text[len(FUNCTION) : at - len(HEAD_END)])
    ending = FUNCTION_END + close
    if text.startswith("{", at):
        if (end := end_of_json(text, at)) < 0:
            return found
        found.whole, at, ending = text[at:end], end, "\n" + ending
    while text.startswith(PARAMETER, at):
        key_end = text.find(HEAD_END, at)
        value_end = text.find(PARAMETER_END, key_end + len(HEAD_END)) if key_end >= 0 else -1
        if value_end < 0:
            return found
        found.values.append((text[at + len(PARAMETER) : key_end], text[key_end + len(HEAD_END) : value_end]))
        at = value_end + len(PARAMETER_END)
    if text.startswith(ending, at):
        found.end = at + len(ending)
    elif not (ending.startswith(text[at:]) or PARAMETER.startswith(text[at:])):
        found.end = 0
    return found


def _as_object(values: Sequence[tuple[str, str]], properties: Mapping[str, Any]) -> str:
    """Return the arguments as JSON. Numbers keep all their digits."""
    parts = (
        f"{json.dumps(key, ensure_ascii=False)}: "
        f"{json.dumps(value, ensure_ascii=False) if _is_text(properties.get(key, _TEXT)) else value}"
        for key, value in values
    )
    return f"{{{', '.join(parts)}}}"


def _value_rule(schema: Any, root: Mapping[str, Any]) -> str:
    if _is_text(schema):
        choices = schema.get("enum", [schema["const"]] if "const" in schema else [])
        return f"({' | '.join(lark.literal(one + PARAMETER_END) for one in choices)})" if choices else "parameter_text"
    shared = {name: root[name] for name in (*_SHARED, "$schema") if name in root}
    return f"{lark.of_schema({**schema, **shared})} {lark.literal(PARAMETER_END)}"


_TEXT: dict[str, Any] = {"type": "string"}


def _is_text(schema: Any) -> bool:
    """Return whether a parameter is an unquoted string: any string, or one of a few choices."""
    if not isinstance(schema, dict):
        return False
    said = {key: value for key, value in modern(schema).items() if key not in _ANNOTATIONS}
    choices = said.pop("enum", None) or ([said.pop("const")] if "const" in said else [])
    if choices:
        return said in ({}, _TEXT) and all(isinstance(one, str) and _is_closed_by_its_end(one) for one in choices)
    return said == _TEXT


def _is_closed_by_its_end(text: str) -> bool:
    return (text + PARAMETER_END).find(PARAMETER_END) == len(text)


def _lists_parameters(schema: dict[str, Any]) -> bool:
    """Return whether a schema only lists its parameters, each with its own schema."""
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not _LISTING.issuperset(schema) or schema.get("additionalProperties", True):
        return False
    named = all(">" not in key and "\n" not in key and isinstance(value, dict) for key, value in properties.items())
    local = all(any(one.startswith(f"#/{name}/") for name in _SHARED) for one in _references(schema))
    return named and local and set(properties).issuperset(schema.get("required", ()))


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def _with_object(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict):
        return call
    text = function.get("arguments")
    if not isinstance(text, str) or not text or is_arguments(text):
        return call
    return {**call, "function": {**function, "arguments": json.dumps({"arguments": text})}}
