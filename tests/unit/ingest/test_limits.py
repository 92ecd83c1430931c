"""Hostile files and runaway programs end with a reason, in bounded time and memory, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from email.message import EmailMessage
from pathlib import Path

import pytest
from PIL import Image

from core.errors import DocumentRejected
from core.settings import Settings
from ingest import parsed_document as document_module
from ingest.parsers import attachments, ocr
from ingest.pipeline import parse_to_chunks
from ingest.sandbox import programs
from ingest.sandbox.process_limits import CpuTimeExceeded, cpu_limit, no_network
from ingest.sandbox.programs import ProgramFailed, run_program
from tests.programs import NEEDS_TESSERACT
from tests.support import is_running, wait_until
from tests.unit.ingest import files
from tests.unit.ingest.support import Read, pdf_bytes, zip_bytes

PYTHON = (sys.executable, "-I", "-S", "-c")


def reason(read: Read, name: str, data: bytes) -> str:
    with pytest.raises(DocumentRejected) as caught:
        read(name, data)
    return caught.value.message


# Limits of the parsing process


def test_processor_time_is_limited_and_the_limit_is_restored() -> None:
    before = signal.getsignal(signal.SIGPROF)
    with pytest.raises(CpuTimeExceeded), cpu_limit(1):
        while True:
            pass
    assert (signal.getitimer(signal.ITIMER_PROF), signal.getsignal(signal.SIGPROF)) == ((0, 0), before)


def test_a_file_that_takes_too_long_to_parse_is_stopped(
    tmp_path: Path, offline_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(*_: object, **__: object) -> None:
        while True:
            pass

    monkeypatch.setattr("ingest.pipeline.parse_unknown", endless)
    settings = offline_settings.model_copy(update={"parse_cpu_seconds": 1})
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(CpuTimeExceeded):
        parse_to_chunks(tmp_path / "a.txt", "a.txt", tmp_path / "out.jsonl", settings)
    assert not (tmp_path / "out.jsonl").exists()


def test_parsers_cannot_open_connections_and_other_code_can() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        with no_network(), pytest.raises(DocumentRejected, match="network connection"):
            socket.create_connection(address)
        socket.create_connection(address).close()


def test_a_text_that_grows_beyond_the_limit_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_module, "MAX_TEXT_CHARACTERS", 10_000)
    # Each record repeats the column names, so the text is much longer than the file.
    table = ",".join("column" * 10 + str(number) for number in range(10)) + "\n" + "1,2,3,4,5,6,7,8,9,0\n" * 100
    assert "more than 10000 characters" in reason(read, "a.csv", table.encode())
    assert "more than 10000 characters" in reason(read, "a.txt", b"word " * 3000)


# Programs


def test_a_program_is_stopped_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    script = (
        f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open({str(child)!r}, 'w').write(str(p.pid)); time.sleep(600)"
    )
    with pytest.raises(DocumentRejected, match="took longer than 4 s"):
        run_program([*PYTHON, script], cpu_seconds=1)
    pid = int(child.read_text())
    wait_until(lambda: not is_running(pid))


def test_a_programs_processor_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # The wall-clock limit is raised, so that the processor time limit ends the program.
    real = programs.subprocess.Popen

    class LongWait(real):  # type: ignore[misc, valid-type]
        def wait(self, timeout: float | None = None) -> int:
            return int(super().wait(60))

    monkeypatch.setattr(programs.subprocess, "Popen", LongWait)
    with pytest.raises(DocumentRejected, match="more than 1 s of processor time"):
        run_program([*PYTHON, "while True: pass"], cpu_seconds=1)


def test_what_a_program_prints_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_FILE_BYTES", 100_000)
    with pytest.raises(ProgramFailed):
        run_program([*PYTHON, "print('x' * 10**6)"], cpu_seconds=30)
    assert run_program([*PYTHON, "print('x' * 1000)"], cpu_seconds=30) == b"x" * 1000 + b"\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has network namespaces")
def test_a_program_has_no_network() -> None:
    try:
        isolated = int(Path("/proc/sys/user/max_user_namespaces").read_text()) > 0
    except OSError:
        isolated = False
    if not isolated:
        pytest.skip("this kernel does not allow users to create network namespaces")
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
        with pytest.raises(ProgramFailed, match="unreachable|refused"):
            run_program([*PYTHON, script], cpu_seconds=30)


def test_a_program_does_not_see_the_secrets_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESSDATA_PREFIX", "/data")
    for name in ("API_KEYS", "DATABASE_URL", "HF_TOKEN", "HOME", "SOME_PASSWORD"):
        monkeypatch.setenv(name, "secret")
    output = run_program([*PYTHON, "import os; print(dict(os.environ))"], cpu_seconds=30).decode()
    assert "secret" not in output
    assert "'TESSDATA_PREFIX': '/data'" in output


# Hostile files


def _entities(element: str) -> str:
    names = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "lol">{names}]><{element}>&a11;</{element}>'


def _outside(element: str) -> str:
    return f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><{element}>x &e;</{element}>'


@pytest.mark.parametrize("make", [_entities, _outside])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a.xml", None), ("a.svg", None), ("a.html", None), ("a.docx", "word/document.xml"),
        ("a.xlsx", "xl/workbook.xml"), ("a.pptx", "ppt/presentation.xml"), ("a.odt", "content.xml"),
    ],
)  # fmt: skip
def test_entities_are_not_expanded(read: Read, name: str, part: str | None, make: object) -> None:
    assert callable(make)
    data = make("html" if name == "a.html" else "x").encode()
    if part is not None:
        data = zip_bytes(
            {"mimetype": b"application/vnd.oasis.opendocument.text", part: data, "[Content_Types].xml": data}
        )
    started = time.process_time()
    try:
        text = read(name, data).text
    except DocumentRejected as rejection:
        text = rejection.message
    assert time.process_time() - started < 5
    assert len(text) < 5000
    assert "root:" not in text


def test_links_out_of_a_word_document_are_not_followed(read: Read) -> None:
    import io
    import zipfile

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        target = f"http://127.0.0.1:{server.getsockname()[1]}/template.dotm"
        source, copy = zipfile.ZipFile(io.BytesIO(files.word())), io.BytesIO()
        with zipfile.ZipFile(copy, "w") as archive:
            for item in source.infolist():
                data = source.read(item)
                if item.filename == "word/_rels/document.xml.rels":
                    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/attachedTemplate"
                    link = f'<Relationship Id="r99" Type="{kind}" Target="{target}" TargetMode="External"/>'
                    data = data.replace(b"</Relationships>", link.encode() + b"</Relationships>")
                archive.writestr(item, data)
        assert files.FACT in read("a.docx", copy.getvalue()).text
        with pytest.raises(TimeoutError):
            server.accept()


def test_html_nested_fifty_thousand_deep_is_read(read: Read) -> None:
    deep = b"<div>" * 50_000 + b"the deepest text" + b"</div>" * 50_000
    document = read("a.html", b"<html><h1>Top</h1>" + deep + b"<p>after it</p><script>no</script></html>")
    assert [(element.text, element.section) for element in document.elements] == [
        ("Top", "Top"), ("the deepest text", "Top"), ("after it", "Top"),
    ]  # fmt: skip


@pytest.mark.check
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b"[" * 200_000 + b"]" * 200_000),
        ("a.xml", b"<a>" * 100_000 + b"deep" + b"</a>" * 100_000),
        ("a.rtf", b"{\\rtf1 " + b"{" * 100_000 + b"deep" + b"}" * 100_001),
        ("a.md", b"> " * 20_000 + b"deep"),
        ("a.jsonl", b'{"a": 1}\n' + b"[" * 100_000 + b"\n"),
    ],
)
def test_deeply_nested_files_are_read_in_bounded_time(read: Read, name: str, data: bytes) -> None:
    started = time.process_time()
    try:
        assert read(name, data).text.strip()
    except DocumentRejected as rejection:
        assert "nested" in rejection.message or "broken" in rejection.message
    assert time.process_time() - started < 20


def test_attached_emails_are_read_to_a_limited_depth(read: Read) -> None:
    message = files.email()
    for level in range(attachments.MAX_DEPTH + 1):
        outer = EmailMessage()
        outer["From"], outer["Date"], outer["Subject"] = "a@example.com", "Mon, 05 Jan 2026 10:00:00 +0000", f"{level}"
        outer.set_content(f"level {level}")
        outer.add_attachment(message)
        message = outer
    text = read("a.eml", bytes(message)).text
    assert f"level {attachments.MAX_DEPTH - 1}" in text and "level 1" in text
    assert f"{attachments.MAX_DEPTH} are allowed" in text
    assert files.FACT not in text


def test_an_email_with_too_many_parts_is_refused(read: Read) -> None:
    parts = b"".join(b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n" for _ in range(1500))
    data = (
        b"From: a@example.com\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + parts + b"--b--\r\n"
    )
    assert "more than 1000 parts" in reason(read, "a.eml", data)


@NEEDS_TESSERACT
def test_images_too_large_to_decode_are_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr, "MAX_PIXELS", 1_000_000)
    bomb = files._saved(lambda file: Image.new("1", (5000, 5000)).save(file, "png"))
    assert "25 megapixels" in reason(read, "a.png", bomb)


@NEEDS_TESSERACT
def test_a_missing_ocr_language_is_named(tmp_path: Path, offline_settings: Settings) -> None:
    settings = offline_settings.model_copy(update={"ocr_languages": "tlh"})
    (tmp_path / "a.png").write_bytes(files.picture("png")())
    with pytest.raises(DocumentRejected, match=r"OCR_LANGUAGES=tlh.*tlh"):
        parse_to_chunks(tmp_path / "a.png", "a.png", tmp_path / "out.jsonl", settings)


@NEEDS_TESSERACT
def test_more_scanned_pages_than_allowed_are_refused(tmp_path: Path, offline_settings: Settings) -> None:
    settings = offline_settings.model_copy(update={"ocr_max_pages": 1})
    (tmp_path / "fax.tiff").write_bytes(files.fax())
    with pytest.raises(DocumentRejected, match=r"OCR_MAX_PAGES allows \(1\)"):
        parse_to_chunks(tmp_path / "fax.tiff", "fax.tiff", tmp_path / "out.jsonl", settings)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.docx", files.word), ("a.xlsx", files.workbook), ("a.xls", files.old_workbook), ("a.pptx", files.slides),
        ("a.odt", files.by_pandoc("odt")), ("a.epub", files.by_pandoc("epub")), ("a.rtf", files.by_pandoc("rtf")),
        ("a.pdf", lambda: pdf_bytes([[files.FACT]] * 3)), ("a.msg", files.outlook), ("a.png", files.picture("png")),
        ("a.eml", lambda: bytes(files.email())),
    ],
)  # fmt: skip
def test_truncated_and_damaged_files_end_with_text_or_a_reason(
    read: Read, name: str, make: files.Make, share: float
) -> None:
    data = make()
    position = int(len(data) * share)
    for broken in (data[:position], data[:position] + os.urandom(64) + data[position + 64 :]):
        try:
            assert read(name, broken).elements
        except DocumentRejected as rejection:
            assert len(rejection.message) > 10
