"""Mails that a program has wrapped: Outlook's winmail.dat, signed mails, and mails in UTF-16."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping

import pytest

from core.errors import DocumentRejected
from tests.unit.ingest.mails import mail, multipart, part, plain_mail
from tests.unit.ingest.support import Read
from tests.unit.ingest.test_outlook_messages import uncompressed

PLAIN = "text/plain; charset=utf-8"
BASE64 = "Content-Transfer-Encoding: base64"
SUBJECT, BODY, DATE, CODE_PAGE, PROPERTIES = 0x18004, 0x2800C, 0x38005, 0x69007, 0x69003
NEW_FILE, FILE_NAME, FILE_DATA, FILE_PROPERTIES = 0x69002, 0x18010, 0x6800F, 0x69005
ANSI, UNICODE, BINARY, OBJECT = 0x1E, 0x1F, 0x102, 0x0D
MIME = b"Content-Type: text/plain; charset=utf-8\r\n\r\nThe signed code is HERON-3.\r\n"


def tnef(*attributes: tuple[int, bytes]) -> bytes:
    parts = [b"\x78\x9f\x3e\x22\1\0"]
    for number, data in attributes:
        level = 2 if number in (NEW_FILE, FILE_NAME, FILE_DATA, FILE_PROPERTIES) else 1
        parts.append(struct.pack("<BII", level, number, len(data)) + data + struct.pack("<H", sum(data) & 0xFFFF))
    return b"".join(parts)


def properties(values: Mapping[tuple[int, int], bytes]) -> bytes:
    """Return properties by their number and type, after one of several numbers and two that are named."""
    several = struct.pack("<HHIII", 0x1003, 0x0E01, 2, 7, 8)
    by_number = struct.pack("<HH16sIIBxxx", 0x0B, 0x8001, b"g" * 16, 0, 9, 1)
    by_name = struct.pack("<HH16sII8sI", 0x03, 0x8002, b"g" * 16, 1, 6, "abc".encode("utf-16-le"), 5)
    parts = [several, by_number, by_name]
    for (number, kind), data in values.items():
        parts.append(struct.pack("<HHII", kind, number, 1, len(data)) + data + b"\0" * (-len(data) % 4))
    return struct.pack("<I", len(parts)) + b"".join(parts)


OLD = tnef(
    (CODE_PAGE, struct.pack("<II", 1252, 0)),
    (SUBJECT, b"Boiler offer\0"),
    (DATE, struct.pack("<7H", 2026, 3, 2, 9, 0, 0, 1)),
    (BODY, "The offer for the Kältemaschine is 7,300.\0".encode("cp1252")),
    (NEW_FILE, bytes(14)),
    (FILE_NAME, b"terms.txt\0"),
    (FILE_DATA, b"Payment within 21 days."),
)
INNER = tnef((PROPERTIES, properties({(0x1000, UNICODE): "The inner code is WREN-4.\0".encode("utf-16-le")})))
NEW = tnef(
    (
        PROPERTIES,
        properties(
            {
                (0x0037, UNICODE): "Prüfung\0".encode("utf-16-le"),
                (0x0C1A, UNICODE): "Ann\0".encode("utf-16-le"),
                (0x0C1F, ANSI): b"ann@example.org\0",
                (0x1013, BINARY): "<p>The <b>offer</b> für you</p>".encode(),
            }
        ),
    ),
    (NEW_FILE, bytes(14)),
    (FILE_NAME, b"LONGNA~1.TXT\0"),
    (FILE_DATA, b"A file."),
    (FILE_PROPERTIES, properties({(0x3707, UNICODE): "long name.txt\0".encode("utf-16-le")})),
    (NEW_FILE, bytes(14)),
    (FILE_PROPERTIES, properties({(0x3001, ANSI): b"Forwarded\0", (0x3701, OBJECT): bytes(16) + INNER})),
)


def attached(data: bytes, content_type: str) -> bytes:
    return part(content_type, base64.encodebytes(data).decode(), BASE64)


def test_a_bare_winmail_dat_is_read_with_its_files(read: Read) -> None:
    document = read("winmail.dat", OLD)
    assert document.metadata == {"date": "2026-03-02 09:00:00", "subject": "Boiler offer"}
    assert document.text == (
        "Boiler offer\n\nDate: 2026-03-02 09:00:00\nSubject: Boiler offer\n\n"
        "The offer for the Kältemaschine is 7,300.\n\nAttachment: terms.txt\n\nPayment within 21 days."
    )


def test_a_winmail_dat_may_have_pages_and_messages(read: Read) -> None:
    text = read("a", NEW).text
    assert "From: Ann <ann@example.org>\nSubject: Prüfung" in text and "The offer für you" in text
    assert "Attachment: long name.txt\n\nA file." in text
    assert "Attachment: Forwarded" in text and "The inner code is WREN-4." in text


@pytest.mark.parametrize(
    "content_type", ['application/ms-tnef; name="winmail.dat"', 'application/octet-stream; name="a.dat"']
)
def test_text_and_files_of_a_winmail_dat_are_those_of_its_mail(read: Read, content_type: str) -> None:
    data = multipart("mixed", part(PLAIN, "See attached."), attached(OLD, content_type))
    text = read("a.eml", mail(data)).text
    assert text.endswith(
        "See attached.\n\nThe offer for the Kältemaschine is 7,300.\n\nAttachment: terms.txt\n\nPayment within 21 days."
    )


@pytest.mark.parametrize(
    "content",
    [
        {(0x1000, ANSI): b"The offer for the  Kaltemaschine.\0"},
        {(0x1009, BINARY): uncompressed(r"{\rtf1\ansi The offer for the Kaltemaschine.}")},
    ],
)
def test_a_text_that_its_mail_has_too_is_read_once(read: Read, content: dict[tuple[int, int], bytes]) -> None:
    file = tnef(
        (PROPERTIES, properties(content)), (NEW_FILE, bytes(14)), (FILE_NAME, b"a.txt\0"), (FILE_DATA, b"More.")
    )
    data = multipart("mixed", part(PLAIN, "The offer for the Kaltemaschine."), attached(file, "application/ms-tnef"))
    text = read("a.eml", mail(data)).text
    assert text.count("Kaltemaschine") == 1
    assert text.endswith("Attachment: a.txt\n\nMore.")


@pytest.mark.parametrize("length", [3, 7, 40, 90])
def test_a_broken_winmail_dat_says_so(read: Read, length: int) -> None:
    file = tnef((PROPERTIES, properties({(0x1000, ANSI): b"x" * 200})))[: 6 + length]
    with pytest.raises(DocumentRejected, match="broken"):
        read("winmail.dat", file)
    file = tnef((PROPERTIES, properties({(0x1000, ANSI): b"x"})[: length + 1]))
    with pytest.raises(DocumentRejected, match="broken"):
        read("winmail.dat", file)


# Signed mails and files


def der(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    size = len(body).to_bytes(4, "big")
    return bytes([tag, 0x84]) + size + body


def ber(tag: int, *content: bytes) -> bytes:
    """Return a value of indefinite length."""
    return bytes([tag, 0x80]) + b"".join(content) + b"\0\0"


def cms(content: bytes | None, kind: str = "02", encode: object = der) -> bytes:
    """Return signed data without its signatures, or compressed or encrypted data."""
    value = ber if encode is ber else der
    name = bytes.fromhex("2a864886f70d0109100109" if kind == "z" else f"2a864886f70d0107{kind}")
    identifier = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
    enclosed = [identifier]
    if content is not None:
        octets = der(0x04, content) if encode is der else ber(0x24, der(0x04, content[:9]), der(0x04, content[9:]))
        enclosed.append(value(0xA0, octets))
    algorithms = value(0x31, der(0x30, b"\x05\x00"))
    body = value(0x30, b"\x02\x01\x01", algorithms, value(0x30, *enclosed), der(0xA0, b"certificates"))
    return value(0x30, bytes([6, len(name)]) + name, value(0xA0, body))


@pytest.mark.parametrize("encode", [der, ber])
@pytest.mark.parametrize("name", ["smime.p7m", "message"])
def test_a_signed_mail_is_read(read: Read, name: str, encode: object) -> None:
    assert "The signed code is HERON-3." in read(name, cms(MIME, encode=encode)).text


def test_a_compressed_mail_is_read(read: Read) -> None:
    assert "The signed code is HERON-3." in read("smime.p7m", cms(zlib.compress(MIME), "z")).text


@pytest.mark.parametrize("armour", ["-----BEGIN PKCS7-----\n{}-----END PKCS7-----\n", "{}"])
def test_a_signed_file_is_read_as_its_type(read: Read, armour: str) -> None:
    data = cms(b"name,price\nhose,41\npipe,57\n", encode=ber if "PKCS7" in armour else der)
    document = read("prices.csv.p7m", armour.format(base64.encodebytes(data).decode()).encode())
    assert "hose" in document.text and document.media_type == "text/csv"


@pytest.mark.parametrize(
    "content_type",
    [
        'application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"',
        'application/x-pkcs7-mime; name="smime.p7m"',
        'application/octet-stream; name="smime.p7m"',
    ],
)
def test_the_mail_in_a_signed_mail_is_read(read: Read, content_type: str) -> None:
    inner = multipart("mixed", part(PLAIN, "The signed code is HERON-3."), part('text/plain; name="a.txt"', "A file."))
    text = read("a.eml", mail(attached(cms(inner), content_type))).text
    assert text.endswith("The signed code is HERON-3.\n\nAttachment: a.txt\n\nA file.")
    assert "p7m" not in text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (cms(b"x" * 99, "03"), "encrypted"),
        (cms(None), "a signature"),
        (cms(MIME)[:30], "broken"),
        (cms(b"not zlib", "z"), "broken"),
        (bytes.fromhex("308006092a864886f70d010702") + b"\xa0\x80" * 500, "broken"),
    ],
)
def test_other_files_of_signatures_say_what_they_are(read: Read, data: bytes, reason: str) -> None:
    with pytest.raises(DocumentRejected, match=reason):
        read("smime.p7m", data)


def test_a_file_of_keys_is_no_signed_file(read: Read) -> None:
    keys = der(0x30, b"\x02\x01\x03", cms(b"x", "01"))
    with pytest.raises(DocumentRejected, match="not supported"):
        read("keys.p12", keys)


# UTF-16


@pytest.mark.parametrize("charset", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("declared", ["utf-8", "utf-16", "iso-8859-1"])
def test_a_mail_that_was_saved_in_utf16_is_read(read: Read, charset: str, declared: str) -> None:
    written = mail(part(f"text/plain; charset={declared}", "Größe 41")).decode()
    text = read("a.eml", written.replace("\n", "\r\n").encode(charset)).text
    assert text == "Trains\n\nFrom: Ann <ann@example.com>\nTo: bob@example.com\nSubject: Trains\n\nGröße 41"


def test_a_mailbox_in_utf16_is_read(read: Read) -> None:
    message = "From ann@example.com Mon Mar  2 09:00:00 2026\n" + plain_mail("Größe 41").decode() + "\n\n"
    document = read("a.mbox", (message * 2).encode("utf-16"))
    assert document.metadata == {"messages": "2"}
    assert document.text.count("Größe 41") == 2
