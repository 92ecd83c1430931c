"""Mailboxes are split where a message begins, and nowhere else."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from ingest.parsed_document import ParsedDocument
from ingest.parsers.mail.mbox import read_messages
from tests.unit.ingest.files import FACT
from tests.unit.ingest.mails import BASE64_FACT, lines_of, multipart, part
from tests.unit.ingest.support import Read

ENVELOPE = "From ann@example.com Mon Jan  5 10:00:00 2026\n"


def message(text: str, subject: str = "Trains") -> str:
    return f"From: ann@example.com\nSubject: {subject}\n\n{text}\n\n"


def subjects(document: ParsedDocument) -> list[str]:
    return [element.text for element in document.elements if element.kind.is_heading]


@pytest.mark.parametrize(
    "line",
    [
        "From the beginning of the line on, all is text.",
        "From: Bob",
        "From Mon to Fri at 10:00 it rains.",
        "From Mon Jan 5 on it rains.",
        "From ann@example.com",
        f"{ENVELOPE}It is quoted here.",
    ],
)
@pytest.mark.parametrize("before", ["Text.\n", "Text.\n\n"])
def test_a_line_of_text_that_begins_with_from_starts_no_message(read: Read, before: str, line: str) -> None:
    document = read("box.mbox", (ENVELOPE + message(f"{before}{line}\nMore.") + ENVELOPE + message(FACT, "B")).encode())
    assert subjects(document) == ["Trains", "B"]
    assert document.metadata == {"messages": "2"}
    for each in (*lines_of(line), "Text.", "More.", FACT):
        assert each in document.text


@pytest.mark.parametrize(
    "envelope",
    [
        ENVELOPE,
        "From - Mon Jan  5 10:00:00 2026\n",
        "From ann at example.com  Mon Jan  5 10:00:00 2026\n",
        "From 1853@xxx Mon Jan 05 10:00:00 +0000 2026\n",
        "From MAILER-DAEMON Mon, 5 Jan 2026 10:00:00 +0100\n",
        "From  Mon Jan 5 10:00 CET 2026\n",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_mailboxes_of_all_programs_are_split(read: Read, envelope: str, newline: str) -> None:
    box = (envelope + message("One.", "A") + envelope + message(FACT, "B")).replace("\n", newline)
    document = read("box", box.encode())
    assert subjects(document) == ["A", "B"]
    assert FACT in document.text


def test_a_message_without_a_blank_line_above_it_is_detected_by_its_first_header(read: Read) -> None:
    document = read("box.mbox", (ENVELOPE + message("One.", "A").rstrip() + "\n" + ENVELOPE + message(FACT)).encode())
    assert subjects(document) == ["A", "Trains"]


def test_quoting_before_from_is_removed(read: Read) -> None:
    document = read("box.mbox", (ENVELOPE + message(">From here.\n>>From there.\n>Fromage")).encode())
    assert lines_of(document.text)[-3:] == ["From here.", ">From there.", ">Fromage"]


def test_a_message_that_cannot_be_read_is_named_and_the_others_are_read(read: Read) -> None:
    parts = multipart("mixed", *[part("text/plain", "x")] * 1500).decode()
    encoded = f"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\nSubject: B\n\n{BASE64_FACT}\n"
    document = read("box.mbox", (f"{ENVELOPE}From: a@x\n{parts}\n\n{ENVELOPE}{encoded}").encode())
    assert document.text.startswith("E-mail 1 of this mailbox was not read: The e-mail has more than 1000 parts.")
    assert FACT in document.text


def test_one_message_is_in_memory_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "box"
    text = "x" * 200_000 + "\n"
    with path.open("w") as file:
        for number in range(100):
            file.write(ENVELOPE + message(text, str(number)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_messages(path)) == 100
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
