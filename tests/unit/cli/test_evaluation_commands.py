"""`llm-api eval`, against a small HTTP server that answers as the API does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from tests.unit.cli.test_client import FakeApi, url

__all__ = ["url"]

REPORT = {
    "settings": [
        {"name": "default", "top_k": 10, "recall": 0.5, "ndcg": 0.4, "mrr": 0.3, "mean_ms": 12.0, "p95_ms": 20.0},
        {"name": "rerank=false", "top_k": 10, "recall": 1, "ndcg": 1, "mrr": 1, "mean_ms": 2.0, "p95_ms": 3.0},
    ],
    "questions": [
        {"question": "Where?", "expected": ["a.txt"], "ranks": {"default": [None], "rerank=false": [1]}},
        {"question": "When?", "expected": ["b.txt"], "ranks": {"default": [1], "rerank=false": [1]}},
    ],
}


def questions(folder: Path, text: str) -> str:
    path = folder / "questions.jsonl"
    path.write_text(text, "utf-8")
    return str(path)


def test_settings_are_compared_and_misses_listed(url: str, tmp_path: Path) -> None:
    FakeApi.answers["POST /v1/rag/evaluations"] = (202, {"id": "job-1", "status": "queued"})
    FakeApi.answers["GET /v1/jobs/job-1"] = (200, {"status": "completed", "result": REPORT, "error": None})
    file = questions(
        tmp_path, '{"question": "Where?", "files": ["a.txt"]}\n\n{"question": "When?", "passages": ["x"]}\n'
    )
    result = CliRunner().invoke(app, ["eval", file, "--compare", "rerank=false,neighbours=1", "--collection", "c"])
    assert result.exit_code == 0, result.output
    assert "rerank=false" in result.output and "Where?" in result.output and "When?" not in result.output
    assert "not found (default): a.txt" in result.output
    sent = json.loads(FakeApi.received[0][2])
    assert sent["questions"] == [{"question": "Where?", "files": ["a.txt"]}, {"question": "When?", "passages": ["x"]}]
    assert sent["settings"] == [
        {"name": "default", "top_k": 10, "collections": ["c"]},
        {"name": "rerank=false,neighbours=1", "top_k": 10, "collections": ["c"], "rerank": False, "neighbours": 1},
    ]


def test_a_job_that_fails_says_why(url: str, tmp_path: Path) -> None:
    FakeApi.answers["POST /v1/rag/evaluations"] = (202, {"id": "job-1"})
    FakeApi.answers["GET /v1/jobs/job-1"] = (200, {"status": "failed", "error": {"message": "No such collection."}})
    result = CliRunner().invoke(app, ["eval", questions(tmp_path, '{"question": "a", "files": ["b"]}')])
    assert result.exit_code == 1 and "No such collection." in result.output


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ('{"question": "a"}\n{', [], "line 2"),
        ('["a"]', [], "line 1"),
        ('{"question": 3}', [], "line 1"),
        ('{"question": "a", "files": ["b"]}', ["--compare", "colour=3"], "neighbours"),
        ('{"question": "a", "files": ["b"]}', ["--compare", "rerank"], "NAME=VALUE"),
    ],
)
def test_what_cannot_be_read_is_named(url: str, tmp_path: Path, text: str, arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["eval", questions(tmp_path, text), *arguments])
    assert result.exit_code == 1 and message in result.output and FakeApi.received == []


def test_drafts_are_lines_for_an_evaluation(url: str) -> None:
    passage = "The harbour was rebuilt in 1834. " * 10
    FakeApi.answers["GET /v1/rag/documents"] = (
        200,
        {"data": [{"id": "doc-1", "path": "a/b.txt", "filename": "b.txt"}], "has_more": False},
    )
    FakeApi.answers["POST /v1/rag/search"] = (200, {"data": [{"text": passage}]})
    answer = {"choices": [{"message": {"content": 'Here it is:\n"When was the harbour rebuilt?"\n'}}]}
    FakeApi.answers["POST /v1/chat/completions"] = (200, answer)
    result = CliRunner().invoke(app, ["eval", "make", "--count", "2"])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert (
        len(lines) == 2 and lines[0]["question"] == "When was the harbour rebuilt?" and lines[0]["files"] == ["a/b.txt"]
    )
    assert lines[0]["passages"][0] in passage and len(lines[0]["passages"][0]) > 100


def test_a_draft_that_names_nothing_of_its_passage_is_left_out(url: str) -> None:
    FakeApi.answers["GET /v1/rag/documents"] = (
        200,
        {"data": [{"id": "doc-1", "path": "a/b.txt", "filename": "b.txt"}], "has_more": False},
    )
    FakeApi.answers["POST /v1/rag/search"] = (
        200,
        {"data": [{"text": "The harbour was rebuilt in 1834. About what?"}]},
    )
    answer = {"choices": [{"message": {"content": "What is the text about?"}}]}
    FakeApi.answers["POST /v1/chat/completions"] = (200, answer)
    result = CliRunner().invoke(app, ["eval", "make", "--count", "2"])
    assert result.exit_code == 0 and result.stdout == "" and "0 questions" in result.stderr


def test_without_documents_there_is_nothing_to_draft(url: str) -> None:
    FakeApi.answers["GET /v1/rag/documents"] = (200, {"data": [], "has_more": False})
    result = CliRunner().invoke(app, ["eval", "make"])
    assert result.exit_code == 1 and "no documents" in result.output
