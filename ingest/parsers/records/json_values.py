"""Values of JSON as text: a record `key: value; key.inner: value` for each object, and times that people can read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any


class JsonObject(list[tuple[str, Any]]):
    """The keys and values of an object; a key may occur more than once."""

    def value(self, *names: str) -> Any:
        """Return the value of the first of these keys that has one which is not empty, or None."""
        for name in names:
            for key, value in self:
                if key == name and value not in (None, "", []):
                    return value
        return None


#: Numbers stay strings, exactly as they are written.
_DECODER = json.JSONDecoder(object_pairs_hook=JsonObject, parse_int=str, parse_float=str, parse_constant=str)
_TIME_KEY = re.compile(
    r"(?:.*[_.-])?(?:ts|date|time|timestamp|unixtime|created|updated|modified|sent)"
    r"(?:[_-]?(?:at|on|time|date|unixtime|utc|ms))?",
    re.I,
)
_EPOCH = re.compile(r"(\d{10})(?:(\d{3})|\.\d{1,9})?", re.ASCII)
_FIRST_EPOCH_SECONDS, _LAST_EPOCH_SECONDS = 10**9, 41 * 10**8
_ISO_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::\d\d(?:[.,]\d+)?)?[ ]?(Z|UTC|[+-]\d\d:?\d\d)?", re.I | re.ASCII
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def decode_json(text: str) -> Any:
    """Return the value of a JSON text: objects as `JsonObject`, numbers as they are written.

    Raises:
        ValueError: If it is not JSON.
        RecursionError: If it is nested too deeply.
    """
    return _DECODER.decode(text)


def record_line(value: Any) -> str:
    """Return an object as `key: value; key.inner: value`, on one line."""
    pairs = ((key, _with_time(key, text)) for key, text in flat_values("", value))
    return "; ".join(f"{key}: {text}" if key else text for key, text in pairs if text)


def flat_values(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the texts in a value with their keys, joined by dots."""
    if isinstance(value, JsonObject):
        for name, inner in value:
            yield from flat_values(f"{key}.{name}" if key else str(name), inner)
    elif isinstance(value, list) and any(isinstance(item, list) for item in value):
        for item in value:
            yield from flat_values(key, item)
    elif isinstance(value, list):
        yield key, ", ".join(_text(item) for item in value)
    else:
        yield key, _text(value)


def readable_time(value: Any) -> str:
    """Return a time as `2026-03-01 09:00`, with its zone if it has one, or an empty string if it is none.

    Args:
        value: ISO 8601, or seconds or milliseconds since 1970, which are UTC.
    """
    if not isinstance(value, str):
        return ""
    written = _ISO_TIME.fullmatch(value.strip())
    if written is not None:
        zone = "" if written[3] is None else " UTC" if written[3].upper() in ("Z", "UTC") else f" {written[3]}"
        return f"{written[1]} {written[2]}{zone}"
    epoch = _EPOCH.fullmatch(value)
    if epoch is None or not _FIRST_EPOCH_SECONDS <= int(epoch[1]) < _LAST_EPOCH_SECONDS:
        return ""
    return f"{datetime.fromtimestamp(int(epoch[1]), UTC):%Y-%m-%d %H:%M} UTC"


def _with_time(key: str, text: str) -> str:
    """Return a number of seconds with the time that it stands for, if its key says that it is a time."""
    if not text[:1].isdigit() or not _EPOCH.fullmatch(text) or not _TIME_KEY.fullmatch(_CAMEL.sub("_", key)):
        return text
    time = readable_time(text)
    return f"{text} ({time})" if time else text


def _text(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else json.dumps(value)
