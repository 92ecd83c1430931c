"""`docker/check_deployment.py` against an imitated deployment: one that works, and ones with a single fault."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "docker" / "check_deployment.py"


def _load() -> Any:
    """Import the script by its path, because a package called docker may be installed."""
    spec = importlib.util.spec_from_file_location("docker_check_deployment", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


script = _load()

ERROR = {"message": "no", "type": "invalid_request_error", "param": None, "code": None}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ANSWER = "Hello there"


class Imitation:
    """Answers like a deployment. `broken` has the answers that replace those to a method and path."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.collections: set[str] = set()
        self.broken: dict[tuple[str, str], httpx.Response] = {}

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if broken := self.broken.get((request.method, path)):
            return broken
        if request.headers.get("authorization") == "Bearer wrong":
            return httpx.Response(401, json={"error": ERROR | {"type": "authentication_error"}})
        if path.startswith("/v1/rag/documents"):
            return self._document(request, path)
        if path.startswith("/v1/rag/collections/"):
            return self._collection(request, path)
        if request.method == "GET":
            return self._get(path)
        try:
            body = json.loads(request.content)
        except ValueError:
            return httpx.Response(400, json={"error": ERROR})
        return self._post(request, path, body)

    def _get(self, path: str) -> httpx.Response:
        names = sorted(script.EXPECTED_FUNCTIONS)
        functions = [{"function": {"name": name, "parameters": {"type": "object"}}} for name in names]
        answers: dict[str, Any] = {
            "/health": {"status": "ok"},
            "/ready": {"status": "ready"},
            "/v1/models": {"data": [{"id": "starter"}]},
            "/v1/models/starter": {"id": "starter"},
            "/v1/functions": {"data": functions},
            "/v1/jobs/job-1": {"status": "completed", "error": None, "result": {"choices": [{}]}},
        }
        return httpx.Response(200, json=answers[path])

    def _post(self, request: httpx.Request, path: str, body: dict[str, Any]) -> httpx.Response:
        if request.headers.get("prefer") == "respond-async":
            return httpx.Response(202, json={"id": "job-1"}, headers={"location": "/v1/jobs/job-1"})
        if path == "/v1/rag/search":
            return self._search(body)
        sources = [{"document_id": name} for name in self.documents]
        if body.get("stream"):
            return _streamed({"sources": sources} if path == "/v1/rag/chat" else {})
        if path == "/v1/rag/chat":
            return httpx.Response(200, json={"answer": ANSWER, "sources": sources})
        if path == "/v1/embeddings":
            return _embedded(body)
        choice = {"message": {"content": ANSWER}, "finish_reason": "stop"}
        return httpx.Response(200, json={"model": "starter", "choices": [choice], "usage": USAGE})

    def _search(self, body: dict[str, Any]) -> httpx.Response:
        if not body["query"]:
            return httpx.Response(400, json={"error": ERROR})
        hits = [{"text": script.FACT, "score": 0.5}] if self.documents else []
        return httpx.Response(200, json={"data": hits})

    def _collection(self, request: httpx.Request, path: str) -> httpx.Response:
        name = path.rpartition("/")[2]
        if name not in self.collections:
            return httpx.Response(404, json={"error": ERROR})
        if request.method == "DELETE":
            self.collections.remove(name)
        return httpx.Response(200, json={"name": name})

    def _document(self, request: httpx.Request, path: str) -> httpx.Response:
        name = path.rpartition("/")[2]
        if request.method == "POST":
            self.collections |= set(re.findall(r"deployment-check-[0-9a-f]{12}", request.content.decode()))
            document: dict[str, Any] = {
                "id": f"doc-{len(self.documents)}",
                "status": "completed",
                "error": None,
                "chunk_count": 1,
            }
            self.documents[document["id"]] = document | {"filename": name}
            return httpx.Response(201, json={"data": [document]})
        if name == "documents":
            return httpx.Response(200, json={"data": list(self.documents.values())})
        if name not in self.documents:
            return httpx.Response(404, json={"error": ERROR})
        found = self.documents.pop(name) if request.method == "DELETE" else self.documents[name]
        return httpx.Response(200, json=found)


