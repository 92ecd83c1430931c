"""Calls as JSON objects, which several formats have between their markers. Pure."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import msgspec

from inference.grammars import lark

#: A string, or the beginning of one, whose group is empty. What is in it is never looked at again.
_STRING = r'"(?:[^"\\]++|\\.)*+("?)'
#: A string or a bracket.
_PART = re.compile(rf"{_STRING}|[\[\]{{}}]", re.DOTALL)

#: What precedes the arguments of a call.
_HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([\w-]{1,64})"\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')

#: The head of a call is at most this long: a function's name has 64 characters at most.
MOST_HEAD_CHARACTERS = 128
#: A function's name, and its arguments as JSON.
Call = tuple[str, str]


class _Object(msgspec.Struct):
    """A call. The arguments stay as the model wrote them, so that numbers keep all their digits."""

    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"")
    #: Some models' name for the arguments.
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
    """Return the rules of a call as an object whose second field has the arguments, without its closing brace."""
    return arguments_rules(rule, lark.literal(f'{{"name": {json.dumps(name)}, "{field}": '), schema)


def arguments_rules(rule: str, opening: str, schema: dict[str, Any], closing: str = "") -> str:
    """Return the rules of an opening, the arguments after it, and what closes them."""
    return f"{rule}: {opening} {rule}_arguments {closing}\n{rule}_arguments: {lark.of_schema(schema)}\n"


def read_object(text: str) -> Call | None:
    """Return the call in a JSON object, or None if the text is not a call."""
    try:
        return _object.decode(text).call
    except _UNREADABLE:
        return None


def begun_object(text: str) -> tuple[str, int] | None:
    """Return the function's name and where the arguments begin in the beginning of a call; None if they have not."""
    head = _HEAD.match(text)
    return (head[1], head.end()) if head else None


def read_list(text: str) -> list[Call]:
    """Return the calls in a JSON list of objects; none if the text is not such a list."""
    try:
        return [one.call for one in _list.decode(text)]
    except _UNREADABLE:
        return []


def is_arguments(text: str) -> bool:
    """Return whether the text is a JSON object."""
    try:
        _arguments.decode(text)
    except _UNREADABLE:
        return False
    return True


def end_of_json(text: str, start: int = 0) -> int:
    """Return where the object or list that begins at `start` ends, or -1 if it is incomplete."""
    depth = 0
    for part in _PART.finditer(text, start):
        if part[1] == "":
            return -1
        depth += part[0] in "[{"
        depth -= part[0] in "]}"
        if depth == 0:
            return part.end()
    return -1


def end_of_tag(text: str, tag: str, start: int = 0) -> int:
    """Return where the first `tag` ends that follows the JSON at `start` and is not in one of its strings, or -1."""
    for part in _string_or(tag).finditer(text, start):
        if part[1] is None:
            return part.end()
    return -1


@cache
def _string_or(tag: str) -> re.Pattern[str]:
    return re.compile(f"{_STRING}|{re.escape(tag)}", re.DOTALL)


def end_of_head(text: str, marker: str) -> int:
    """Return where the first `marker`, which follows a function's name, ends.

    Return -1 if it is not in this text yet, or 0 if too much text precedes it for a name.
    """
    at = text.find(marker, 0, MOST_HEAD_CHARACTERS + len(marker))
    if at < 0:
        return 0 if len(text) >= MOST_HEAD_CHARACTERS + len(marker) else -1
    return at + len(marker)
