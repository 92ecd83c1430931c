"""Pictures and attachments within text are left out of it, and named in the document's properties."""

from __future__ import annotations

import base64
import binascii
import json
import random

import pytest

from tests.unit.ingest.support import Read, assert_elements_cover

DATA = random.Random(1).randbytes(9000)
BASE64 = base64.b64encode(DATA).decode()
MIME = base64.encodebytes(DATA).decode()
UUENCODED = "begin 644 plan.dwg\n" + "".join(
    binascii.b2a_uu(DATA[n : n + 45]).decode() for n in range(0, 9000, 45)
) + "`\nend\n"  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", f"# Visit\n\nThe valve leaks.\n\n![photo](data:image/png;base64,{BASE64})\n\nAll done.\n"),
        ("a.txt", f"The valve leaks.\n\n{MIME}\nAll done.\n"),
        ("a.txt", f"The valve leaks.\n\n{UUENCODED}\nAll done.\n"),
        ("a.html", f"<p>The valve leaks.<p>data:image/jpeg;base64,{BASE64}<p>All done."),
        ("a.json", json.dumps({"text": "The valve leaks.", "picture": BASE64, "end": "All done."})),
        ("a.csv", f"text,file,end\nThe valve leaks.,{BASE64},All done.\nTwo,{BASE64},All done.\n"),
        ("a.xml", f"<?xml version='1.0'?><a><t>The valve leaks.</t><b>{MIME}</b><e>All done.</e></a>"),
        ("a.yaml", f"text: The valve leaks.\ncert: {BASE64}\nend: All done.\n"),
        ("a.eml", f"From: a@b.c\nSubject: x\nMIME-Version: 1.0\n\nThe valve leaks.\n\n{MIME}\nAll done.\n"),
    ],
)  # fmt: skip
def test_payloads_are_left_out_and_named(read: Read, name: str, text: str) -> None:
    document = read(name, text.encode())
    assert_elements_cover(document)
    assert "The valve leaks." in document.text and "All done." in document.text
    assert len(document.text) < 400
    assert "12" in document.metadata["payloads_left_out"] or "plan.dwg" in document.metadata["payloads_left_out"]


@pytest.mark.parametrize(
    ("name", "text", "left"),
    [
        ("a.md", f"![photo](data:image/png;base64,{BASE64})", "![photo]()"),
        ("a.txt", f"-----BEGIN CERTIFICATE-----\n{MIME}-----END CERTIFICATE-----\n",
         "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----"),
    ],
)  # fmt: skip
def test_nothing_else_goes_with_a_payload(read: Read, name: str, text: str, left: str) -> None:
    assert read(name, text.encode()).text.strip() == left


@pytest.mark.parametrize(
    "text",
    [
        "ACGTTGCA" * 100,
        "/usr/share/doc/" * 40,
        "-" * 500,
        "_" * 500,
        "0123456789abcdef" * 8,
        "a" * 3000,
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBg\n-----END PUBLIC KEY-----",
        "data:image/png;base64,iVBORw0KGgo=",
    ],
)
def test_other_long_words_stay(read: Read, text: str) -> None:
    document = read("a.txt", text.encode())
    assert document.text == text and not document.metadata