def _streamed(extension: dict[str, Any]) -> httpx.Response:
    deltas = [{"role": "assistant"}, {"content": "Hello "}, {"content": "there"}]
    choices: list[list[dict[str, Any]]] = [[{"delta": delta, "finish_reason": None}] for delta in deltas]
    choices += [[{"delta": {}, "finish_reason": "stop"}], []]
    frames: list[dict[str, Any]] = [{"id": "chatcmpl-1", "choices": choice} for choice in choices]
    frames[0] |= extension
    frames[-1] |= {"usage": USAGE}
    lines = [f"data: {json.dumps(frame)}\n\n" for frame in frames] + ["data: [DONE]\n\n"]
    return httpx.Response(200, text="".join(lines))


def _embedded(body: dict[str, Any]) -> httpx.Response:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    vectors: list[Any] = [[0.6, 0.8] if text == script.FACT else [0.8, -0.6] for text in texts]
    if body.get("encoding_format") == "base64":
        vectors = [base64.b64encode(struct.pack("<2f", *vector)).decode() for vector in vectors]
    data = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return httpx.Response(200, json={"model": "embedder", "data": data})


@pytest.fixture
def imitation() -> Imitation:
    return Imitation()


def run(imitation: Imitation) -> int:
    with httpx.Client(base_url="http://imitation", transport=httpx.MockTransport(imitation.handle)) as http:
        return script.report(script.Deployment(http, api_key="key"))


def test_a_working_deployment_passes_and_is_left_unchanged(
    imitation: Imitation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(imitation) == 0
    output = capsys.readouterr().out
    assert output.count("ok  ") == len(script.CHECKS), output
    assert output.endswith(f"{len(script.CHECKS)} passed, 0 failed\n")
    assert (imitation.documents, imitation.collections) == ({}, set())


BROKEN: list[tuple[str, str, Callable[[], httpx.Response], str]] = [
    ("GET", "/ready", lambda: httpx.Response(503, json={"checks": {"index": "missing"}}), "ready"),
    ("GET", "/v1/functions", lambda: httpx.Response(200, json={"data": []}), "functions"),
    ("POST", "/v1/embeddings", lambda: httpx.Response(500, text="oops"), "embeddings"),
    ("POST", "/v1/embeddings", lambda: httpx.Response(200, json=[]), "embeddings"),
    ("POST", "/v1/rag/search", lambda: httpx.Response(200, json={"data": []}), "search"),
    ("POST", "/v1/rag/chat", lambda: httpx.Response(200, text="data: {}\n\n"), "rag streaming"),
    ("GET", "/v1/models", lambda: httpx.Response(200, json={"data": [{"id": "starter"}]}), "keys"),
]


@pytest.mark.parametrize(("method", "path", "answer", "check"), BROKEN)
def test_a_fault_is_named_and_the_rest_is_checked(
    imitation: Imitation,
    capsys: pytest.CaptureFixture[str],
    method: str,
    path: str,
    answer: Callable[[], httpx.Response],
    check: str,
) -> None:
    imitation.broken[method, path] = answer()
    assert run(imitation) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(script.CHECKS) + 1
    assert any(line.startswith(f"FAIL  {check}") for line in lines)
    assert any(line.startswith("ok    health") for line in lines)


def test_a_deployment_that_cannot_be_reached_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--base-url", "http://127.0.0.1:1", "--wait-seconds", "0"]) == 1
    assert "ConnectError" in capsys.readouterr().out


def test_the_script_needs_only_httpx_unless_the_deployment_is_local() -> None:
    imported = re.findall(r"^(?:import|from) (\w+)", SCRIPT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(imported) - sys.stdlib_module_names == {"httpx"}
