"""E-mails are detected by headers that only e-mail has, and texts that merely look like e-mail lose no line."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import DocumentRejected
from ingest.parsers.detection import detect_media_type
from tests.unit.ingest.files import FACT
from tests.unit.ingest.mails import BASE64_FACT, lines_of, mail, multipart, part
from tests.unit.ingest.support import Read

EML, MBOX, PLAIN = "message/rfc822", "application/mbox", "text/plain"
SEALS = "".join(
    f"ARC-Seal: i={number}; a=rsa-sha256; cv=pass; d=example.com;\n b={'x' * 900}\n"
    f"Received: from a.example.com by b.example.com with ESMTPS id {number};\n Mon, 5 Jan 2026 10:00:0{number} +0000\n"
    for number in range(9)
)
ENCODED = "Subject: Trains\nMIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: base64\n\n"
MEMO = "From: Ann\nTo: Bob\nDate: 3 May\nRe: budget\nProject: X\n\nThe body of the memo.\n"


def found(tmp_path: Path, filename: str, text: str) -> str:
    path = tmp_path / "blob"
    path.write_bytes(text.encode())
    return detect_media_type(path, filename)


@pytest.mark.parametrize("filename", ["mail.eml", "mail.txt", "mail"])
def test_mail_is_detected_below_kilobytes_of_seals(read: Read, filename: str) -> None:
    document = read(filename, f"{SEALS}From: ann@example.com\n{ENCODED}{BASE64_FACT}\n".encode())
    assert document.media_type == EML
    assert FACT in document.text
    assert document.metadata["from"] == "ann@example.com"


@pytest.mark.parametrize(
    "headers",
    [
        ENCODED,
        f"From: ann@example.com\n{ENCODED}",
        f"Received: from a by b with SMTP;\n Mon, 5 Jan 2026 10:00:00 +0000\n{ENCODED}",
        f">From ann@example.com Mon Jan  5 10:00:00 2026\nReceived: by b with SMTP; today\n{ENCODED}",
        f"\ufeff\n{ENCODED}",
        ENCODED.replace("\n", "\r\n"),
    ],
)
@pytest.mark.parametrize("filename", ["draft.eml", "draft.txt"])
def test_mail_is_detected_by_headers_that_only_programs_write(read: Read, filename: str, headers: str) -> None:
    document = read(filename, f"{headers}{BASE64_FACT}\n".encode())
    assert document.media_type == EML
    assert FACT in document.text


def test_few_headers_are_enough_in_a_file_with_a_mail_suffix(read: Read) -> None:
    document = read("draft.eml", f"Subject: Trains\n\n{FACT}\n".encode())
    assert document.media_type == EML
    assert lines_of(document.text) == ["Trains", "Subject: Trains", FACT]


def test_a_file_with_a_mail_suffix_and_no_headers_is_text(read: Read) -> None:
    assert read("note.eml", FACT.encode()).text == FACT


@pytest.mark.parametrize(
    ("filename", "text"),
    [
        ("memo.txt", MEMO),
        ("memo", MEMO),
        ("note.md", "Title: Trains\nFrom: Ann\nDate: 2026-01-05\nSubject: Vienna\nTags: night\n\n# Trains\n\nText.\n"),
        ("mail.yaml", "from: ann\nto: bob\nsubject: trains\ndate: 2026-01-05\nmessage-id: <1@example.com>\n"),
        ("send.http", "From: ann@example.com\nDate: today\nContent-Type: text/plain\nSubject: trains\n\nHello\n"),
        ("note.txt", "From: Ann\nSubject: trains\n\nThe body.\n"),
        ("log.txt", "Received: 3 May from Ann\nFrom: Ann\nTo: Bob\nDate: 4 May\n\nThe body.\n"),
        ("guide.rst", "From: Ann\nTo: Bob\nReferences: none\nSubject: trains\n\nThe body.\n"),
        ("letter.txt", "From the beginning of Mon Jan 5 it rained.\nSubject: rain\n"),
        ("fix.patch", "From 0123abc Mon Sep 17 00:00:00 2001\nFrom: Ann <a@b.c>\nSubject: [PATCH] x\n\n  code\n"),
    ],
)
def test_header_like_lines_above_a_text_are_kept(read: Read, filename: str, text: str) -> None:
    document = read(filename, text.encode())
    assert document.media_type not in (EML, MBOX)
    words = set(document.text.split())
    assert [word for word in text.replace("#", "").split() if word not in words and word.strip("=-")] == []


def test_a_memo_with_a_mail_suffix_keeps_every_line(read: Read) -> None:
    document = read("memo.eml", MEMO.encode())
    assert document.media_type == EML
    assert {"From: Ann", "To: Bob", "Date: 3 May", "Re: budget", "Project: X"} <= set(document.text.split("\n"))


@pytest.mark.parametrize("filename", ["mail.md", "mail.html", "Makefile", "mail.py"])
def test_certain_mail_is_detected_under_a_wrong_name(tmp_path: Path, filename: str) -> None:
    text = f"From: ann@example.com\nMessage-ID: <1@example.com>\n{ENCODED}{BASE64_FACT}\n"
    assert found(tmp_path, filename, text) == EML


def test_mailboxes_are_detected_by_their_first_line(tmp_path: Path) -> None:
    for sender in ("ann@example.com Mon Jan  5", "- Mon Jan  5", "Ann Lee Mon, 5 Jan 2026", "1@xxx Mon Jan 05"):
        assert found(tmp_path, "box", f"From {sender} 10:00:00 +0000 2026\nSubject: x\n\ny\n") == MBOX
    assert found(tmp_path, "box", "From here on\nSubject: x\n\ny\n") == PLAIN


@pytest.mark.parametrize(
    "attached",
    [
        part("message/rfc822", f"{ENCODED}{BASE64_FACT}"),
        part('message/rfc822; name="Trains.txt"', f"{ENCODED}{BASE64_FACT}"),
        part('application/octet-stream; name="Trains.eml"', f"{ENCODED}{BASE64_FACT}"),
        part("message/rfc822", f"Content-Transfer-Encoding: base64\n\n{BASE64_FACT}"),
        part("message/rfc822", "U3ViamVjdDogVHJhaW5zCgpUaGUgbmlnaHQgdHJhaW4gdG8gVmllbm5hIGxlYXZlcyBhdCBuaW5lLg==",
             "Content-Transfer-Encoding: base64"),
    ],
)  # fmt: skip
def test_an_attached_mail_is_read_whatever_headers_it_has(read: Read, attached: bytes) -> None:
    document = read("mail.eml", mail(multipart("mixed", part("text/plain", "See below."), attached)))
    assert "See below." in document.text
    assert FACT in document.text
    assert BASE64_FACT not in document.text


@pytest.mark.parametrize("filename", ["page.mhtml", "page.doc", "page.xls"])
def test_mhtml_pages_saved_by_office_are_read(read: Read, filename: str) -> None:
    page = f"<html><head><style>p {{}}</style></head><body><p>{FACT}</p></body></html>"
    parts = f"--b\nContent-Type: text/html\n\n{page}\n--b\nContent-Type: text/css\n\np {{ color: red }}\n--b--\n"
    document = read(filename, f"MIME-Version: 1.0\nContent-Type: multipart/related; boundary=b\n\n{parts}".encode())
    assert FACT in document.text and "color" not in document.text


def test_files_of_apple_mail_are_read(read: Read) -> None:
    message = f"{ENCODED}{BASE64_FACT}\n"
    document = read("1.emlx", f"{len(message)}\n{message}<?xml version='1.0'?><plist><key>flags</key></plist>".encode())
    assert document.media_type == EML
    assert FACT in document.text and "flags" not in document.text


def test_binary_data_is_not_mail_whatever_its_name(read: Read) -> None:
    with pytest.raises(DocumentRejected, match="not supported"):
        read("mail.eml", bytes(range(256)) * 20)
