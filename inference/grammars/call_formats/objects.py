"""Calls as JSON objects, which several forms have between their markers. Pure."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from inference.grammars import lark

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
#: A whole string, the beginning of one, or a bracket.
_PART = re.compile(r'"(?:[^"\\]|\\.)*"|["\[\]{}]', re.DOTALL)

#: No head of a call is longer: a function's name has 64 characters at most.
MOST_HEAD_CHARACTERS = 128
#: A function's name, and its arguments as JSON.
Call = tuple[str, str]


class _Object(msgspec.Struct):
    """The arguments stay as the model wrote them: numbers keep all their digits."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"")
    #: What some models call them.
    parameters: msgspec.Raw = msgspec.Raw(b"{}")

    @property
    def call(self) -> Call:
        raw = bytes(self.arguments or self.parameters)
        # Some models write the arguments' JSON as a string.
        return self.name, msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()


_object, _list = msgspec.json.Decoder(_Object), msgspec.json.Decoder(list[_Object])
_arguments = msgspec.json.Decoder(dict[str, msgspec.Raw])
_UNREADABLE = (msgspec.DecodeError, RecursionError, UnicodeEncodeError)


def object_rules(rule: str, name: str, field: str, schema: dict[str, Any]) -> str:
    """The rules of a call as an object whose second field has the arguments, but for the brace that ends it."""
    return arguments_rules(rule, lark.literal(f'{{"name": {json.dumps(name)}, "{field}": '), schema)


def arguments_rules(rule: str, opening: str, schema: dict[str, Any], closing: str = "") -> str:
    """The rules of an opening, the arguments behind it, and what closes them."""
    return f"{rule}: {opening} {rule}_arguments {closing}\n{rule}_arguments: {lark.of_schema(schema)}\n"


def read_object(text: str) -> Call | None:
    """The call that an object is; None if it is none."""
    try:
        return _object.decode(text).call
    except _UNREADABLE:
        return None


def read_list(text: str) -> list[Call]:
    """The calls in a list of objects; empty if it is none."""
    try:
        return [one.call for one in _list.decode(text)]
    except _UNREADABLE:
        return []


def is_arguments(text: str) -> bool:
    """Whether this is a JSON object."""
    try:
        _arguments.decode(text)
    except _UNREADABLE:
        return False
    return True


def in_string(text: str) -> bool:
    """Whether JSON that begins like this is within a string."""
    return '"' in _STRING.sub("", text)


def end_of_json(text: str, start: int = 0) -> int:
    """Where the object or list ends that begins at `start`; -1 if it is not whole."""
    depth = 0
    for part in _PART.finditer(text, start):
        if part[0] == '"':
            return -1
        depth += part[0] in "[{"
        depth -= part[0] in "]}"
        if depth == 0:
            return part.end()
    return -1


def end_of_tag(text: str, tag: str, start: int = 0) -> int:
    """Where the first `tag` ends that stands behind the JSON at `start`, and not in a string of it; -1 if there is
    none.
    """
    at = text.find(tag, start)
    while at >= 0 and in_string(text[start:at]):
        at = text.find(tag, at + 1)
    return at + len(tag) if at >= 0 else -1


def end_of_head(text: str, marker: str) -> int:
    """Where the first `marker` ends, which has a function's name in front of it: -1 if it is not in this text, 0 if it
    is too far away for that.
    """
    at = text.find(marker, 0, MOST_HEAD_CHARACTERS + len(marker))
    if at < 0:
        return 0 if len(text) >= MOST_HEAD_CHARACTERS + len(marker) else -1
    return at + len(marker)
