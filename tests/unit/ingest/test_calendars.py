"""Calendars and contacts: one record for each event, task and contact."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from ingest.parsers.records.repetition import repetition_in_words
from tests.unit.ingest.support import Read

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
X-WR-CALNAME:Maintenance
BEGIN:VTIMEZONE
TZID:Europe/Berlin
BEGIN:DAYLIGHT
DTSTART:19700329T020000
RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU
END:DAYLIGHT
END:VTIMEZONE
BEGIN:VEVENT
UID:a1
DTSTART;TZID="Europe/Berlin":20260303T090000
DTEND;TZID=Europe/Berlin:20260303T103000
RRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU;UNTIL=20260601T000000Z
EXDATE;TZID=Europe/Berlin:20260317T090000
SUMMARY:Boiler inspecti
 on
LOCATION:Building C\\, room 12
ORGANIZER;CN="Lee, Ann":mailto:ann@example.org
ATTENDEE;CN=Bob;PARTSTAT=DECLINED:MAILTO:bob@example.org
DESCRIPTION:Bring the gauge.\\nThe code is KESTREL-88\\; note it: now.
ATTACH;VALUE=BINARY;ENCODING=BASE64;FILENAME=plan.pdf:AAAABBBBCCCC
BEGIN:VALARM
TRIGGER:-PT15M
DESCRIPTION:An alarm
END:VALARM
END:VEVENT
BEGIN:VEVENT
UID:a1
RECURRENCE-ID;TZID=Europe/Berlin:20260331T090000
DTSTART;TZID=Europe/Berlin:20260401T140000
SUMMARY:Boiler inspection (moved)
END:VEVENT
BEGIN:VEVENT
UID:a1
RECURRENCE-ID;TZID=Europe/Berlin:20260414T090000
STATUS:CANCELLED
SUMMARY:Boiler inspection
END:VEVENT
BEGIN:VEVENT
DTSTART;VALUE=DATE:20260704
DTEND;VALUE=DATE:20260706
STATUS:CANCELLED
SUMMARY;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:Pr=C3=BCfung of=
 the fair
END:VEVENT
BEGIN:VTODO
DUE:20260801T120000Z
DURATION:PT1H30M
STATUS:NEEDS-ACTION
PRIORITY:0
SUMMARY:Order oil
END:VTODO
END:VCALENDAR
"""
MEETING = (
    "Event: Boiler inspection; Start: Tuesday 2026-03-03 09:00 (Europe/Berlin);"
    " End: Tuesday 2026-03-03 10:30 (Europe/Berlin);"
    " Repeats: every 2 weeks on Tuesday, until Monday 2026-06-01 00:00 (UTC);"
    " Except on: Tuesday 2026-03-17 09:00 (Europe/Berlin);"
    " Moved: Tuesday 2026-03-31 09:00 (Europe/Berlin) to Wednesday 2026-04-01 14:00 (Europe/Berlin);"
    " Cancelled on: Tuesday 2026-04-14 09:00 (Europe/Berlin);"
    " Organizer: Lee, Ann <ann@example.org>; Attendees: Bob <bob@example.org> (declined);"
    " Location: Building C, room 12; Description: Bring the gauge. The code is KESTREL-88; note it: now.;"
    " Attached: plan.pdf"
)
RECORDS = [
    "Maintenance",
    MEETING,
    "Event: Boiler inspection (moved); Start: Wednesday 2026-04-01 14:00 (Europe/Berlin);"
    " In place of: Tuesday 2026-03-31 09:00 (Europe/Berlin)",
    "Event: Boiler inspection; Status: cancelled; In place of: Tuesday 2026-04-14 09:00 (Europe/Berlin)",
    "Event: Prüfung of the fair; Status: cancelled; Start: Saturday 2026-07-04; End: Sunday 2026-07-05",
    "Task: Order oil; Status: open; Due: Saturday 2026-08-01 12:00 (UTC); Duration: 1 hour 30 minutes",
]
CONTACTS = """BEGIN:VCARD
VERSION:3.0
N:Lee;Ann;;Dr.;
ORG:Harbour Works\\, Ltd.;Night shift
TEL;TYPE=WORK,VOICE:+49 30 000000
item1.TEL:+49 30 111111
item1.X-ABLabel:_$!<Pager>!$_
ADR;TYPE=HOME:;;Quay 3;Hamburg;;20457;Germany
BDAY:19800229
EMAIL;TYPE=INTERNET:ann@example.org
PHOTO;ENCODING=b;TYPE=JPEG:AAAABBBB
 CCCCDDDD
NOTE:Spare keys are in lock
 er 41\\; ask\\nthe porter.
END:VCARD
begin:vcard
VERSION:2.1
FN;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:B=FCro
TEL;CELL:040
NOTE;ENCODING=QUOTED-PRINTABLE:The alarm is switched off at se=
ven
end:vcard
"""
CONTACT_RECORDS = [
    "Contact: Dr. Ann Lee; Organisation: Harbour Works, Ltd., Night shift; Phone (work): +49 30 000000;"
    " Phone (pager): +49 30 111111; E-mail: ann@example.org; Address (home): Quay 3, Hamburg, 20457, Germany;"
    " Birthday: 1980-02-29; Note: Spare keys are in locker 41; ask the porter.",
    "Contact: Büro; Phone (cell): 040; Note: The alarm is switched off at seven",
]


