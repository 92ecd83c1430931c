"""Bounds on the JSON schemas that clients send: larger ones are refused before anything compiles them."""

from __future__ import annotations

import json
from typing import Any

from core.errors import InvalidRequest

MAX_SCHEMA_BYTES = 64 * 2**10
#: Schema compilers recurse, and the stack bounds their recursion, so deeper schemas are refused.
MAX_SCHEMA_DEPTH = 32
MAX_SCHEMA_PROPERTIES = 256


def check_schema(schema: Any, param: str) -> None:
    """Check that a schema is small enough to compile.

    Raises:
        InvalidRequest: the schema is too large or too deep, has too many properties, or refers to other documents.
    """
    if _depth(schema) > MAX_SCHEMA_DEPTH:
        raise InvalidRequest(f"{param}: the schema is nested more than {MAX_SCHEMA_DEPTH} levels deep.", param=param)
    if len(json.dumps(schema)) > MAX_SCHEMA_BYTES:
        raise InvalidRequest(f"{param}: the schema is larger than {MAX_SCHEMA_BYTES} bytes.", param=param)
    properties = 0
    for node in _nodes(schema):
        reference, named = node.get("$ref"), node.get("properties")
        if isinstance(reference, str) and not reference.startswith("#"):
            raise InvalidRequest(f"{param}: $ref {reference!r} leaves the schema; only local ones work.", param=param)
        properties += len(named) if isinstance(named, dict) else 0
    if properties > MAX_SCHEMA_PROPERTIES:
        raise InvalidRequest(
            f"{param}: the schema has {properties} properties; at most {MAX_SCHEMA_PROPERTIES} are allowed.",
            param=param,
        )


def _depth(value: Any) -> int:
    """Return the number of nested levels of objects and lists; stop counting above the limit."""
    level, depth = [value], 0
    while level and depth <= MAX_SCHEMA_DEPTH:
        level = [child for node in level for child in _children(node)]
        depth += 1
    return depth


def _nodes(schema: Any) -> list[dict[str, Any]]:
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
