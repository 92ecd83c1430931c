"""Rules of repetition (RFC 5545) in words: `every 2 weeks on Tuesday, 10 times`."""

from __future__ import annotations

import re
from collections.abc import Callable

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_DAYS = dict(zip(("MO", "TU", "WE", "TH", "FR", "SA", "SU"), WEEKDAYS, strict=True))
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip
_UNITS = {"SECONDLY": "second", "MINUTELY": "minute", "HOURLY": "hour", "DAILY": "day", "WEEKLY": "week",
          "MONTHLY": "month", "YEARLY": "year"}  # fmt: skip
_DAY = re.compile(r"([+-]?\d{1,3})?(MO|TU|WE|TH|FR|SA|SU)", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,3}", re.ASCII)
_WORKDAYS = ["MO", "TU", "WE", "TH", "FR"]


def repetition_in_words(rule: str, written: Callable[[str], str]) -> str:
    """Return a rule in words, or unchanged if it is not known.

    Args:
        rule: The rule, such as `FREQ=WEEKLY;BYDAY=TU`.
        written: Returns the time at which it ends in words.
    """
    pairs = (part.upper().partition("=") for part in rule.split(";"))
    parts = {name.strip(): value.strip() for name, _, value in pairs}
    unit = _UNITS.get(parts.pop("FREQ", ""))
    interval = parts.pop("INTERVAL", "1")
    if unit is None or not interval.isdecimal():
        return rule
    words = [f"every {unit}" if int(interval) == 1 else f"every {int(interval)} {unit}s"]
    parts.pop("WKST", None)
    count, until = parts.pop("COUNT", ""), parts.pop("UNTIL", "")
    words += [_limit(name, value) for name, value in parts.items()]
    if position := parts.get("BYSETPOS"):
        words.append(f"(of these days the {_ordinals(position)})")
    text = " ".join(filter(None, words))
    if count:
        text += f", {count} times"
    return f"{text}, until {written(until)}" if until else text


def _limit(name: str, value: str) -> str:
    items = [item.strip() for item in value.split(",")]
    match name:
        case "BYDAY" if items == _WORKDAYS:
            return "on workdays"
        case "BYDAY":
            return f"on {_listed([_day(item) for item in items])}"
        case "BYMONTH":
            return f"in {_listed([_month(item) for item in items])}"
        case "BYMONTHDAY":
            return f"on the {_ordinals(value)} day of the month"
        case "BYYEARDAY":
            return f"on the {_ordinals(value)} day of the year"
        case "BYWEEKNO":
            return f"in the week {_listed(items)}"
        case "BYHOUR":
            return f"at the hour {_listed(items)}"
        case "BYMINUTE":
            return f"at the minute {_listed(items)}"
        case "BYSETPOS":
            return ""
    return f"{name}={value}"


def _day(item: str) -> str:
    match = _DAY.fullmatch(item)
    if match is None:
        return item
    return f"the {_ordinal(match[1])} {_DAYS[match[2]]}" if match[1] else _DAYS[match[2]]


def _month(item: str) -> str:
    return _MONTHS[int(item) - 1] if item.isdecimal() and 1 <= int(item) <= 12 else item


def _ordinals(value: str) -> str:
    return _listed([_ordinal(item.strip()) for item in value.split(",")])


def _ordinal(item: str) -> str:
    if not _NUMBER.fullmatch(item):
        return item
    number = abs(int(item))
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number % 100 not in (11, 12, 13) else 0, "th")
    if int(item) > 0:
        return f"{number}{ending}"
    return "last" if number == 1 else f"{number}{ending} to last"


def _listed(items: list[str]) -> str:
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]