@pytest.mark.parametrize("name", ["a.ics", "a.txt", "calendar"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_each_event_and_task_is_a_record(read: Read, name: str, line_end: str) -> None:
    document = read(name, CALENDAR.replace("\n", line_end).encode())
    assert [element.text for element in document.elements] == RECORDS
    assert document.media_type == "text/calendar"


def test_each_contact_is_a_record(read: Read) -> None:
    document = read("a.vcf", CONTACTS.replace("\n", "\r\n").encode())
    assert [element.text for element in document.elements] == CONTACT_RECORDS


def test_a_fold_may_lie_within_a_character(read: Read) -> None:
    data = "BEGIN:VEVENT\r\nSUMMARY:Prüfung\r\nEND:VEVENT\r\n".encode().replace("ü".encode(), b"\xc3\r\n \xbc")
    assert read("a.ics", b"BEGIN:VCALENDAR\r\n" + data).text == "Event: Prüfung"


def test_calendars_and_contacts_in_a_mail_are_records(read: Read) -> None:
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "a@example.org", "Invitation"
    mail.set_content("Please come.")
    mail.add_alternative(CALENDAR.replace("METHOD", "X"), subtype="calendar")
    mail.add_attachment(CONTACTS.encode(), maintype="text", subtype="vcard", filename="people.vcf")
    mail.add_attachment(
        CALENDAR.replace("\n", "\r\n").encode(), maintype="application", subtype="ics", filename="i.ics"
    )
    text = read("a.eml", bytes(mail)).text
    assert text.count(MEETING) == 1
    assert "Please come." in text and MEETING in text and CONTACT_RECORDS[1] in text


def test_broken_calendars_are_still_read(read: Read) -> None:
    data = (
        b"BEGIN:VCALENDAR\nno property\nBEGIN:VEVENT\nSUMMARY:A\nDTSTART:soon\nBEGIN:VEVENT\nSUMMARY:B\nEND:VCALENDAR"
    )
    assert read("a.ics", data).text.split("\n\n")[0] == "Event: A; Start: soon"
    assert read("a.ics", b"BEGIN:VCALENDAR\nEND:VCALENDAR").text.startswith("BEGIN:VCALENDAR")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("FREQ=DAILY;COUNT=3", "every day, 3 times"),
        ("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;WKST=MO", "every week on workdays"),
        ("FREQ=MONTHLY;BYDAY=-1SU", "every month on the last Sunday"),
        ("FREQ=MONTHLY;INTERVAL=3;BYMONTHDAY=1,15", "every 3 months on the 1st and 15th day of the month"),
        ("FREQ=YEARLY;BYMONTH=3,10;BYDAY=2TU", "every year in March and October on the 2nd Tuesday"),
        ("FREQ=MONTHLY;BYDAY=MO,TU;BYSETPOS=-1", "every month on Monday and Tuesday (of these days the last)"),
        ("FREQ=YEARLY;UNTIL=2026", "every year, until 2026"),
        ("W1 TU #10", "W1 TU #10"),
    ],
)
def test_repetitions_are_in_words(rule: str, words: str) -> None:
    assert repetition_in_words(rule, str) == words
