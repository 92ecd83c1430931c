"""Outlook messages are read from any format of their text, with their senders and recipients."""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence

import pytest

from ingest.parsers.attachments import MAX_DEPTH
from ingest.parsers.rtf.compressed import decompress_rtf
from tests.unit.ingest.files import FACT
from tests.unit.ingest.mails import lines_of
from tests.unit.ingest.ole import ole_bytes
from tests.unit.ingest.support import Read

SUBJECT, BODY, HTML, RTF, HEADERS = 0x0037, 0x1000, 0x1013, 0x1009, 0x007D
SENDER_NAME, SENDER_ADDRESS = 0x0C1A, 0x5D01
NAME, ADDRESS, KIND = 0x3001, 0x39FE, 0x0C15
LONG_NAME, SHORT_NAME, DATA = 0x3707, 0x3704, 0x3701
CODE_PAGE = 0x3FFD
Values = Mapping[int, object]

#: The RTF that Outlook wrote for “Pouic pouic”.
COMPRESSED = base64.b64decode(
    "3gAAADkCAABMWkZ1lTR5wz8ACQMwAQMB9wKnAgBjaBEKwHNldALRcHJx4DAgVGFoA3ECgwBQ6wNUDzcyD9MyBgAGwwKDpxIBA+MReDA0EhUgAoAr"
    "ApEI5jsJbzAVwzEyvjgJtBdCCjIXQRb0ORIAHxeEGOEYExjgFcMyNTX/CbQaYgoyGmEaHBaKCaUa9v8c6woUG3YdTRt/Hwwabxbt/xyPF7gePxg4"
    "JY0YVyRMKR+dJfh9CoEBMAOyMTYDMYksgSc1AUAnNmYtQNY3GoAtkDktgTMtQAwBFy3QLX8KhX0wgA=="
)
#: HTML encapsulated in RTF, as Outlook stores it.
ENCAPSULATED = (
    r"{\rtf1\ansi\ansicpg1252\fromhtml1 \deff0{\fonttbl{\f0\fswiss Arial;}}{\*\htmltag19 <html>}{\*\htmltag64 <p>}"
    r"\htmlrtf {\htmlrtf0 The night train to {\*\htmltag84 <b>}\htmlrtf {\b \htmlrtf0 Vienna\htmlrtf }\htmlrtf0 "
    r"{\*\htmltag92 </b>} leaves at nine.\htmlrtf\par}\htmlrtf0 {\*\htmltag72 </p>}{\*\htmltag27 </html>}}"
)


def uncompressed(rtf: str) -> bytes:
    data = rtf.encode("latin-1")
    return struct.pack("<III4x", len(data) + 12, len(data), 0x414C454D) + data


def storage(values: Values, header: bytes) -> dict[str, object]:
    """Return a storage with these properties.

    A str is stored as UTF-16, a pair of a str and a charset in that charset, as in old versions, and bytes and int as
    they are.
    """
    table, streams = header, dict[str, object]()
    for tag, value in values.items():
        if isinstance(value, int):
            table += struct.pack("<HHIII", 3, tag, 6, value, 0)
            continue
        kind = {str: 0x1F, tuple: 0x1E, bytes: 0x102}[type(value)]
        data = value.encode("utf-16-le") if isinstance(value, str) else value
        data = data[0].encode(data[1]) if isinstance(data, tuple) else data
        assert isinstance(data, bytes)
        table += struct.pack("<HHIII", kind, tag, 6, len(data), 0)
        streams[f"__substg1.0_{tag:04X}{kind:04X}"] = data
    return {"__properties_version1.0": table, **streams}


def outlook(values: Values, *, recipients: Sequence[Values] = (), attachments: Sequence[Values] = ()) -> bytes:
    content = storage(values, struct.pack("<8x4I8x", 0, 0, len(recipients), len(attachments)))
    for number, each in enumerate(recipients):
        content[f"__recip_version1.0_#{number:08X}"] = storage(each, bytes(8))
    for number, each in enumerate(attachments):
        content[f"__attach_version1.0_#{number:08X}"] = storage(each, bytes(8))
    return ole_bytes(content)


def lines(read: Read, values: Values, **parts: Sequence[Values]) -> list[str]:
    return list(lines_of(read("mail.msg", outlook({SUBJECT: "Trains", **values}, **parts)).text))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({BODY: FACT}, FACT),
        ({HTML: f"<p>{FACT}</p>".encode()}, FACT),
        ({BODY: " \r\n", HTML: f"<p>{FACT}</p>".encode()}, FACT),
        ({BODY: "", HTML: b"", RTF: COMPRESSED}, "Pouic pouic"),
        ({RTF: uncompressed(ENCAPSULATED)}, FACT),
        ({BODY: "View it as a page.", HTML: f"<p>{FACT}</p><p>It goes on to Rome after that.</p>".encode()}, FACT),
    ],
)
def test_the_text_is_read_from_the_format_that_has_it(read: Read, values: Values, text: str) -> None:
    assert text in lines(read, values)


