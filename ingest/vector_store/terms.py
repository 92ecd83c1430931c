"""What of a payload is indexed, and how: as few and as short values as will do, since the indexes lie in memory.

What is compared for equality becomes a term: a number of 63 bits, the hash of its key and its value, so that one index
serves all keys there may ever be. By chance, two of a million terms are the same in one store of twenty million;
searches trust them, what deletes or counts looks at the payload too. Texts that are alike are found by a bucket of
their hash, then by the payload. A comparison of numbers needs the value itself, with an index for each key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from core.messages import FilterValue

#: Payload keys of the terms of a point's document, and of the bucket of its text.
TERMS: Final = "terms"
CONTENT_BUCKET: Final = "content_bucket"
#: The payload keys of which each value becomes a term; attributes do too.
TERM_KEYS: Final = ("document_id", "collection", "filename", "path", "type")
#: Before the name of an attribute, in terms and in filters.
ATTRIBUTES_PREFIX: Final = "attributes."
#: Enough that few other texts are in a bucket, and few enough that the buckets themselves take no memory to speak of.
CONTENT_BUCKETS: Final = 16_384


def term(key: str, value: FilterValue) -> int:
    """The term of a value; 3 and 3.0 are the same number, true is none."""
    # Whole numbers as such: beyond 2**53 a float is not exact.
    whole = int(value) if isinstance(value, float) and value.is_integer() else value
    written = json.dumps([key, whole])
    return int.from_bytes(hashlib.blake2b(written.encode("ascii"), digest_size=8).digest(), "big") >> 1


def content_bucket(content_hash: str) -> int:
    """The bucket of a text with this hash."""
    return term("content_hash", content_hash) % CONTENT_BUCKETS


def terms_of(payload: Mapping[str, Any]) -> list[int]:
    """The terms of a payload with all of `TERM_KEYS` that it is ever to have, and with all attributes."""
    pairs = [(key, value) for key in TERM_KEYS for value in _values(payload.get(key))]
    pairs += [(ATTRIBUTES_PREFIX + key, value) for key, value in payload.get("attributes", {}).items()]
    return [term(key, value) for key, value in pairs]


def indexed_values(payload: Mapping[str, Any]) -> dict[str, Any]:
    """What a point carries so that it is found: `TERMS` and `CONTENT_BUCKET`."""
    return {TERMS: terms_of(payload), CONTENT_BUCKET: content_bucket(payload["content_hash"])}


def number_path(attribute: str) -> str:
    """Where in a payload an attribute is. Quoted: its name may have dots and brackets, but see `can_be_ordered`."""
    return f'attributes."{attribute}"'


def can_be_ordered(attribute: str) -> bool:
    """Whether the engine has a way to write where this attribute is: it knows no escapes."""
    return '"' not in attribute and "\\" not in attribute


def number_paths(payloads: Iterable[Mapping[str, Any]]) -> set[str]:
    """The places of all attributes that are numbers."""
    return {
        number_path(key)
        for payload in payloads
        for key, value in payload.get("attributes", {}).items()
        if is_number(value) and can_be_ordered(key)
    }


def is_number(value: object) -> bool:
    """Whether a value is compared as a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _values(value: Any) -> list[FilterValue]:
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
