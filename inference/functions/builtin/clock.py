"""Time of day, time zones and dates."""

from __future__ import annotations

import difflib
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import numpy as np
from dateutil.relativedelta import relativedelta
from dateutil.tz import datetime_exists
from pydantic import Field

from inference.functions.context import FunctionContext
from inference.functions.errors import FunctionError
from inference.functions.registry import function_registry

#: A bound on each amount to add: a million days are 2,700 years.
Count = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


@function_registry.register
def get_current_time(context: FunctionContext, timezone: str = "UTC") -> dict[str, Any]:
    """Return the current date and time in a time zone.

    Args:
        timezone: IANA name such as "Europe/Berlin", or a city such as "Tokyo".
    """
    return _described(context.now().astimezone(find_zone(timezone)))


@function_registry.register
def convert_time(context: FunctionContext, time: str, from_timezone: str, to_timezone: str) -> dict[str, Any]:
    """Convert a time from one time zone to another.

    Args:
        time: "2026-07-01T14:30", or just "14:30" for today.
        from_timezone: Time zone of that time: an IANA name or a city.
        to_timezone: Time zone to convert to: an IANA name or a city.
    """
    source = find_zone(from_timezone)
    moment = _local_time(time, source, context.now())
    converted = moment.astimezone(find_zone(to_timezone))
    shift = (converted.utcoffset() or timedelta()) - (moment.utcoffset() or timedelta())
    return {"from": _described(moment), "to": _described(converted), "difference_hours": shift.total_seconds() / 3600}


@function_registry.register
def add_to_date(
    context: FunctionContext,
    date: str = "today",
    years: Count = 0,
    months: Count = 0,
    weeks: Count = 0,
    days: Count = 0,
) -> dict[str, Any]:
    """Add years, months, weeks and days to a date; negative numbers subtract.

    Args:
        date: The date to start from, such as "2026-01-31", or "today".
        years: Years to add.
        months: Months to add; if the resulting month has no such day, its last day is taken.
        weeks: Weeks to add.
        days: Days to add.
    """
    start = _parse_date(date, context)
    try:
        result = start + relativedelta(years=years, months=months, weeks=weeks, days=days)
    except (OverflowError, ValueError):
        raise FunctionError("The result lies outside the years 1 to 9999.") from None
    return {"start": start.isoformat(), "date": result.isoformat(), "weekday": result.strftime("%A")}


@function_registry.register
def days_between(context: FunctionContext, start: str, end: str) -> dict[str, Any]:
    """Return the time between two dates in days, weeks and working days; negative if the end comes first.

    Args:
        start: First date, such as "2026-01-31", or "today".
        end: Second date, in the same form.
    """
    first, last = _parse_date(start, context), _parse_date(end, context)
    days = (last - first).days
    return {
        "start": first.isoformat(),
        "end": last.isoformat(),
        "days": days,
        "weeks": round(days / 7, 2),
        "working_days": int(np.busday_count(min(first, last), max(first, last))) * (-1 if days < 0 else 1),
    }


def find_zone(name: str) -> ZoneInfo:
    """Return the time zone with an IANA name, in any case, or of a city in such a name.

    Raises:
        FunctionError: if there is none; the message suggests similar names.
    """
    wanted = name.strip().replace(" ", "_").lower()
    known = _zones()
    if wanted not in known:
        close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
        hint = f" Did you mean {', '.join(dict.fromkeys(known[match] for match in close))}?" if close else ""
        raise FunctionError(f"There is no time zone {name!r}.{hint} Use an IANA name such as Europe/Berlin.")
    try:
        return ZoneInfo(known[wanted])
    except ZoneInfoNotFoundError as error:
        raise FunctionError(f"The data of the time zone {name!r} is not installed here.") from error


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    """Return the IANA names by lower-case name, and by the lower-case city that they end with."""
    names = sorted(available_timezones() | {"UTC"})
    cities = {name.rpartition("/")[2].lower(): name for name in names if "/" in name and not name.startswith("Etc/")}
    return cities | {name.lower(): name for name in names}


def _described(moment: datetime) -> dict[str, Any]:
    return {
        "datetime": moment.isoformat(timespec="seconds"),
        "date": moment.date().isoformat(),
        "time": moment.strftime("%H:%M:%S"),
        "weekday": moment.strftime("%A"),
        "timezone": str(moment.tzinfo),
        "utc_offset": moment.strftime("%z"),
    }


# dateutil.parser is not used: it silently takes "14.30" for the 14th, "1430" for a year, and 01/02/2026 for January 2.
# A refusal instead lets the model write the time again.


def _local_time(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    moment = _parse_time(text, now.astimezone(zone).date())
    local = moment.replace(tzinfo=zone) if moment.tzinfo is None else moment.astimezone(zone)
    if not datetime_exists(local):
        raise FunctionError(f"{text} does not exist in {zone}: the clocks are put forward over it.")
    return local


def _parse_time(text: str, today: date) -> datetime:
    written = text.strip()
    try:
        if "." not in written.partition(":")[0]:  # time.fromisoformat takes "14.30" for 14 hours and 0.3 seconds
            return datetime.combine(today, time.fromisoformat(written))
    except ValueError:
        pass  # not a time alone
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        raise FunctionError(f"{text!r} is no time: write it as 2026-07-01T14:30 or 14:30.") from None


def _parse_date(text: str, context: FunctionContext) -> date:
    written = text.strip()
    if written.lower() == "today":
        return context.now().date()
    try:
        return datetime.fromisoformat(written).date()
    except ValueError:
        raise FunctionError(f'{text!r} is no date: write it as 2026-01-31, or "today".') from None
