"""Bounds on the JSON schemas that clients send: larger ones are refused before anything compiles them."""

from __future__ import annotations

import json
from typing import Any

from core.errors import InvalidRequest

MAX_SCHEMA_BYTES = 64 * 2**10
#: Schema compilers recurse, and the stack bounds their recursion, so deeper schemas are refused.
MAX_SCHEMA_DEPTH = 32
MAX_SCHEMA_PROPERTIES = 256
MAX_SCHEMA_REFERENCES = 512
MAX_PATTERN_CHARACTERS = 2048
#: Each pair of them is compared when a schema is compiled.
MAX_PATTERN_PROPERTIES = 32
#: The greatest value of each keyword that an answer must reach.
MAX_COUNTS = {"minItems": 1024, "minContains": 1024, "minProperties": 256, "minLength": 8192}
#: References that depend on where a schema is used.
_DYNAMIC = ("$dynamicRef", "$recursiveRef")


def check_schema(schema: Any, param: str) -> None:
    """Check that a schema is small enough to compile.

    Raises:
        InvalidRequest: the schema is too large or too deep, has too many properties or references, a count or a pattern
            is too large, or it refers to other documents.
    """
    if _depth(schema) > MAX_SCHEMA_DEPTH:
        raise _refused(param, f"the schema is nested more than {MAX_SCHEMA_DEPTH} levels deep.")
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise _refused(param, f"the schema is larger than {MAX_SCHEMA_BYTES} bytes.")
    properties = patterns = references = 0
    for node in nodes(schema):
        properties += _size(node.get("properties"))
        patterns += _size(node.get("patternProperties"))
        references += isinstance(node.get("$ref"), str)
        _check_node(node, param)
    _check_count("properties", properties, MAX_SCHEMA_PROPERTIES, param)
    _check_count("patternProperties", patterns, MAX_PATTERN_PROPERTIES, param)
    _check_count("references", references, MAX_SCHEMA_REFERENCES, param)


def _size(named: Any) -> int:
    return len(named) if isinstance(named, dict) else 0


def _check_count(name: str, count: int, most: int, param: str) -> None:
    if count > most:
        raise _refused(param, f"the schema has {count} {name}; at most {most} are allowed.")


def _check_node(node: dict[str, Any], param: str) -> None:
    reference, pattern = node.get("$ref"), node.get("pattern")
    if isinstance(reference, str) and not reference.startswith("#"):
        raise _refused(param, f"$ref {reference!r} leaves the schema; only local ones work.")
    for keyword in _DYNAMIC:
        if isinstance(node.get(keyword), str):
            raise _refused(param, f"{keyword} is not supported; use $ref.")
    if isinstance(pattern, str) and len(pattern) > MAX_PATTERN_CHARACTERS:
        raise _refused(param, f"pattern has {len(pattern)} characters; at most {MAX_PATTERN_CHARACTERS} are allowed.")
    for keyword, most in MAX_COUNTS.items():
        count = node.get(keyword)
        if isinstance(count, int | float) and not isinstance(count, bool) and count > most:
            raise _refused(param, f"{keyword} is {count:g}; at most {most} is allowed.")


def _refused(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {message}", param=param)


def _depth(value: Any) -> int:
    """Return the number of nested levels of objects and lists; stop counting above the limit."""
    level, depth = [value], 0
    while level and depth <= MAX_SCHEMA_DEPTH:
        level = [child for node in level for child in _children(node)]
        depth += 1
    return depth


def nodes(schema: Any) -> list[dict[str, Any]]:
    """Return all objects in a JSON value, the outer ones first. In a schema, those are its parts and their maps."""
    found: list[dict[str, Any]] = []
    level = [schema]
    while level:
        found += [node for node in level if isinstance(node, dict)]
        level = [child for node in level for child in _children(node)]
    return found


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
