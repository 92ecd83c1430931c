"""Brings JSON to its end before its tokens run out: an answer that is cut in the middle is no JSON, and of no use.

While there is room the model writes what it likes. Once only as many tokens are left as the shortest end may need,
strings, lists and objects are closed as soon as the grammar allows it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: Characters that a token of JSON has at least, on average: keys and punctuation are short pieces.
CHARACTERS_PER_TOKEN = 2.5
#: Tokens for what the shortest answer does not have: what is open when the room ends.
SLACK_TOKENS = 12
MAX_REFERENCES = 8
#: Shortest values of formats and patterns, about.
FORMAT_CHARACTERS, PATTERN_CHARACTERS, NUMBER_CHARACTERS = 38, 24, 6


@dataclass(frozen=True)
class ClosingTokens:
    """The tokens that end things, each a single character."""

    quote: int
    brace: int
    bracket: int
    comma: int

    @classmethod
    def of(cls, tokenize: Callable[[str], list[int]]) -> ClosingTokens | None:
        """Those of a vocabulary; None if it has no such tokens."""
        found = [tokenize(character) for character in '"}],']
        return cls(*(ids[0] for ids in found)) if all(len(ids) == 1 for ids in found) else None

    def narrowed(self, mask: bytes) -> bytes:
        """The mask with nothing but the token that ends what can be ended, or the mask itself.

        Args:
            mask: one bit for each token that the grammar allows.
        """
        quote, brace, bracket, comma = (
            allows(mask, token) for token in (self.quote, self.brace, self.bracket, self.comma)
        )
        if brace and bracket:  # only within a string may both come
            return _only(mask, self.quote) if quote else mask
        for allowed, token in ((brace, self.brace), (bracket, self.bracket), (quote, self.quote), (comma, self.comma)):
            if allowed:
                return _only(mask, token)
        return mask


@dataclass(frozen=True)
class Room:
    """Tokens that an answer may have, and how many of them its end may need."""

    max_tokens: int
    reserve: int

    @classmethod
    def of(cls, schema: Mapping[str, Any], max_tokens: int) -> Room | None:
        """The room of an answer of a schema; None if not even the shortest one fits."""
        reserve = int(least_characters(schema, schema) / CHARACTERS_PER_TOKEN) + SLACK_TOKENS
        return cls(max_tokens, reserve) if reserve < max_tokens else None

    def is_short(self, used: int) -> bool:
        """Whether it is time to come to an end."""
        return self.max_tokens - used <= self.reserve


def allows(mask: bytes, token: int) -> bool:
    """Whether a token's bit is set."""
    return bool(mask[token >> 3] >> (token & 7) & 1)


def _only(mask: bytes, token: int) -> bytes:
    narrowed = bytearray(len(mask))
    narrowed[token >> 3] = 1 << (token & 7)
    return bytes(narrowed)


def least_characters(schema: Any, root: Any, references: int = 0) -> int:
    """Characters of about the shortest JSON that fits a schema."""
    if not isinstance(schema, Mapping):
        return 2
    if "const" in schema:
        return len(json.dumps(schema["const"]))
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return min(len(json.dumps(value)) for value in schema["enum"])
    if isinstance(schema.get("$ref"), str):
        target = _resolve(schema["$ref"], root)
        return least_characters(target, root, references + 1) if references < MAX_REFERENCES else 2

    def least(part: Any) -> int:
        return least_characters(part, root, references)

    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return _least_object(schema, least) + min(map(least, schema[keyword]))
    if isinstance(schema.get("allOf"), list):
        return _least_object(schema, least) + sum(map(least, schema["allOf"]))
    return _least_of_type(schema, least)


def _least_of_type(schema: Mapping[str, Any], least: Callable[[Any], int]) -> int:
    kind = schema.get("type")
    if isinstance(kind, list):
        if "null" in kind:
            return 4
        kind = kind[0] if kind else None
    if kind == "string":
        shaped = FORMAT_CHARACTERS if "format" in schema else PATTERN_CHARACTERS if "pattern" in schema else 0
        return 2 + max(_number(schema.get("minLength")), shaped)
    if kind == "array":
        items = schema.get("items")
        fixed = schema.get("prefixItems")
        return 2 + _number(schema.get("minItems")) * (2 + least(items)) + sum(map(least, fixed or ()))
    if kind in ("number", "integer"):
        return NUMBER_CHARACTERS
    return _least_object(schema, least)


def _least_object(schema: Mapping[str, Any], least: Callable[[Any], int]) -> int:
    properties, required = schema.get("properties"), schema.get("required")
    named = properties if isinstance(properties, Mapping) else {}
    keys = required if isinstance(required, list) else []
    return 2 + sum(len(str(key)) + 6 + least(named.get(key)) for key in keys)


def _resolve(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if part and isinstance(found, Mapping) else found if not part else None
    return found


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0
