"""Prepares schemas for their grammar: closes objects, requires tags, says names by patterns. Pure.

What the prepared schema allows, the client's schema allows too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from core.json_schema import nodes
from inference.grammars.references import target_of
from inference.grammars.schema_dialects import descended, modern

Schema = dict[str, Any]

#: Keywords whose schemas hold for the same value as the schema that has them.
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("if", "then", "else")
#: Keywords with which an object has properties that `properties` does not list.
_OPEN = ("additionalProperties", "patternProperties")
_ANNOTATIONS = frozenset({"title", "description", "default", "examples", "deprecated", "$comment"})
#: How many schemas that hold for the same value are looked through for the names of their properties.
MAX_PARTS = 256


def prepared(schema: Schema) -> Schema:
    """Return the schema to compile: each object that lists its properties has no others, and tags are required."""
    root = modern(schema)
    return _Preparation(root).of_value(root)  # type: ignore[no-any-return]


class _Preparation:
    def __init__(self, root: Any) -> None:
        self._root = root
        #: The schemas that hold together with others for one value, so that none of them may close the object alone.
        self._together: set[int] = set()
        for node in nodes(root):
            if _is_composed(node):
                self._together |= {id(part) for part in self._parts(node)} - {id(node)}

    def of_value(self, schema: Any) -> Any:
        """Return the prepared schema of a value."""
        if not isinstance(schema, dict):
            return schema
        changed = descended(schema, self.of_value)
        self._require_tags(changed)
        _convert_names(changed)
        if "oneOf" in changed and "anyOf" not in changed and self._are_disjoint(changed["oneOf"]):
            changed["anyOf"] = changed.pop("oneOf")
        if id(schema) not in self._together:
            self._close(changed, self._parts(schema))
        return changed

    def _close(self, changed: Schema, parts: list[Schema]) -> None:
        """Allow an object only the properties that it or a part of it lists."""
        is_open = any(keyword in part for part in parts for keyword in _OPEN)
        if is_open or len(parts) > MAX_PARTS or changed.get("unevaluatedProperties", False) is not False:
            return
        listing = [part["properties"] for part in parts if isinstance(part.get("properties"), dict)]
        composed = len(parts) > 1
        if not any(listing) or (composed and "properties" not in changed and not _is_composed(changed)):
            return
        names = [name for properties in listing for name in properties]
        names += [name for part in parts for name in part.get("required", ()) if isinstance(name, str)]
        own = changed.get("properties", {})
        changed["properties"] = own | {name: True for name in names if name not in own}
        changed["additionalProperties"] = False
        changed.pop("unevaluatedProperties", None)

    def _parts(self, schema: Schema) -> list[Schema]:
        """Return the schemas that hold for the same value, this one included."""
        found: list[Schema] = []
        waiting: list[Any] = [schema]
        seen: set[int] = set()
        while waiting and len(found) <= MAX_PARTS:
            node = waiting.pop()
            if isinstance(node, dict) and id(node) not in seen:
                seen.add(id(node))
                found.append(node)
                waiting += [target_of(self._root, node.get("$ref")), *_in_place(node)]
        return found

    def _require_tags(self, schema: Schema) -> None:
        """Require the properties that have only one value and default to it: they tell the parts of a union apart."""
        properties = schema.get("properties")
        if isinstance(properties, dict):
            tags = [name for name, value in properties.items() if _is_tag(value)]
            required = schema.get("required", [])
            if isinstance(required, list) and (missing := [name for name in tags if name not in required]):
                schema["required"] = [*required, *missing]

    def _are_disjoint(self, options: Any) -> bool:
        """Return whether no value fits two of these schemas: they differ in their types, or in a tag."""
        if not isinstance(options, list):
            return False
        resolved = [self._resolved(option) for option in options]
        if not all(isinstance(one, dict) for one in resolved):
            return False
        kinds = [_types(one) for one in resolved]
        if all(kinds) and len(set().union(*kinds)) == sum(map(len, kinds)):
            return True
        tags = [_tags(one) for one in resolved]
        shared = set(tags[0]).intersection(*tags) if tags else set()
        return any(len({one[name] for one in tags}) == len(tags) for name in shared)

    def _resolved(self, schema: Any) -> Any:
        for _ in range(MAX_PARTS):
            if not isinstance(schema, dict) or set(schema) - _ANNOTATIONS != {"$ref"}:
                return schema
            schema = target_of(self._root, schema["$ref"])
        return None


def _in_place(schema: Schema) -> Iterator[Any]:
    for name in _IN_PLACE_LISTS:
        if isinstance(schema.get(name), list):
            yield from schema[name]
    for name in _IN_PLACE:
        yield schema.get(name)
    if isinstance(schema.get("dependentSchemas"), dict):
        yield from schema["dependentSchemas"].values()


def _is_composed(schema: Schema) -> bool:
    """Return whether several schemas hold together for one value."""
    unions = sum(name in schema for name in (*_IN_PLACE_LISTS, *_IN_PLACE, "$ref", "dependentSchemas"))
    return "allOf" in schema or unions > 1 or (unions == 1 and "properties" in schema)


def _is_tag(schema: Any) -> bool:
    return isinstance(schema, dict) and "default" in schema and _only_value(schema) == json.dumps(schema["default"])


def _only_value(schema: Any) -> str | None:
    """Return the only value that fits a schema, as JSON."""
    if not isinstance(schema, dict):
        return None
    if "const" in schema:
        return json.dumps(schema["const"])
    enum = schema.get("enum")
    return json.dumps(enum[0]) if isinstance(enum, list) and len(enum) == 1 else None


def _tags(schema: Schema) -> dict[str, str]:
    """Return the properties that an object must have and that can have only one value."""
    properties, required = schema.get("properties"), schema.get("required", ())
    if not isinstance(properties, dict):
        return {}
    tags = {name: part for name, part in properties.items() if name in required or _is_tag(part)}
    return {name: value for name, part in tags.items() if (value := _only_value(part)) is not None}


def _types(schema: Schema) -> set[str]:
    kinds = schema.get("type")
    found = {kinds} if isinstance(kinds, str) else set(kinds) if isinstance(kinds, list) else set()
    return {"number" if kind == "integer" else str(kind) for kind in found}


def _convert_names(schema: Schema) -> None:
    """Say with `patternProperties` what `propertyNames` says, where an object lists no properties."""
    names = schema.get("propertyNames")
    if not isinstance(names, dict):
        return
    said = set(names) - _ANNOTATIONS - {"type"}
    if not said and names.get("type", "string") == "string":
        del schema["propertyNames"]
    elif said in ({"pattern"}, {"enum"}, {"const"}) and not {"properties", "patternProperties"} & schema.keys():
        choices = names.get("enum", [names.get("const")])
        if "pattern" not in names and not (isinstance(choices, list) and all(isinstance(one, str) for one in choices)):
            return
        pattern = names.get("pattern") or f"^({'|'.join(re.escape(one) for one in choices)})$"
        schema["patternProperties"] = {pattern: schema.pop("additionalProperties", True)}
        schema["additionalProperties"] = False
        del schema["propertyNames"]
