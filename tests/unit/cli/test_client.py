"""The commands, against a small HTTP server that answers as the API does."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli.api_commands import printable
from cli.client import ApiClient, RequestRefused, multipart
from cli.collection_commands import SHOWN_REASONS, reasons_table
from cli.main import app
from core.errors import InvalidRequest, Unavailable
from core.settings import load_settings
from tests.support import free_port

HIT = {"filename": "tea.txt", "path": "drinks/tea.txt", "page": 2, "section": None, "score": 0.5, "text": "two minutes"}


class FakeApi(BaseHTTPRequestHandler):
    received: ClassVar[list[tuple[str, str, bytes]]] = []
    keys: ClassVar[list[str | None]] = []
    answers: ClassVar[dict[str, tuple[int, Any]]] = {}

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *arguments: Any) -> None:
        pass

    def _answer(self) -> None:
        FakeApi.received.append((self.command, self.path, self._body()))
        FakeApi.keys.append(self.headers.get("Authorization"))
        status, answer = self.answers[f"{self.command} {self.path.partition('?')[0]}"]
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    FakeApi.received, FakeApi.answers, FakeApi.keys = [], {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeApi)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("LLM_API_URL", f"http://127.0.0.1:{server.server_port}")
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def frames(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


@pytest.fixture
def client(url: str) -> Iterator[ApiClient]:
    with ApiClient(load_settings(), url) as client:
        yield client


def test_lists_are_read_page_by_page(client: ApiClient) -> None:
    FakeApi.answers["GET /v1/jobs"] = (200, {"data": [{"id": "a"}, {"id": "b"}], "has_more": True})
    assert len(client.listed("/v1/jobs", 4)) == 4
    assert [path for _, path, _ in FakeApi.received] == ["/v1/jobs?limit=4", "/v1/jobs?limit=2&after=b"]


def test_error_answer_keeps_its_message_and_names_the_parameter(client: ApiClient) -> None:
    error = {"error": {"message": "The query is empty.", "param": "query", "type": "x", "code": None}}
    FakeApi.answers["POST /v1/rag/search"] = (400, error)
    with pytest.raises(RequestRefused, match=r"The query is empty. \(query\)"):
        client.post("/v1/rag/search", {"query": ""})


def test_answer_of_another_program_is_an_error_too(client: ApiClient) -> None:
    FakeApi.answers["GET /v1/models"] = (404, b"<html>not here</html>")
    with pytest.raises(RequestRefused, match="answered 404"):
        client.get("/v1/models")


def test_nothing_listening_says_how_to_start() -> None:
    client = ApiClient(load_settings(), f"http://127.0.0.1:{free_port()}")
    with client, pytest.raises(Unavailable, match="llm-api up"):
        client.get("/v1/models")


def test_stream_that_breaks_off_is_an_error(client: ApiClient) -> None:
    FakeApi.answers["POST /v1/rag/chat"] = (200, b'data: {"choices": []}\n\n')
    with pytest.raises(Unavailable, match="broke off"):
        list(client.stream("/v1/rag/chat", {"query": "x"}))


def test_stream_error_frame_is_raised(client: ApiClient) -> None:
    FakeApi.answers["POST /v1/rag/chat"] = (200, b'data: {"error": {"message": "the worker died"}}\n\n')
    with pytest.raises(RequestRefused, match="the worker died"):
        list(client.stream("/v1/rag/chat", {"query": "x"}))


@pytest.mark.usefixtures("url")
def test_ask_prints_answer_and_sources(capsys: pytest.CaptureFixture[str]) -> None:
    FakeApi.answers["POST /v1/rag/chat"] = (
        200,
        frames(
            {
                "choices": [{"delta": {"content": "[Two]"}}],
                "sources": [HIT | {"highlights": [{"text": "Steep it.", "start": 0, "end": 9}]}],
            },
            {"choices": [{"delta": {}, "grounded": False, "missing": {"question": ["long"], "answer": ["Two."]}}]},
        ),
    )
    app(["ask", "How long?"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "not in the documents: long" in printed and "not supported by the documents: Two." in printed
    assert "    Steep it." in printed
    assert "[Two]" in printed and "[1] drinks/tea.txt, page 2" in printed
    assert json.loads(FakeApi.received[0][2]) == {"stream": True, "query": "How long?"}


@pytest.mark.parametrize(
    ("options", "filters"),
    [
        ([], None),
        (["--filter", "shelf=toys"], {"type": "eq", "key": "shelf", "value": "toys"}),
        (["-f", "year >= 2019"], {"type": "gte", "key": "year", "value": 2019}),
        (["-f", "date>=2024-01-01"], {"type": "gte", "key": "date", "value": "2024-01-01"}),
        (["-f", "draft!=true"], {"type": "ne", "key": "draft", "value": True}),
        (["-f", "path=a=b"], {"type": "eq", "key": "path", "value": "a=b"}),
        (["-f", '{"type": "in", "key": "k", "value": ["a"]}'], {"type": "in", "key": "k", "value": ["a"]}),
        (
            ["-f", "a=1", "-f", "b<2"],
            {
                "type": "and",
                "filters": [{"type": "eq", "key": "a", "value": 1}, {"type": "lt", "key": "b", "value": 2}],
            },
        ),
    ],
)
def test_search_and_ask_take_filters_and_collections(url: str, options: list[str], filters: Any) -> None:
    FakeApi.answers["POST /v1/rag/search"] = (200, {"data": [HIT]})
    FakeApi.answers["POST /v1/rag/chat"] = (200, frames({"choices": [], "sources": []}))
    for command in ("search", "ask"):
        result = CliRunner().invoke(app, [command, "tea?", "--collection", "a", "--collection", "b", *options])
        assert result.exit_code == 0, result.output
        body = json.loads(FakeApi.received[-1][2])
        assert (body.get("collections"), body.get("filters")) == (["a", "b"], filters)


@pytest.mark.parametrize(
    "arguments",
    [["search", "q", "-f", "shelf"], ["search", "q", "-f", "{"], ["ask", "q", "--plain", "--collection", "a"]],
)
def test_invalid_filters_and_options_are_refused(url: str, arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 1
    assert FakeApi.received == []


def test_skipped_files_are_listed_with_the_reason(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    skipped = {"id": "skip-1", "path": "b.bak", "reason": ".llmignore: *.bak", "folder": "/in"}
    FakeApi.answers["GET /v1/rag/collections/c/skipped"] = (200, {"data": [skipped], "has_more": False})
    app(["documents", "skipped", "--collection", "c"], standalone_mode=False)
    assert ".llmignore: *.bak" in capsys.readouterr().out


@pytest.mark.usefixtures("url")
def test_ingest_uploads_and_waits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "note.txt").write_text("hello")
    (tmp_path / ".hidden").write_text("no")
    document = {"id": "doc-1", "filename": "note.txt", "collection": "default", "chunk_count": 1, "created_at": 0}
    document |= {"error": None, "progress": {"percent": 0, "activity": "waiting", "activity_reason": None}}
    FakeApi.answers["POST /v1/rag/documents/upload"] = (202, {"data": [{**document, "status": "queued"}]})
    FakeApi.answers["GET /v1/rag/documents/doc-1"] = (200, {**document, "status": "completed"})
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("no")
    app(["ingest", str(tmp_path), "-a", "year=2024", "-a", "shop=left"], standalone_mode=False)
    assert "completed" in capsys.readouterr().out
    body = FakeApi.received[0][2]
    assert body.count(b"filename=") == 1 and b"\r\n\r\nhello\r\n" in body
    assert f'filename="{tmp_path.name}/note.txt"'.encode() in body
    assert b'{"year": 2024, "shop": "left"}' in body


@pytest.mark.usefixtures("url")
def test_an_unreadable_file_is_named_and_the_others_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.txt", "private\x1b.txt"):
        (tmp_path / name).write_text("hello")
    refused = ["private\x1b.txt"]
    monkeypatch.setattr("cli.document_commands.os.access", lambda path, mode: Path(path).name not in refused)
    document = {"id": "doc-1", "filename": "a.txt", "collection": "default", "chunk_count": 1, "status": "completed"}
    document |= {"error": None, "progress": {"percent": 100, "activity": "done", "activity_reason": None}}
    FakeApi.answers["POST /v1/rag/documents/upload"] = (201, {"data": [document]})
    ended = CliRunner().invoke(app, ["ingest", str(tmp_path)])
    assert ended.exit_code == 1
    assert FakeApi.received[0][2].count(b"filename=") == 1
    refused.append("a.txt")
    assert CliRunner().invoke(app, ["ingest", str(tmp_path)]).exit_code == 1
    assert len(FakeApi.received) == 1, "nothing is sent if no file can be read"


def test_a_file_that_vanishes_during_the_upload_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"gone\.txt cannot be read"):
        list(multipart({"gone.txt": tmp_path / "gone.txt"}, {}, "b"))


def uploaded_names(arguments: list[str]) -> list[str]:
    """Run `llm-api ingest` and return the names of the files that it sends, in order."""
    FakeApi.answers["POST /v1/rag/documents/upload"] = (201, {"data": []})
    FakeApi.received.clear()
    result = CliRunner().invoke(app, ["ingest", *arguments])
    assert result.exit_code == 0, result.output
    return [name.decode() for name in re.findall(rb'filename="([^"]*)"', FakeApi.received[0][2])]


@pytest.mark.usefixtures("url")
def test_files_of_the_same_name_are_sent_with_as_many_folders_as_tell_them_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("a/report.pdf", "b/report.pdf", "b/x/docs/1.txt", "c/x/docs/1.txt", "note.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    monkeypatch.chdir(tmp_path)
    assert uploaded_names(["a/report.pdf", "b/report.pdf"]) == ["a/report.pdf", "b/report.pdf"]
    assert uploaded_names(["b/x/docs", "c/x/docs"]) == ["b/x/docs/1.txt", "c/x/docs/1.txt"]
    assert uploaded_names(["a/report.pdf", "note.txt"]) == ["report.pdf", "note.txt"]
    assert uploaded_names(["a", "a/report.pdf", "b/../a/report.pdf"]) == ["a/report.pdf"], "one file is sent once"
    bodies = FakeApi.received[0][2]
    assert bodies.count(b"a/report.pdf\r\n--") == 1


def test_line_separators_of_unicode_do_not_break_a_stream(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    event = {"choices": [{"delta": {"content": "one\u2028two\u2029three\x85\x1b[31m"}}]}
    raw = b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\r\n\r\ndata: [DONE]\n\n"
    FakeApi.answers["POST /v1/chat/completions"] = (200, raw)
    app(["ask", "--plain", "How?"], standalone_mode=False)
    assert capsys.readouterr().out == "one\ntwo\n\nthree\ufffd\ufffd[31m\n"


@pytest.mark.usefixtures("url")
def test_a_plain_question_names_no_model() -> None:
    FakeApi.answers["POST /v1/chat/completions"] = (200, frames({"choices": []}))
    app(["ask", "--plain", "How?"], standalone_mode=False)
    assert json.loads(FakeApi.received[0][2]) == {"stream": True, "messages": [{"role": "user", "content": "How?"}]}


def test_the_keys_of_the_settings_are_only_sent_to_the_server_of_the_settings(url: str) -> None:
    FakeApi.answers["GET /v1/models"] = (200, {"data": []})
    port = int(url.rpartition(":")[2])
    own, other = load_settings(api_keys="secret", port=port), load_settings(api_keys="secret", port=port + 1)
    for settings, given, key in (
        (own, None, None),
        (own, f"http://localhost:{port}/", None),
        (other, url, None),
        (other, url, "given"),
    ):
        with ApiClient(settings, given, key) as client:
            client.get("/v1/models")
    assert FakeApi.keys == ["Bearer secret", "Bearer secret", None, "Bearer given"]
    FakeApi.answers["GET /v1/models"] = (401, {"error": {"message": "A key is missing.", "param": None}})
    with (
        ApiClient(other, url) as client,
        pytest.raises(RequestRefused, match="only sent to the server at HOST.*--api-key"),
    ):
        client.get("/v1/models")


def test_a_file_name_cannot_send_commands_to_the_terminal() -> None:
    assert printable("\x1b[31mred\n.txt é") == "\ufffd[31mred\ufffd.txt é"


def test_reasons_of_failures_come_first_and_further_ones_are_counted() -> None:
    skipped = {f"rule {number}": 50 for number in range(SHOWN_REASONS + 3)}
    coverage = {"skipped": skipped, "failed": {"damaged": 1}}
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(reasons_table([{"name": "c", "coverage": coverage}]))
    lines = console.export_text().splitlines()
    assert "damaged" in lines[1] and "4 other reasons" in lines[-1]


@pytest.mark.usefixtures("url")
def test_failed_documents_are_retried_one_by_one_or_all(capsys: pytest.CaptureFixture[str]) -> None:
    FakeApi.answers["POST /v1/rag/documents/doc-1/retry"] = (200, {"status": "queued"})
    FakeApi.answers["POST /v1/rag/documents/retry"] = (200, {"object": "documents.retried", "count": 7})
    app(["documents", "retry", "doc-1"], standalone_mode=False)
    app(["documents", "retry", "--failed", "--collection", "c"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "doc-1 is queued" in printed and "7 documents" in printed
    assert json.loads(FakeApi.received[1][2]) == {"collection": "c"}
    assert CliRunner().invoke(app, ["documents", "retry"]).exit_code == 1


@pytest.mark.usefixtures("url")
def test_documents_are_listed_after_the_coverage_of_each_collection(capsys: pytest.CaptureFixture[str]) -> None:
    coverage = {"documents": 9, "indexed": 5, "stale": 1, "pending": 1, "chunks": 70}
    coverage |= {"skipped": {"The file is empty.": 2}, "failed": {"a": 1, "b": 1}}
    FakeApi.answers["GET /v1/rag/collections"] = (200, {"data": [{"name": "contracts", "coverage": coverage}]})
    FakeApi.answers["GET /v1/rag/documents"] = (200, {"data": [], "has_more": False})
    app(["documents"], standalone_mode=False)
    row = next(line for line in capsys.readouterr().out.splitlines() if "contracts" in line)
    assert row.split() == ["contracts", "9", "5", "1", "1", "2", "2", "70"]


@pytest.mark.usefixtures("url")
def test_collections_are_created_changed_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/v1/rag/collections/a%2Fb"
    FakeApi.answers["POST /v1/rag/collections"] = (201, {"name": "a/b", "id": "col-1"})
    FakeApi.answers[f"PATCH {path}"] = (200, {"reindexing": 3})
    FakeApi.answers[f"GET {path}"] = (200, {"coverage": {"documents": 4}})
    FakeApi.answers[f"DELETE {path}"] = (200, {"documents": 4})
    app(["collections", "create", "a/b", "--chunk-tokens", "100", "--dense-weight", "0.3"], standalone_mode=False)
    app(
        ["collections", "set", "a/b", "--chunk-tokens", "default", "--chunk-overlap-tokens", "0"], standalone_mode=False
    )
    app(["collections", "delete", "a/b", "--yes"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "3 documents are indexed again" in printed and "with 4 documents" in printed
    bodies = [json.loads(body) for method, _, body in FakeApi.received if method in ("POST", "PATCH")]
    assert bodies == [
        {"name": "a/b", "chunk_tokens": 100, "dense_weight": 0.3},
        {"chunk_tokens": None, "chunk_overlap_tokens": 0},
    ]


def test_unreachable_api_is_a_message_and_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_API_URL", f"http://127.0.0.1:{free_port()}")
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 1 and "Nothing answers" in result.output and "Traceback" not in result.output


@pytest.mark.usefixtures("url")
def test_watched_folders_are_listed_and_confirmed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = {"path": str(tmp_path), "collection": "papers", "mode": "mirror", "state": "held", "missing": 6}
    FakeApi.answers["GET /v1/watch"] = (200, {"data": [{**folder, "documents": 10}]})
    FakeApi.answers["POST /v1/watch/confirm"] = (200, {"data": [folder]})
    app(["watch"], standalone_mode=False)
    assert "held" in capsys.readouterr().out
    app(["watch", "confirm"], standalone_mode=False)
    app(["watch", "confirm", str(tmp_path)], standalone_mode=False)
    assert "6 documents are deleted" in capsys.readouterr().out.replace("\n", " ")
    assert [json.loads(body) for _, _, body in FakeApi.received[1:]] == [{}, {"path": str(tmp_path)}]
