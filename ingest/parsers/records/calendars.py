"""Calendars (iCalendar): each event, task and note as a record, with times and repetitions in words.

Ours, since libraries for calendars yield their properties and not a text of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from ingest.parsed_document import DocumentBuilder, ElementKind, ParsedDocument
from ingest.parsers import text
from ingest.parsers.html.page import add_html
from ingest.parsers.records.content_lines import Component, Property, read_components
from ingest.parsers.records.repetition import WEEKDAYS, repetition_in_words
from ingest.parsers.source import SourceFile

_KINDS = {"VEVENT": "Event", "VTODO": "Task", "VJOURNAL": "Note", "VFREEBUSY": "Free/busy"}
_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(?:\d\d)?(Z)?)?", re.I | re.ASCII)
_DURATION = re.compile(r"([+-])?P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", re.I | re.ASCII)
_UNITS = ("week", "day", "hour", "minute", "second")
#: Properties that are written by name, in this order, between the times and the long texts.
_NAMED = {
    "LOCATION": "Location",
    "CATEGORIES": "Categories",
    "RESOURCES": "Resources",
    "PRIORITY": "Priority",
    "PERCENT-COMPLETE": "Percent complete",
    "COMMENT": "Comment",
    "CONTACT": "Contact",
    "URL": "Link",
    "CONFERENCE": "Conference",
    "DESCRIPTION": "Description",
}
#: Priorities of no meaning.
_UNREAD_VALUES = {"PRIORITY": "0", "PERCENT-COMPLETE": "0"}
_STATUS = {"CANCELLED": "cancelled", "TENTATIVE": "tentative", "NEEDS-ACTION": "open", "IN-PROCESS": "in process",
           "COMPLETED": "completed", "DRAFT": "draft"}  # fmt: skip
_ANSWERS = {"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": "tentative", "DELEGATED": "delegated"}


def parse(source: SourceFile) -> ParsedDocument:
    """Parse each event, task and note as one line. Rules of time zones and alarms are left out.

    Raises:
        DocumentRejected: If there are too many properties.
    """
    builder = DocumentBuilder()
    components = read_components(source.path.read_bytes())
    for calendar in components:
        _add_calendar(builder, calendar)
    document = builder.build(source.media_type)
    return document if document.elements else text.parse(source)


def _add_calendar(builder: DocumentBuilder, calendar: Component) -> None:
    title = calendar.text("X-WR-CALNAME") or calendar.text("NAME")
    builder.add(ElementKind.HEADING, title)
    description = calendar.text("X-WR-CALDESC") or calendar.text("DESCRIPTION")
    if calendar.name == "VCALENDAR":
        builder.add(ElementKind.PARAGRAPH, description)
    entries = [each for each in (calendar, *calendar.components) if each.name in _KINDS]
    moved: dict[str, list[Component]] = defaultdict(list)
    for entry in entries:
        if entry.first("RECURRENCE-ID"):
            moved[entry.text("UID")].append(entry)
    is_cancelled = calendar.text("METHOD").upper() == "CANCEL"
    for entry in entries:
        changes = [] if entry.first("RECURRENCE-ID") else moved.pop(entry.text("UID"), [])
        parts = _parts(entry, changes, is_cancelled=is_cancelled)
        builder.add(ElementKind.TABLE, "; ".join(" ".join(part.split()) for part in parts))


def _parts(entry: Component, changes: Sequence[Component], *, is_cancelled: bool) -> Iterator[str]:
    """Yield the parts of a record: what it is, when it is, and what else is said of it."""
    yield f"{_KINDS[entry.name]}: {entry.text('SUMMARY') or 'without a title'}"
    status = "CANCELLED" if is_cancelled else entry.text("STATUS").upper()
    if status in _STATUS:
        yield f"Status: {_STATUS[status]}"
    yield from _times(entry)
    if original := entry.first("RECURRENCE-ID"):
        is_range = original.parameters.get("RANGE", "").upper() == "THISANDFUTURE"
        yield f"In place of: {_written(original)}{' and all later ones' if is_range else ''}"
    yield from _repetition(entry, changes)
    for name in ("ORGANIZER", "ATTENDEE"):
        if people := list(filter(None, map(_person, entry.all(name)))):
            yield f"{'Organizer' if name == 'ORGANIZER' else 'Attendees'}: {', '.join(people)}"
    for name, label in _NAMED.items():
        values = [value for each in entry.all(name) if (value := each.text) != _UNREAD_VALUES.get(name)]
        if values:
            yield f"{label}: {', '.join(values)}"
    if not entry.first("DESCRIPTION") and (page := entry.text("X-ALT-DESC")):
        yield f"Description: {_page_text(page)}"
    if files := [name for each in entry.all("ATTACH") if (name := _file(each))]:
        yield f"Attached: {', '.join(files)}"


def _page_text(page: str) -> str:
    builder = DocumentBuilder()
    add_html(builder, page)
    return builder.build("").text


def _times(entry: Component) -> Iterator[str]:
    start, end = entry.first("DTSTART"), entry.first("DTEND")
    if start:
        yield f"Start: {_written(start)}"
    if end and not (start and end.value == start.value):
        yield f"End: {_written(end, is_end=True)}"
    for name, label in (("DUE", "Due"), ("COMPLETED", "Completed")):
        if found := entry.first(name):
            yield f"{label}: {_written(found)}"
    if duration := entry.text("DURATION"):
        yield f"Duration: {_duration(duration)}"
    for busy in entry.all("FREEBUSY"):
        kind = busy.parameters.get("FBTYPE", "BUSY").lower().replace("-", " ")
        yield f"{kind.capitalize()}: {', '.join(_moment(each, busy) for each in busy.value.split(','))}"


def _repetition(entry: Component, changes: Sequence[Component]) -> Iterator[str]:
    for rule in entry.all("RRULE"):
        yield f"Repeats: {repetition_in_words(rule.value, lambda until: _moment(until, Property('UNTIL', until, {})))}"
    for name, label in (("RDATE", "Also on"), ("EXDATE", "Except on")):
        dates = [_moment(each, found) for found in entry.all(name) for each in found.value.split(",")]
        if dates:
            yield f"{label}: {', '.join(dates)}"
    for change in changes:
        original, start = change.first("RECURRENCE-ID"), change.first("DTSTART")
        if original is None:
            continue
        if change.text("STATUS").upper() == "CANCELLED":
            yield f"Cancelled on: {_written(original)}"
        elif start and start.value != original.value:
            yield f"Moved: {_written(original)} to {_written(start)}"
        else:
            yield f"Changed on: {_written(original)}"


def _written(found: Property, *, is_end: bool = False) -> str:
    return _moment(found.value, found, is_end=is_end)


def _moment(value: str, found: Property, *, is_end: bool = False) -> str:
    """Return a time, or a period, as `Tuesday 2026-03-03 09:00 (Europe/Berlin)`.

    Args:
        value: The time in the form of the file.
        found: The property that it is in, for the time zone.
        is_end: Whether it is the end of an event: that of whole days is the day after the last one.
    """
    begin, _, rest = value.strip().partition("/")
    if rest:
        return f"{_moment(begin, found)} to {_duration(rest) if rest[:1] in 'Pp+-' else _moment(rest, found)}"
    match = _TIME.fullmatch(begin)
    if match is None:
        return begin
    try:
        day = date(int(match[1]), int(match[2]), int(match[3]))
        day -= timedelta(days=1 if is_end and match[4] is None else 0)
    except (ValueError, OverflowError):
        return begin
    written = f"{WEEKDAYS[day.weekday()]} {day.isoformat()}"
    if match[4] is None:
        return written
    zone = "UTC" if match[6] else found.parameters.get("TZID", "").strip("/")
    return f"{written} {match[4]}:{match[5]}{f' ({zone})' if zone else ''}"


def _duration(value: str) -> str:
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        return value
    parts = [(int(count), unit) for count, unit in zip(match.groups()[1:], _UNITS, strict=True) if count and int(count)]
    return " ".join(f"{count} {unit}{'s' if count > 1 else ''}" for count, unit in parts) or "none"


def _person(found: Property) -> str:
    address = re.sub(r"^mailto:", "", found.text, flags=re.I)
    name = found.parameters.get("CN", "").strip()
    person = f"{name} <{address}>" if name and "@" in address and name != address else name or address
    answer = _ANSWERS.get(found.parameters.get("PARTSTAT", "").upper())
    return f"{person} ({answer})" if person and answer else person


def _file(found: Property) -> str:
    """Return the name of an attached file, or its address; content within the calendar is not read."""
    name = found.parameters.get("FILENAME") or found.parameters.get("X-FILENAME", "")
    is_content = found.parameters.get("VALUE", "").upper() == "BINARY" or found.value.lower().startswith("data:")
    return name if name or is_content else found.text
