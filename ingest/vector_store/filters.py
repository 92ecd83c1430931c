"""Filters of searches as the conditions of a store, and what of a document's attributes is indexed for them.

A comparison for equality looks for a term, `["key", value]` as JSON, among those of a point: so one index serves all
keys there may ever be. A comparison of numbers needs the value itself, with an index for each key.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from core.messages import Filter, FilterValue

#: The payload key of the terms.
ATTRIBUTE_TERMS = "attribute_terms"
#: Keys of a filter that are a document's own. All others are attributes.
DOCUMENT_KEYS = frozenset({"document_id", "filename", "path", "type"})
ATTRIBUTES_PREFIX = "attributes."


@dataclass(frozen=True)
class Conditions:
    """Makes the conditions of one store, of the classes that its client has for them."""

    filter: Any
    field: Any
    match_value: Any
    match_any: Any
    range: Any

    def equals(self, key: str, value: str | int) -> Any:
        """The payload has this value."""
        return self.field(key=key, match=self.match_value(value=value))

    def any_of(self, key: str, values: Iterable[str]) -> Any:
        """The payload has one of these values."""
        return self.field(key=key, match=self.match_any(any=list(values)))

    def all_of(self, *conditions: Any, but: Any = None) -> Any:
        """All of the conditions hold, and not the one in `but`."""
        return self.filter(must=list(conditions), must_not=None if but is None else [but])

    def scope(self, collections: Sequence[str], filters: Filter | None) -> Any:
        """What a search is limited to; None if it is not."""
        conditions = [self.any_of("collection", collections)] if collections else []
        if filters is not None:
            conditions.append(self._condition(filters))
        return self.filter(must=conditions) if conditions else None

    def _condition(self, filters: Filter) -> Any:
        match filters.type:
            case "and":
                return self.filter(must=[self._condition(item) for item in filters.filters])
            case "or":
                return self.filter(should=[self._condition(item) for item in filters.filters])
            case "eq" | "in":
                return self._has(filters)
            case "ne" | "nin":
                return self.filter(must_not=[self._has(filters)])
        return self.field(
            key=number_path(attribute_name(filters.key)), range=self.range(**{filters.type: filters.value})
        )

    def _has(self, filters: Filter) -> Any:
        values = filters.value if isinstance(filters.value, list) else [filters.value]
        if filters.key in DOCUMENT_KEYS:
            return self.any_of(filters.key, map(str, values))
        return self.any_of(ATTRIBUTE_TERMS, (_term(attribute_name(filters.key), value) for value in values))


def attribute_name(key: str) -> str:
    """The attribute that a filter's key speaks of."""
    return key.removeprefix(ATTRIBUTES_PREFIX)


def number_path(attribute: str) -> str:
    """Where in a payload an attribute is. Quoted: its name may have dots and brackets, but no quotation mark."""
    return f'attributes."{attribute}"'


def with_terms(values: Mapping[str, Any]) -> dict[str, Any]:
    """A payload, or what of it is set anew, with the terms of the attributes in it."""
    if "attributes" not in values:
        return dict(values)
    terms = [_term(key, value) for key, value in values["attributes"].items()]
    return {**values, ATTRIBUTE_TERMS: terms}


def number_paths(payloads: Iterable[Mapping[str, Any]]) -> set[str]:
    """The places of all attributes that are numbers."""
    return {
        number_path(key)
        for payload in payloads
        for key, value in payload.get("attributes", {}).items()
        if _is_number(value) and '"' not in key
    }


def type_names(media_type: str | None, filename: str) -> list[str]:
    """What a document's type is called in filters: `application/pdf`, and `pdf`, by its name."""
    suffix = PurePath(filename).suffix.lower().removeprefix(".")
    return [name for name in (media_type, suffix) if name]


def _term(key: str, value: FilterValue) -> str:
    # 3 and 3.0 are the same number; true is none.
    return json.dumps([key, float(value) if _is_number(value) else value], ensure_ascii=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
