"""Converts schemas of OpenAPI documents and of older drafts to today's JSON Schema. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

#: Formats that JSON Schema defines. All others (`int32`, `password`, `byte`, …) do not restrict what is valid.
FORMATS = frozenset({
    "date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6", "uri",
    "uri-reference", "iri", "iri-reference", "uuid", "uri-template", "json-pointer", "relative-json-pointer", "regex",
})  # fmt: skip
#: Keywords that have a value of the schema, which may be null. Null at any other keyword means that it is absent.
_VALUES = frozenset({"const", "default"})
#: Years that calendars have: RFC 3339 allows 0000, which no date type of Python or Java takes.
_YEAR = r"^(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])-"
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_SINGLE = ("items", "additionalProperties", "additionalItems", "not", "contains", "propertyNames", "if", "then", "else")
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems", "items")


def modern(schema: Any) -> Any:
    """Return a copy without keywords that have no effect, with draft 4's exclusive bounds as numbers and dated years.

    It changes only schemas: a property may be called `format`, and an example may look like a schema.
    """
    if not isinstance(schema, dict):
        return schema
    known = {key: value for key, value in descended(schema, modern).items() if value is not None or key in _VALUES}
    if isinstance(known.get("format"), str) and known["format"] not in FORMATS:
        del known["format"]
    if known.get("format") in ("date", "date-time"):
        known.setdefault("pattern", _YEAR)
    if known.get("uniqueItems") is False:
        del known["uniqueItems"]
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(known.get(exclusive), bool) and known.pop(exclusive) and bound in known:
            known[exclusive] = known.pop(bound)
    return known


def descended(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    changed = dict(schema)
    for name in _NAMED:
        if isinstance(schema.get(name), dict):
            changed[name] = {key: change(part) for key, part in schema[name].items()}
    for name in _SINGLE:
        if isinstance(schema.get(name), dict):
            changed[name] = change(schema[name])
    for name in _LISTED:
        if isinstance(schema.get(name), list):
            changed[name] = [change(part) for part in schema[name]]
    components = schema.get("components")
    if isinstance(components, dict) and isinstance(components.get("schemas"), dict):
        parts = {key: change(part) for key, part in components["schemas"].items()}
        changed["components"] = {**components, "schemas": parts}
    return changed
