"""Files that look as if the rest of them is still to be written."""

from __future__ import annotations

import io
import zipfile

import pytest

from watchers.completeness import HEAD_BYTES, TAIL_BYTES, why_incomplete


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("word/document.xml", "<w/>" * 5000)
        packed.comment = b"c" * 1000
    return file.getvalue()


def missing(content: bytes) -> str | None:
    return why_incomplete(content[:HEAD_BYTES], content[-TAIL_BYTES:])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"text" + bytes(1000),
        b"%PDF-1.7 ... trailer %%EOF\n",
        b"%PDF-1.7 ... %%EOF\r\n" + bytes(900),
        archive(),
        b"\x89PNG\r\n\x1a\n ... IEND\xaeB`\x82",
        b"\xff\xd8\xff\xe0 ... \xff\xd9",
        b"\xff\xd8\xff\xe0 ... \xff\xd9 and what a camera adds",
    ],
)
def test_whole_files_are_complete(content: bytes) -> None:
    assert missing(content) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (bytes(1), "ends with zero bytes"),
        (b"page one" + bytes(1024), "ends with zero bytes"),
        (b"%PDF-1.7 ... page one", "has no b'%%EOF' at its end"),
        (archive()[:-1100], "has no b'PK\\x05\\x06' at its end"),
        (b"\x89PNG\r\n\x1a\n ...", "has no b'IEND' at its end"),
        (b"\xff\xd8\xff\xe0 ...", "has no b'\\xff\\xd9' at its end"),
    ],
)
def test_files_without_their_end_are_not(content: bytes, reason: str) -> None:
    assert missing(content) == reason
