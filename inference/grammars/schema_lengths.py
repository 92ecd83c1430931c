"""How short the JSON of a schema can be, and whether a schema recurs without an end. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from core.errors import InvalidRequest
from core.json_schema import nodes
from inference.grammars.references import target_of

#: The shortest text that fits a schema or a part of it may have this many characters.
MAX_SHORTEST_CHARACTERS = 8192
#: How many schemas are visited at most; what is not known by then is not refused.
MAX_VISITS = 100_000
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_SHORTEST = {"string": 2, "array": 2, "object": 2, "null": 4, "boolean": 4, "number": 1, "integer": 1}


def check_lengths(schema: Any, param: str) -> None:
    """Check that an answer of this schema can end, and that the shortest one is not too long.

    Raises:
        InvalidRequest: naming `$ref`, or the length and its limit.
    """
    for reference in references(schema):
        if target_of(schema, reference) is None:
            raise InvalidRequest(f"{param}: $ref {reference!r} points to nothing in the schema.", param=param)
    if (name := _endless_reference(schema)) is not None:
        raise InvalidRequest(f"{param}: $ref {name!r} refers to itself without an end.", param=param)
    lengths = _Lengths(schema)
    if lengths.shortest() == math.inf:
        raise InvalidRequest(f"{param}: no JSON fits the schema: by its $ref it recurs without an end.", param=param)
    if (longest := lengths.longest_part()) > MAX_SHORTEST_CHARACTERS:
        raise InvalidRequest(
            f"{param}: the shortest JSON that fits the schema or a part of it has {longest} characters; at most "
            f"{MAX_SHORTEST_CHARACTERS} are allowed. Lower minItems, minLength or the like, or shorten its constants.",
            param=param,
        )


def references(schema: Any) -> list[str]:
    """Return the targets of all `$ref`, each once."""
    return list(dict.fromkeys(node["$ref"] for node in nodes(schema) if isinstance(node.get("$ref"), str)))


def _endless_reference(root: Any) -> str | None:
    """Return a `$ref` that leads back to itself without a property or an item in between."""
    finished: set[str] = set()
    for first in references(root):
        path: list[tuple[str, Iterator[str]]] = [(first, iter(_in_place_references(target_of(root, first))))]
        while path and first not in finished:
            name, following = path[-1]
            reference = next(following, None)
            if reference is None:
                finished.add(name)
                path.pop()
            elif any(reference == one for one, _ in path):
                return reference
            elif reference not in finished:
                path.append((reference, iter(_in_place_references(target_of(root, reference)))))
    return None


def _in_place_references(schema: Any) -> list[str]:
    """Return the references that hold for the same value as the schema."""
    found: list[str] = []
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                found.append(node["$ref"])
            waiting += [part for name in _IN_PLACE_LISTS if isinstance(node.get(name), list) for part in node[name]]
            waiting += [node.get(name) for name in _IN_PLACE]
            if isinstance(node.get("dependentSchemas"), dict):
                waiting += node["dependentSchemas"].values()
    return found


class _Lengths:
    """Lower bounds of the lengths of JSON texts: infinite where none can end."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._known: dict[str, float] = dict.fromkeys(references(root), math.inf)
        self._visits = 0
        #: The lengths of schemas by their `id`, once those of the references are known.
        self._final: dict[int, float] | None = None

    def shortest(self) -> float:
        """Return a lower bound of the length of all answers."""
        changed = True
        while changed and self._visits < MAX_VISITS:
            changed = False
            for reference, known in self._known.items():
                length = self._of(target_of(self._root, reference))
                if length < known:
                    self._known[reference], changed = length, True
        return self._of(self._root) if self._visits < MAX_VISITS else 0

    def longest_part(self) -> int:
        """Return the greatest lower bound of the length of a part of an answer; call `shortest` before."""
        self._final = {}
        finite = (length for part in nodes(self._root) if (length := self._of(part)) < math.inf)
        return int(max(finite, default=0))

    def _of(self, schema: Any) -> float:
        if not isinstance(schema, dict):
            return 1
        if self._final is None:
            self._visits += 1
            return self._computed(schema)
        if id(schema) not in self._final:
            self._final[id(schema)] = self._computed(schema)
        return self._final[id(schema)]

    def _computed(self, schema: dict[str, Any]) -> float:
        bounds: list[float] = [1]
        if isinstance(schema.get("$ref"), str):
            bounds.append(self._known.get(schema["$ref"], 1))
        if isinstance(schema.get("allOf"), list):
            bounds += [self._of(part) for part in schema["allOf"]]
        for name in ("anyOf", "oneOf"):
            if isinstance(schema.get(name), list) and schema[name]:
                bounds.append(min(self._of(part) for part in schema[name]))
        if "const" in schema:
            bounds.append(_length(schema["const"]))
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            bounds.append(min(map(_length, schema["enum"])))
        kinds = schema.get("type")
        names = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) and kinds else []
        if names:
            bounds.append(min(self._of_type(str(name), schema) for name in names))
        return max(bounds)

    def _of_type(self, name: str, schema: dict[str, Any]) -> float:
        if name == "object":
            return self._of_object(schema)
        if name == "array":
            return self._of_array(schema)
        if name == "string":
            return 2 + _count(schema.get("minLength"))
        return _SHORTEST.get(name, 1)

    def _of_object(self, schema: dict[str, Any]) -> float:
        required = schema.get("required")
        names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
        properties = schema.get("properties")
        known = properties if isinstance(properties, dict) else {}
        length: float = 2 + sum(len(name) + 4 + self._of(known.get(name)) for name in names)
        more = _count(schema.get("minProperties")) - len(names)
        return length + 5 * max(0, more)

    def _of_array(self, schema: dict[str, Any]) -> float:
        count = _count(schema.get("minItems"))
        prefix = schema.get("prefixItems")
        first = prefix[:count] if isinstance(prefix, list) else []
        more = count - len(first)
        others = more * self._of(schema.get("items")) if more else 0
        return 2 + sum(map(self._of, first)) + others + 2 * max(0, count - 1)


def _length(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False))


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and math.isfinite(value) and value > 0 else 0
