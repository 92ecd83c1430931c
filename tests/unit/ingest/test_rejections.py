"""Files that are refused, each with a reason that its owner can act on."""

from __future__ import annotations

import io
import os
import resource
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core.errors import DocumentRejected
from core.settings import Settings
from ingest.parsers import archives, detection
from ingest.pipeline import parse_file_safely
from ingest.sandbox.process_limits import memory_limit
from tests.programs import NEEDS_TESSERACT
from tests.unit.ingest.ole import ole_bytes
from tests.unit.ingest.support import Read, docx_bytes, pdf_bytes, zip_bytes


def reason(read: Read, name: str, data: bytes) -> str:
    with pytest.raises(DocumentRejected) as caught:
        read(name, data)
    return caught.value.message


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.txt", b""),
        ("a.txt", b" \n\t "),
        ("a.md", b"\n"),
        ("a.html", b"<html><body></body></html>"),
        ("a.csv", b"\n,\n"),
    ],
)
def test_empty(read: Read, name: str, data: bytes) -> None:
    assert "empty" in reason(read, name, data)


def test_a_word_document_without_text_is_empty(read: Read) -> None:
    assert "empty" in reason(read, "a.docx", docx_bytes(lambda _: None))


def test_too_large_names_the_setting(read: Read) -> None:
    assert "MAX_UPLOAD_BYTES allows 5000000" in reason(read, "a.txt", b"x" * 5_000_001)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.pdf", pdf_bytes([["secret"]], password="hunter2")),
        ("a.docx", ole_bytes({"EncryptedPackage": b"x" * 100})),
    ],
)
def test_encrypted_says_what_to_do(read: Read, name: str, data: bytes) -> None:
    message = reason(read, name, data)
    assert "encrypted" in message
    assert "Remove the password and drop it again" in message


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("a.bin", bytes(range(256)) * 20, "application/octet-stream"),
        ("a.json", bytes(range(256)) * 20, "application/octet-stream"),
        ("a.txt", b"\0" * 5000, "application/octet-stream"),
        ("a.txt", b"fLaC" + bytes(100), "audio/flac"),
        ("a.zip", zip_bytes({"a.txt": b"hello"}), "application/zip"),
        ("a.odg", zip_bytes({"mimetype": b"application/vnd.oasis.opendocument.graphics"}), "opendocument.graphics"),
        ("a.vsd", ole_bytes({"VisioDocument": b"x" * 100}), "application/x-ole-storage"),
    ],
)
def test_unsupported_names_the_type(read: Read, name: str, data: bytes, media_type: str) -> None:
    message = reason(read, name, data)
    assert message.startswith("This type of file (")
    assert media_type in message
    assert "is not supported" in message


