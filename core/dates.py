"""Dates as filters and attributes write them: ISO 8601, in the proleptic Gregorian calendar."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

#: How to write a date, for error messages.
DATE_FORMS = "2024-01-31, 2024-01 or 2024-01-31T09:30:00Z"
_LONGEST_CHARACTERS = 40
_DATE = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)(?:-(?P<day>\d\d)(?:[Tt ](?P<hour>\d\d):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?[ ]?(?P<zone>[Zz]|[+-]\d\d(?::?\d\d)?)?)?)?",
    re.ASCII,
)

_PARTS = ("year", "month", "day", "hour", "minute", "second")


@lru_cache(maxsize=4096)
def date_span(text: str) -> tuple[float, float] | None:
    """Return the span of time that a date stands for, or None if the text is not a date.

    Args:
        text: a day or a month, or a day with a time. Without a zone it is taken as UTC.

    Returns:
        the start, and the end, which is no longer part of it, in seconds since 1970; both are the same for a time.
    """
    found = _DATE.fullmatch(text) if len(text) <= _LONGEST_CHARACTERS else None
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(found[name] or 0) for name in _PARTS)
    try:
        start = datetime(year, month, day or 1, hour, minute, second, tzinfo=UTC) - _offset(found["zone"])
        if found["hour"]:
            seconds = start.timestamp() + float(f"0.{found['fraction'] or 0}")
            return seconds, seconds
        end = start + timedelta(days=1) if day else datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return start.timestamp(), end.timestamp()


def _offset(zone: str | None) -> timedelta:
    if zone is None or zone in "Zz":
        return timedelta()
    digits = zone[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return -offset if zone[0] == "-" else offset
