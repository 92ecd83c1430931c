"""400 JSON schemas of the kinds that clients send: fifty objects, shaped like those of public APIs, in eight styles.

`data/schema_objects.txt` contains the objects, and explains its format.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

OBJECTS = Path(__file__).with_name("data") / "schema_objects.txt"
FORMATS = frozenset(
    ["uuid", "email", "uri", "date", "date-time", "time", "duration", "ipv4", "ipv6", "hostname", "password", "byte"]
)
#: Keywords that no grammar can enforce, so that a schema with one of them is refused with the keyword's name.
UNENFORCEABLE: tuple[tuple[str, Any], ...] = (
    ("uniqueItems", True),
    ("not", {"required": ["legacy_id"]}),
    ("dependentRequired", {"from": ["to"]}),
    ("propertyNames", {"pattern": "^[a-z_]+$"}),
    ("if", {"required": ["a"]}),
    ("unevaluatedProperties", False),
    ("contains", {"const": "x"}),
    ("pattern", "^(?!test).*$"),
)


class Field:
    """A field of an object."""

    def __init__(self, text: str) -> None:
        self.required = text.startswith("*")
        self.name, _, kind = text.removeprefix("*").partition(":")
        self.nullable = kind.endswith("?")
        self.kind = kind.removesuffix("?")

    def schema(self, refer: Callable[[str], Any]) -> Any:
        """Return the schema of the field; `refer` returns the schema for another object's name."""
        kind = self.kind
        if kind.endswith("[]"):
            return {"type": "array", "items": _leaf(kind[:-2], refer)}
        if kind.endswith("{}"):
            return {"type": "object", "additionalProperties": _leaf(kind[:-2], refer)}
        return _leaf(kind, refer)


def _leaf(kind: str, refer: Callable[[str], Any]) -> Any:
    if kind.startswith("@"):
        return refer(kind[1:])
    if kind.startswith("/"):
        return {"type": "string", "pattern": kind[1:-1]}
    if bounds := re.fullmatch(r"(int|num)=(-?\d+)\.\.(\d+)", kind):
        number = "integer" if bounds[1] == "int" else "number"
        return {"type": number, "minimum": int(bounds[2]), "maximum": int(bounds[3])}
    if kind.startswith("str"):
        return {"type": "string"} | ({"maxLength": int(kind[5:])} if "<=" in kind else {})
    simple: dict[str, Any] = {
        "bool": {"type": "boolean"},
        "num": {"type": "number"},
        "num>0": {"type": "number", "minimum": 0.1},
        "money": {"type": "number", "minimum": 0, "maximum": 1_000_000, "multipleOf": 0.01},
        "int32": {"type": "integer", "format": "int32"},
        "int64": {"type": "integer", "format": "int64"},
    }
    if kind in simple:
        return dict(simple[kind])
    if kind in FORMATS:
        return {"type": "string", "format": kind}
    return {"type": "string", "enum": kind.split("|")}


PARSED: dict[str, list[Field]] = {
    line.split()[0]: [Field(text) for text in line.split()[1:]]
    for line in OBJECTS.read_text("utf-8").splitlines()
    if not line.startswith("#")
}


def _described(name: str) -> Schema:
    """Return a schema as in OpenAPI 3.0 documents: `nullable`, examples, annotations, and nested objects inlined."""
    properties = {}
    for number, field in enumerate(PARSED[name]):
        extra: Schema = {"description": f"The {field.name} of the {name}."}
        extra |= {"nullable": True} if field.nullable else {}
        extra |= {"readOnly": True, "xml": {"attribute": True}} if number == 0 else {}
        properties[field.name] = field.schema(_described) | extra
    required = [field.name for field in PARSED[name] if field.required]
    return {"type": "object", "title": name, "required": required, "properties": properties, "x-internal": False}


def _strict(name: str) -> Schema:
    """Return a schema for OpenAI's strict mode: closed, with all fields required; optional ones may be null."""

    def value(field: Field) -> Any:
        found = field.schema(_strict)
        if field.required:
            return found
        if "enum" in found:
            return found | {"type": ["string", "null"], "enum": [*found["enum"], None]}
        return (
            {"anyOf": [found, {"type": "null"}]} if "type" not in found else found | {"type": [found["type"], "null"]}
        )

    properties = {field.name: value(field) for field in PARSED[name]}
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _page(name: str) -> Schema:
    """Return the schema of a list as REST APIs return it."""
    return {
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": _described(name), "maxItems": 2},
            "has_more": {"type": "boolean", "default": False},
            "next": {"type": ["string", "null"], "format": "uri"},
        },
        "required": ["object", "data", "has_more"],
    }


