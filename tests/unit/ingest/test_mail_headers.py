"""Headers are decoded; those that people write are read, and those that only servers read are not."""

from __future__ import annotations

import pytest

from tests.unit.ingest.files import FACT
from tests.unit.ingest.mails import mail, part
from tests.unit.ingest.support import Read


def header_lines(read: Read, headers: bytes, content_type: str = "text/plain") -> list[str]:
    document = read("mail.eml", headers + b"\nMIME-Version: 1.0\n" + part(content_type, FACT))
    assert document.text.endswith(FACT)
    return document.elements[1].text.split("\n")


def test_visible_headers_are_text_in_the_usual_order(read: Read) -> None:
    headers = (
        "Received: from a by b; today\nDKIM-Signature: v=1; b=abc\nARC-Seal: i=1\nX-Spam-Score: 7\nSUBJECT: Trains\n"
        "References: <0@x>\nList-Id: <x.example.com>\nMessage-ID: <1@x>\nAuthentication-Results: x; spf=pass\n"
        "Bcc: eve@x\nReply-To: desk@x\nto: bob@x\nTo: bert@x\nSender: office@x\nCc: carl@x\nFrom: ann@x\nDate: today\n"
        "Organization: Railways\nKeywords: night, train\nComments: urgent\nResent-From: dan@x\nProject: X"
    )
    assert header_lines(read, headers.encode()) == [
        "From: ann@x", "Sender: office@x", "Reply-To: desk@x", "To: bob@x", "To: bert@x", "Cc: carl@x", "Bcc: eve@x",
        "Date: today", "Subject: Trains", "Organization: Railways", "Keywords: night, train", "Comments: urgent",
        "Resent-From: dan@x", "Project: X",
    ]  # fmt: skip


def test_values_that_people_wrote_under_server_headers_are_kept(read: Read) -> None:
    written = ["Received: 3 May", "References: the budget", "In-Reply-To: your letter", "Status: open", "Lines: two"]
    assert header_lines(read, "\n".join(["Status: RO", *written]).encode()) == written


def test_the_usual_headers_are_metadata(read: Read) -> None:
    metadata = read("mail.eml", b"From: ann@x\nBcc: eve@x\nMessage-ID: <1@x>\nProject: X\n\nText.\n").metadata
    assert metadata == {"from": "ann@x", "bcc": "eve@x", "message-id": "<1@x>"}


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        ("=?utf-8?B?RmFocnBsw6RuZQ==?=", "Fahrpläne"),
        ("=?UTF-8?q?Fahrpl=C3?=\n =?utf-8?Q?=A4ne?=", "Fahrpläne"),
        ("=?utf-8?Q?Fahr\n pl=C3=A4ne?=", "Fahr pläne"),
        ("Re: =?utf-8?Q?Fahrpl=C3=A4ne?= and =?iso-8859-2?Q?j=EDzdn=ED_=F8=E1d?=", "Re: Fahrpläne and jízdní řád"),
        ("Re:=?utf-8?Q?Fahrpl=C3=A4ne?=(new)", "Re:Fahrpläne(new)"),
        ("=?utf-8?Q?Really? Fahrpl=C3=A4ne??=", "Really? Fahrpläne?"),
        ("=?utf-8*de?Q?Fahrpl=C3=A4ne?=", "Fahrpläne"),
        ("=?gb2312?B?1tC5+g==?=", "中国"),
        ("=?nonsense?Q?Fahrpl=C3=A4ne?=", "Fahrpläne"),
        ("=?utf-8?B?RmFocnBsw6RuZ?=", "Fahrplän"),
        ("=?utf-8?X?abc?= =?utf-8?Q?", "=?utf-8?X?abc?= =?utf-8?Q?"),
        (r"=?utf-8?Q?Fahrpl=C3=A4ne?= in C:\users", r"Fahrpläne in C:\users"),
        ("Fahr\n\tpläne", "Fahr pläne"),
    ],
)
def test_subjects_are_decoded(read: Read, raw: str, subject: str) -> None:
    assert header_lines(read, f"From: ann@x\nSubject: {raw}".encode()) == ["From: ann@x", f"Subject: {subject}"]


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        ("Расписание поездов".encode("koi8-r"), "text/plain; charset=koi8-r"),
        ("Расписание поездов".encode(), "text/plain; charset=koi8-r"),
        ("Расписание поездов".encode("cp1251"), "text/plain; charset=windows-1251"),
    ],
)
def test_raw_bytes_in_headers_are_in_the_charset_of_the_text(read: Read, data: bytes, content_type: str) -> None:
    assert header_lines(read, b"Subject: " + data, content_type) == ["Subject: Расписание поездов"]


def test_raw_bytes_in_headers_are_decoded_by_a_guess_without_a_charset(read: Read) -> None:
    lines = header_lines(read, "From: J\xf6rg <joerg@x>\nSubject: Fahrpl\xe4ne f\xfcr Z\xfcge".encode("latin-1"))
    assert lines == ["From: Jörg <joerg@x>", "Subject: Fahrpläne für Züge"]


@pytest.mark.parametrize(
    "absurd",
    [
        b"To: =?utf-8?q?=F0?= <@@[>,;:\"\\",
        b"From: " + b"(" * 5000,
        b"Date: Mon, 99 Foo 99999999999 99:99:99 +9999999",
        b"Content-Disposition: ;;;==\"; filename*0*=''x; filename*=a'b'c'd",
        b"Content-Type: ",
        b"Content-Type: text/plain; charset=\"\x00\xff\"; name*=punycode''x",
        b"Content-Transfer-Encoding: \xff\xfe",
        b"Message-ID: <[>",
        b"To: \x00\x01\xff",
        b"X-\xff: y",
    ],
)  # fmt: skip
def test_a_malformed_header_does_not_spoil_the_mail(read: Read, absurd: bytes) -> None:
    usual = b"Received: by x; today\nSubject: Trains\nMIME-Version: 1.0\n"
    data = usual + absurd + b"\n\n" + FACT.encode()
    document = read("mail.eml", data)
    assert FACT in document.text
    assert document.metadata["subject"] == "Trains"
    # Nor does it spoil an attached mail
    attached = mail(b"Content-Type: message/rfc822\n\n" + data)
    assert FACT in read("mail.eml", attached).text
