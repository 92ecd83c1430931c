"""The indexed values of a payload. They are few and short, since the indexes are held in memory.

A value that filters compare for equality becomes a term: a number of 63 bits, the hash of its key and value, so that
one index serves all keys. With a million terms, one store in twenty million has two that collide by chance. Searches
accept that; deletions and counts compare the payload too. Equal texts are found by a bucket of their hash and then by
the payload. Comparing numbers by size needs the values themselves, with an index for each key. Dates are compared as
numbers: their seconds are a payload key of their own, beside the attributes, which keep them as they were written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from core.dates import date_span
from core.messages import FilterValue
from core.normal_form import normal_form

#: Payload keys of a point's terms, and of the bucket of its text.
TERMS: Final = "terms"
CONTENT_BUCKET: Final = "content_bucket"
#: Payload keys whose values become terms, as those of all attributes do.
TERM_KEYS: Final = ("document_id", "collection", "filename", "path", "type")
#: Prefix of an attribute's name in terms and filters.
ATTRIBUTES_PREFIX: Final = "attributes."
#: Payload key of the attributes that are dates, in seconds since 1970: a list for each attribute.
DATES: Final = "dates"
_DATES_PREFIX: Final = f"{DATES}."
#: Enough that a bucket has few texts, and few enough that the buckets take little memory.
CONTENT_BUCKETS: Final = 16_384
_KEPT_TERMS: Final = 1024


# The points of a document have the same terms. Keys of equal values of two types are apart: 1 and true are equal.
@lru_cache(_KEPT_TERMS, typed=True)
def term(key: str, value: FilterValue) -> int:
    """Return the term of a value. 3 and 3.0 have the same term, and so have all forms of a text; 1 and true do not."""
    return _term(key, value)


def _term(key: str, value: FilterValue) -> int:
    # Whole numbers as integers, since a float is not exact beyond 2**53.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    written = json.dumps([normal_form(key), normal_form(whole) if isinstance(whole, str) else whole])
    return int.from_bytes(hashlib.blake2b(written.encode("ascii"), digest_size=8).digest(), "big") >> 1


def content_bucket(content_hash: str) -> int:
    """Return the bucket of a text with this hash."""
    return _term("content_hash", content_hash) % CONTENT_BUCKETS


def terms_of(payload: Mapping[str, Any]) -> list[int]:
    """Return the terms of a payload, which must have all its `TERM_KEYS` and attributes."""
    pairs = [(key, value) for key in TERM_KEYS for value in _values(payload.get(key))]
    attributes = payload.get("attributes", {})
    pairs += [(ATTRIBUTES_PREFIX + key, item) for key, value in attributes.items() for item in _values(value)]
    return [term(key, value) for key, value in pairs]


def dates_of(payload: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return `DATES` of a payload: the start of each date among its attributes."""
    found: dict[str, list[float]] = {}
    for key, value in payload.get("attributes", {}).items():
        spans = [date_span(item) for item in _values(value) if isinstance(item, str)]
        if starts := [span[0] for span in spans if span is not None]:
            found[key] = starts
    return found


def indexed_values(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values by which a point is found: `TERMS`, `CONTENT_BUCKET` and, if there are any, `DATES`."""
    values = {TERMS: terms_of(payload), CONTENT_BUCKET: content_bucket(payload["content_hash"])}
    return values | ({DATES: dates} if (dates := dates_of(payload)) else {})


def document_values(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload of a document with the values by which it is found. They replace all earlier ones."""
    return {**payload, TERMS: terms_of(payload), DATES: dates_of(payload)}


def number_path(attribute: str) -> str:
    """Return the path of an attribute in a payload. It is quoted, since the name may contain dots and brackets."""
    return f'{ATTRIBUTES_PREFIX}"{attribute}"'


def date_path(attribute: str) -> str:
    """Return the path of an attribute's dates in a payload, quoted as `number_path`."""
    return f'{_DATES_PREFIX}"{attribute}"'


def is_number_path(path: str) -> bool:
    """Return whether a path in a payload is one of `number_path` or `date_path`."""
    return path.startswith((ATTRIBUTES_PREFIX, _DATES_PREFIX))


def as_number_path(path: str) -> str:
    """Return a path in a payload as `number_path` or `date_path` writes it; the engine names indexes without quotes."""
    prefix, dot, attribute = path.partition(".")
    return path if not is_number_path(path) or attribute.startswith('"') else f'{prefix}{dot}"{attribute}"'


def can_be_ordered(path: str) -> bool:
    """Return whether the engine can compare by size what is at this path: a path knows no escapes for `"` and `\\`."""
    return path.count('"') == 2 and "\\" not in path


def number_paths(payloads: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the paths of all numeric attributes and dates that can be compared by size."""
    found: set[str] = set()
    for payload in payloads:
        attributes = payload.get("attributes", {}).items()
        found |= {number_path(key) for key, value in attributes if any(map(is_number, _values(value)))}
        found |= set(map(date_path, dates_of(payload)))
    return set(filter(can_be_ordered, found))


def is_number(value: object) -> bool:
    """Return whether a value is compared as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(value: Any) -> list[FilterValue]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
