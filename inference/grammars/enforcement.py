"""How much of a schema a grammar can enforce: the schemas to try, from the whole one to its bare structure. Pure.

What the grammar does not enforce is checked in the finished answer (`inference.grammars.schema_check`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from inference.grammars.prepared_schema import prepared
from inference.grammars.schema_dialects import descended, modern

Schema = dict[str, Any]

#: The keywords of a schema's structure, which a grammar can always enforce if the schema is one.
_STRUCTURE = frozenset({
    "$ref", "$defs", "definitions", "components", "type", "properties", "required", "additionalProperties", "items",
    "prefixItems", "enum", "const", "anyOf", "oneOf", "$schema", "$id", "id",
})  # fmt: skip


def candidates(schema: Schema, compiles: Callable[[str], bool]) -> Iterator[tuple[Schema, bool]]:
    """Yield schemas that a grammar may enforce, strictest first, and whether each says all that `schema` does.

    `compiles` returns whether a regular expression can be enforced.
    """
    yield prepared(schema), True
    plain = modern(schema)
    yield plain, True
    usable = _without_patterns(plain, compiles)
    yield usable, False
    yield _structure(usable, compiles), False


def _without_patterns(schema: Any, compiles: Callable[[str], bool]) -> Any:
    """Return the schema without the regular expressions that are some, but that no grammar can enforce."""
    if not isinstance(schema, dict):
        return schema
    left = descended(schema, lambda part: _without_patterns(part, compiles))
    if isinstance(left.get("pattern"), str) and _is_beyond_grammars(left["pattern"], compiles):
        _drop(left, "pattern")
    if isinstance(left.get("patternProperties"), dict):
        names = left["patternProperties"]
        if any(_is_beyond_grammars(name, compiles) for name in names):
            # A name that matches none of the others may have matched these.
            _drop(left, "patternProperties", "additionalProperties")
    return left


def _is_beyond_grammars(pattern: str, compiles: Callable[[str], bool]) -> bool:
    if compiles(pattern):
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _structure(schema: Any, compiles: Callable[[str], bool]) -> Any:
    """Return the bare structure of a schema, with what is no regular expression, for which it is refused."""
    if not isinstance(schema, dict):
        return schema
    left = descended(schema, lambda part: _structure(part, compiles))
    if "patternProperties" in left:
        left.pop("additionalProperties", None)
    pattern = left.get("pattern")
    invalid = {"pattern"} if isinstance(pattern, str) and not compiles(pattern) else set[str]()
    _drop(left, *(left.keys() - _STRUCTURE - invalid))
    return left


def _drop(schema: Schema, *names: str) -> None:
    """Drop keywords. A string that had more than its type still differs from one that never had."""
    dropped = [schema.pop(name) for name in names if name in schema]
    if dropped and schema.get("type") == "string":
        schema["minLength"] = 0