def _pydantic(name: str) -> Schema:
    """Return a schema as pydantic writes it: `$defs`, titles, `anyOf` with null, defaults."""
    used: dict[str, Schema] = {}

    def refer(other: str) -> Schema:
        if other not in used:
            used[other] = {}
            used[other] = model(other)
        return {"$ref": f"#/$defs/{other}"}

    def model(other: str) -> Schema:
        properties = {}
        for field in PARSED[other]:
            found = field.schema(refer)
            if field.nullable:
                found = {"anyOf": [found, {"type": "null"}], "default": None}
            properties[field.name] = found | ({} if "$ref" in found else {"title": field.name.title()})
        required = [field.name for field in PARSED[other] if field.required]
        return {"title": other, "type": "object", "properties": properties, "required": required}

    return model(name) | {"$defs": used}


def _union(name: str) -> Schema:
    """Return the schema of the object or an error, with a constant that distinguishes them."""

    def tagged(tag: str, part: Schema) -> Schema:
        return part | {
            "properties": {"record_type": {"const": tag}, **part["properties"]},
            "required": ["record_type", *part["required"]],
        }

    either = "oneOf" if len(name) % 2 else "anyOf"
    options = [tagged(name, _strict(name)), tagged("failure", _strict("problem"))]
    result = {either: options, "discriminator": {"propertyName": "record_type"}}
    return {"type": "object", "properties": {"result": result}, "required": ["result"], "additionalProperties": False}


def _draft(name: str) -> Schema:
    """Return a schema of an older draft: `definitions`, `allOf` with a base, exclusive bounds as booleans."""
    own = {field.name: field.schema(lambda other: {"$ref": f"#/definitions/{other}"}) for field in PARSED[name]}
    used = [field.kind.strip("@[]{}") for field in PARSED[name] if field.kind.startswith("@")]
    base = {"type": "object", "properties": {"revision": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}}}
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "id": f"https://schemas.example.com/{name}.json",
        "allOf": [
            {"$ref": "#/definitions/base"},
            {
                "type": "object",
                "properties": own,
                "required": [f.name for f in PARSED[name] if f.required] or ["revision"],
            },
        ],
        "definitions": {"base": base} | {other: _described(other) for other in used},
    }


def _change(name: str, unenforceable: tuple[str, Any] | None) -> Schema:
    """Return the schema of a merge patch, which needs any one field, with a keyword that cannot be enforced."""
    properties = {field.name: field.schema(_described) for field in PARSED[name]}
    changed: Schema = {"type": "object", "properties": properties, "minProperties": 1, "additionalProperties": False}
    if unenforceable is None:
        return changed
    keyword, value = unenforceable
    if keyword in ("uniqueItems", "contains"):
        properties["tags"] = {"type": "array", "items": {"type": "string"}, keyword: value}
    elif keyword == "pattern":
        properties["slug"] = {"type": "string", keyword: value}
    else:
        changed[keyword] = value
    return changed


def _extraction(name: str) -> Schema:
    """Return a schema for extraction from a text: a few objects, the reasoning, a confidence."""
    return {
        "type": "object",
        "properties": {
            "reasoning": {"type": "string", "maxLength": 200, "minLength": 10},
            name + "s": {"type": "array", "items": _pruned(name), "minItems": 1, "maxItems": 3, "uniqueItems": False},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "language": {"type": "string", "pattern": "^[a-z]{2}(-[A-Z]{2})?$"},
        },
        "required": ["reasoning", name + "s", "confidence"],
        "additionalProperties": False,
    }


def _pruned(name: str) -> Schema:
    strict = _strict(name)
    kept = [field.name for field in PARSED[name] if field.required]
    properties = {key: strict["properties"][key] for key in kept}
    return strict | {"properties": properties, "required": kept}


def collection() -> Iterator[tuple[str, Schema, str | None]]:
    """Yield each schema with its name, and the keyword for which it is refused, or None if it can be enforced."""
    for number, name in enumerate(PARSED):
        unenforceable = UNENFORCEABLE[number // 2 % len(UNENFORCEABLE)] if number % 2 else None
        styles = (_described, _strict, _page, _pydantic, _union, _draft, _extraction)
        for style in styles:
            yield f"{style.__name__.strip('_')}-{name}", style(name), None
        yield f"change-{name}", _change(name, unenforceable), unenforceable[0] if unenforceable else None