def test_a_text_that_cannot_be_read_is_named_with_the_reason(read: Read) -> None:
    broken = b"\0" * 40
    assert lines(read, {RTF: broken})[-1] == "The text of this e-mail was not read: its compression 0x0 is not known."


def test_senders_and_recipients_are_read(read: Read) -> None:
    people = [
        {NAME: "Bob", ADDRESS: "bob@x", KIND: 1}, {NAME: "carl@x", ADDRESS: "carl@x", KIND: 2},
        {NAME: "Eve", KIND: 3}, {NAME: "Bert", ADDRESS: "bert@x", KIND: 1},
    ]  # fmt: skip
    found = lines(read, {BODY: FACT, SENDER_NAME: "Ann", SENDER_ADDRESS: "ann@x"}, recipients=people)
    assert found == ["Trains", "From: Ann <ann@x>", "To: Bob <bob@x>, Bert <bert@x>", "Cc: carl@x", "Bcc: Eve",
                     "Subject: Trains", FACT]  # fmt: skip


def test_sent_headers_are_read_and_completed_from_outlooks_properties(read: Read) -> None:
    headers = "Received: by x; today\r\nFrom: =?utf-8?Q?J=C3=B6rg?= <joerg@x>\r\nReply-To: desk@x\r\nProject: X\r\n"
    found = lines(read, {BODY: FACT, HEADERS: headers}, recipients=[{NAME: "Eve", KIND: 3}])
    assert found == ["Trains", "From: Jörg <joerg@x>", "Reply-To: desk@x", "Bcc: Eve", "Subject: Trains", "Project: X",
                     FACT]  # fmt: skip


def test_texts_of_old_versions_are_read_in_the_code_page_of_the_message(read: Read) -> None:
    old = ("Поезд в Вену", "cp1251")
    files = [{SHORT_NAME: ("Цены.csv", "cp1251"), DATA: b"city,price\nVienna,41\n"}]
    values = {SUBJECT: old, BODY: old, CODE_PAGE: 1251}
    found = lines(read, values, recipients=[{NAME: old, KIND: 2}], attachments=files)
    assert found == ["Поезд в Вену", "Cc: Поезд в Вену", "Subject: Поезд в Вену", "Поезд в Вену",
                     "Attachment: Цены.csv", "city | price", "city: Vienna; price: 41"]  # fmt: skip


def test_items_that_cannot_be_read_are_named_with_the_reason(read: Read) -> None:
    found = lines(read, {BODY: FACT}, attachments=[{NAME: "Night trains"}])
    assert found[-2:] == [
        "Attachment: Night trains",
        "This attachment was not read: It is an Outlook item within the message. Save it as a file of its own.",
    ]


# The examples of [MS-OXRTFCP]


@pytest.mark.parametrize(
    ("data", "rtf"),
    [
        (
            "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0",
            b"{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n",
        ),
        ("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0", b"{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"),
    ],
)
def test_compressed_rtf_is_read_even_if_truncated(data: str, rtf: bytes) -> None:
    whole = bytes.fromhex(data)
    assert decompress_rtf(whole) == rtf
    for length in range(16, len(whole)):
        assert rtf.startswith(decompress_rtf(whole[:length]))
    for broken in (b"", whole[:15], whole[:8] + b"ABCD" + whole[12:]):
        with pytest.raises(ValueError, match="too short|not known"):
            decompress_rtf(broken)


def test_embedded_messages_are_read_to_a_limited_depth(read: Read) -> None:
    # Given messages that were forwarded as attachments, each inside the next
    message: dict[str, object] = {}
    for level in range(MAX_DEPTH + 2):
        message = {**storage({SUBJECT: f"Level {level}", BODY: f"Body of level {level}."}, bytes(24)), **message}
        item = storage({NAME: f"Level {level}"}, bytes(8)) | {"__substg1.0_3701000D": message}
        message = {"__attach_version1.0_#00000000": item}
    outer = storage({SUBJECT: "Outer", BODY: FACT}, struct.pack("<8x4I8x", 0, 0, 0, 1))
    document = read("mail.msg", ole_bytes({**outer, **message}))
    assert FACT in document.text
    assert document.text.count("Body of level") == MAX_DEPTH
    assert f"Body of level {MAX_DEPTH + 1}." in document.text
    assert f"This attachment was not read: It is nested in {MAX_DEPTH + 1} files" in document.text
