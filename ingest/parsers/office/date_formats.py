"""Shows the serial numbers of spreadsheets as dates, times and durations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

#: The kinds of tokens that make a format one of dates.
DATE_TOKENS = frozenset(("date", "elapsed", "noon", "second_part"))
_DAY_SECONDS = 86_400
#: 9999-12-31; larger numbers are no dates.
_MAX_SERIAL = 2_958_466
#: Excel counts 1900-02-29, which never was, as day 60.
_FALSE_LEAP_DAY = 60
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def moment_of(serial: float, *, from_1904: bool, second_digits: int = 0) -> datetime | None:
    """Return the date and time of a serial number, rounded to parts of a second, or None if it is no date."""
    if not 0 <= serial < _MAX_SERIAL:
        return None
    start = datetime(1904, 1, 1) if from_1904 else datetime(1899, 12, 30 if serial >= _FALSE_LEAP_DAY else 31)
    return start + timedelta(seconds=round(serial * _DAY_SECONDS, second_digits))


def iso_date(serial: float, *, from_1904: bool) -> str:
    """Return a serial number in ISO format, without a time of midnight and without a date of day 0."""
    moment = moment_of(serial, from_1904=from_1904)
    if moment is None:
        return ""
    if serial < 1:
        return moment.time().isoformat()
    return moment.date().isoformat() if moment.time() == moment.min.time() else moment.isoformat(" ")


def shown_date(tokens: Sequence[tuple[str, str]], serial: float, *, from_1904: bool) -> str | None:
    """Return a serial number as the tokens of a format show it, or None if it is no date."""
    digits = max((len(text) - 1 for kind, text in tokens if kind == "second_part"), default=0)
    is_elapsed = any(kind == "elapsed" for kind, _ in tokens)
    moment = moment_of(abs(serial) % _MAX_SERIAL if is_elapsed else serial, from_1904=from_1904, second_digits=digits)
    if moment is None:
        return None
    seconds = round(abs(serial) * _DAY_SECONDS, digits)
    is_noon = any(kind == "noon" for kind, _ in tokens)
    out: list[str] = ["-"] if serial < 0 else []
    for index, (kind, text) in enumerate(tokens):
        if kind == "date":
            out.append(_date_part(tokens, index, moment, is_noon=is_noon))
        elif kind == "elapsed":
            unit = {"h": 3600, "m": 60, "s": 1}[text[0]]
            out.append(str(int(seconds // unit)).zfill(len(text)))
        elif kind == "noon":
            out.append(("AM" if moment.hour < 12 else "PM")[: 1 if len(text) == 3 else 2])
        elif kind == "second_part":
            out.append("." + f"{moment.microsecond:06d}"[:digits])
        elif kind in ("literal", "/", ".", ",", "digit"):
            out.append(text)
    return "".join(out).strip()


def _date_part(tokens: Sequence[tuple[str, str]], index: int, moment: datetime, *, is_noon: bool) -> str:
    text = tokens[index][1].lower()
    size = len(text)
    match text[0]:
        case "y" | "e":
            return f"{moment.year:04d}" if size > 2 or text[0] == "e" else f"{moment.year % 100:02d}"
        case "d":
            name = _DAYS[moment.weekday()]
            return str(moment.day).zfill(size) if size < 3 else name[:3] if size == 3 else name
        case "h":
            return str((moment.hour % 12 or 12) if is_noon else moment.hour).zfill(min(size, 2))
        case "s":
            return str(moment.second).zfill(min(size, 2))
        case "m" if size < 3 and _is_minutes(tokens, index):
            return str(moment.minute).zfill(size)
        case "m":
            name = _MONTHS[moment.month - 1]
            if size < 3:
                return str(moment.month).zfill(size)
            return name[:3] if size == 3 else name[:1] if size == 5 else name
        case _:
            return ""


def _is_minutes(tokens: Sequence[tuple[str, str]], index: int) -> bool:
    """Return whether `m` stands for minutes: after hours, or before seconds."""
    parts = [(position, text[0].lower()) for position, (kind, text) in enumerate(tokens) if kind in ("date", "elapsed")]
    order = [position for position, _ in parts].index(index)
    before = parts[order - 1][1] if order else ""
    after = parts[order + 1][1] if order + 1 < len(parts) else ""
    return before == "h" or after == "s"
