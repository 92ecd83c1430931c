"""The indexed values of a payload. They are few and short, since the indexes are held in memory.

A value that filters compare for equality becomes a term: a number of 63 bits, the hash of its key and value, so that
one index serves all keys. With a million terms, one store in twenty million has two that collide by chance. Searches
accept that; deletions and counts compare the payload too. Equal texts are found by a bucket of their hash and then by
the payload. Comparing numbers by size needs the values themselves, with an index for each key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from core.messages import FilterValue
from core.normal_form import normal_form

#: Payload keys of a point's terms, and of the bucket of its text.
TERMS: Final = "terms"
CONTENT_BUCKET: Final = "content_bucket"
#: Payload keys whose values become terms, as those of all attributes do.
TERM_KEYS: Final = ("document_id", "collection", "filename", "path", "type")
#: Prefix of an attribute's name in terms and filters.
ATTRIBUTES_PREFIX: Final = "attributes."
#: Enough that a bucket has few texts, and few enough that the buckets take little memory.
CONTENT_BUCKETS: Final = 16_384


def term(key: str, value: FilterValue) -> int:
    """Return the term of a value. 3 and 3.0 have the same term, and so have all forms of a text; 1 and true do not."""
    # Whole numbers as integers, since a float is not exact beyond 2**53.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    written = json.dumps([normal_form(key), normal_form(whole) if isinstance(whole, str) else whole])
    return int.from_bytes(hashlib.blake2b(written.encode("ascii"), digest_size=8).digest(), "big") >> 1


def content_bucket(content_hash: str) -> int:
    """Return the bucket of a text with this hash."""
    return term("content_hash", content_hash) % CONTENT_BUCKETS


def terms_of(payload: Mapping[str, Any]) -> list[int]:
    """Return the terms of a payload, which must have all its `TERM_KEYS` and attributes."""
    pairs = [(key, value) for key in TERM_KEYS for value in _values(payload.get(key))]
    pairs += [(ATTRIBUTES_PREFIX + key, value) for key, value in payload.get("attributes", {}).items()]
    return [term(key, value) for key, value in pairs]


def indexed_values(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by which a point is found: `TERMS` and `CONTENT_BUCKET`."""
    return {TERMS: terms_of(payload), CONTENT_BUCKET: content_bucket(payload["content_hash"])}


def number_path(attribute: str) -> str:
    """Return the path of an attribute in a payload. It is quoted, since the name may contain dots and brackets."""
    return f'attributes."{attribute}"'


def as_number_path(path: str) -> str:
    """Return a path in a payload as `number_path` writes it. The engine names those of its indexes without quotes."""
    attribute = path.removeprefix(ATTRIBUTES_PREFIX)
    return path if attribute == path or attribute.startswith('"') else number_path(attribute)


def can_be_ordered(attribute: str) -> bool:
    """Return whether the engine can compare this attribute by size: its paths know no escapes for these characters."""
    return '"' not in attribute and "\\" not in attribute


def number_paths(payloads: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the paths of all numeric attributes that can be compared by size."""
    return {
        number_path(key)
        for payload in payloads
        for key, value in payload.get("attributes", {}).items()
        if is_number(value) and can_be_ordered(key)
    }


def is_number(value: object) -> bool:
    """Return whether a value is compared as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(value: Any) -> list[FilterValue]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