@pytest.mark.parametrize(
    ("name", "data", "media_type", "advice"),
    [
        ("a.heic", b"\0\0\0\x18ftypheic" + bytes(99), detection.HEIC, "Save it as JPEG"),
        ("a.jpg", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), detection.HEIC, "Save it as JPEG"),
        (
            "a.pages",
            zip_bytes({"Index/Document.iwa": b"x", "preview.jpg": b"x"}),
            detection.PAGES,
            "Export it from Pages",
        ),
        ("a.numbers", zip_bytes({"Index.zip": b"x"}), detection.NUMBERS, "Export it from Numbers as .xlsx"),
        ("a.key", zip_bytes({"index.apxl": b"x"}), detection.KEYNOTE, "Export it from Keynote"),
        ("a.pages", zip_bytes({"a.txt": b"x"}), "application/zip", "Drop the files in it"),
        ("a.xps", zip_bytes({"FixedDocumentSequence.fdseq": b"x"}), "application/oxps", "Print it to a PDF"),
        ("a.mp4", b"\0\0\0\x18ftypisom" + bytes(99), "video/mp4", ""),
        ("a.m4a", b"\0\0\0\x18ftypM4A " + bytes(99), "audio/mp4", ""),
        ("a.mov", b"\0\0\0\x18ftypqt  " + bytes(99), "video/quicktime", ""),
    ],
)
def test_files_of_other_programs_say_what_to_do(
    read: Read, name: str, data: bytes, media_type: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.parsers.find_spec", lambda _: None)
    message = reason(read, name, data)
    assert message.startswith(f"This type of file ({media_type}) is not supported")
    assert advice in message


@pytest.mark.parametrize("name", ["a.doc", "a.docx", "a.xls"])
@pytest.mark.parametrize(
    "protection",
    [
        {"\x09DRMContent": b"x" * 99, "WordDocument": b"x" * 5000},
        {"\x09DRMContent": b"x" * 99, "Workbook": b"x" * 5000},
        {"EncryptedPackage": b"x", "\x06DataSpaces": {"DataSpaceInfo": {"DRMEncryptedDataSpace": b"x"}}},
    ],
)
def test_the_placeholder_of_a_protected_file_is_not_read(read: Read, name: str, protection: Any) -> None:
    assert "protected by rights management" in reason(read, name, ole_bytes(protection))


def test_optional_types_name_the_missing_package(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.parsers.find_spec", lambda _: None)
    message = reason(read, "a.org", b"* Heading")
    assert detection.ORG in message
    assert "install pypandoc_binary" in message


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.pdf", pdf_bytes([["text"]])[:200]),
        ("a.docx", docx_bytes(lambda document: document.add_paragraph("text"))[:3000]),
        ("a.docx", zip_bytes({"word/document.xml": b"<not a document"})),
        ("a.ipynb", b'{"cells": 3}'),
    ],
)
def test_broken_says_what_is_broken(read: Read, name: str, data: bytes) -> None:
    assert "is broken" in reason(read, name, data)


def test_a_damaged_part_of_a_word_document(read: Read) -> None:
    entries = {"[Content_Types].xml": b"<Types", "_rels/.rels": b"<", "word/document.xml": b"<w:document"}
    assert "The Word document is broken" in reason(read, "a.docx", zip_bytes(entries))


def test_blank_pages_are_empty(read: Read) -> None:
    assert "no text was found" in reason(read, "blank.pdf", pdf_bytes([[], []]))


def test_a_bomb_is_refused_before_it_is_unpacked(read: Read) -> None:
    bomb = zip_bytes({"word/document.xml": b" " * (64 * 2**20)})
    assert "times are allowed" in reason(read, "a.docx", bomb)


def test_an_archive_of_too_many_megabytes(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_EXPANDED_BYTES", 1000)
    assert "would unpack to" in reason(read, "a.docx", zip_bytes({"word/document.xml": os.urandom(2000)}))


def test_too_many_entries(read: Read) -> None:
    entries = {f"{number}": b"" for number in range(archives.MAX_ENTRIES)} | {"word/document.xml": b"<"}
    assert "10001 entries" in reason(read, "a.docx", zip_bytes(entries))


def test_an_archive_in_an_archive(read: Read) -> None:
    entries = {"word/document.xml": b"<", "word/media/inner.zip": b"PK"}
    assert "another archive" in reason(read, "a.docx", zip_bytes(entries))


def test_unreadable(tmp_path: Path, offline_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("secret")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # simulated, because root may read every file

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DocumentRejected, match="cannot be read: the server has no permission"):
        parse_file_safely(path, "a.txt", offline_settings)


def test_a_folder(tmp_path: Path, offline_settings: Settings) -> None:
    with pytest.raises(DocumentRejected, match="a folder"):
        parse_file_safely(tmp_path, "a.txt", offline_settings)


def test_memory_is_limited_and_the_limit_is_restored() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), memory_limit(64 * 2**20):
        bytearray(512 * 2**20)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert len(bytearray(128 * 2**20)) == 128 * 2**20


@pytest.mark.parametrize("kind", ["epub+zip", "vnd.oasis.opendocument.text"])
def test_archives_with_wrong_checksums_are_broken(read: Read, kind: str) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", f"application/{kind}")
    damaged = file.getvalue().replace(b"application/", b"applicatIon/")
    assert "archive cannot be read (Bad CRC-32" in reason(read, "a", damaged)


@NEEDS_TESSERACT
def test_an_image_without_a_size_is_broken(read: Read) -> None:
    assert reason(read, "a.tiff", b"II*\0\x08\0\0\0" + bytes(200)).startswith("The image is broken: ")
