#!/usr/bin/env python3
"""Checks a running deployment of llm-api over HTTP, however it was started. Needs Python 3.11 and httpx, nothing else.

    python docker/check_deployment.py                         # what docker-compose started on this machine
    python docker/check_deployment.py --local                 # what `make run` started from this folder
    python docker/check_deployment.py --base-url https://llm.example.org --api-key KEY

It prints a line for each check and exits with status 1 if one failed. It removes everything that it adds but the record
of one job, which the server keeps for JOB_RETENTION_SECONDS.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

REQUEST_TIMEOUT_SECONDS = 180.0
POLL_SECONDS = 0.5
FACT = "The lighthouse of Port Quillon was painted turquoise in the spring of 1987."
QUESTION = "What colour was the lighthouse of Port Quillon painted?"
EXPECTED_FUNCTIONS = {"get_current_time", "calculate", "get_current_weather", "search_documents"}


class CheckFailed(Exception):
    """A check has failed; the message says what is wrong with the deployment."""


@dataclass
class Deployment:
    """The deployment under test, and what one check passes to the next. Each run has a collection of its own."""

    http: httpx.Client
    api_key: str | None = None
    wait_seconds: float = 0.0
    collection: str = field(default_factory=lambda: f"deployment-check-{uuid.uuid4().hex[:12]}")
    document_id: str | None = None

    def get(self, path: str, expected_status: int = 200) -> Any:
        """Return the JSON that a GET answers."""
        return _json(self.http.get(path), expected_status)

    def post(self, path: str, body: Any, expected_status: int = 200, **headers: str) -> Any:
        """Return the JSON that a POST answers."""
        return _json(self.http.post(path, json=body, headers=headers), expected_status)

    def stream(self, path: str, body: dict[str, Any]) -> list[Any]:
        """Return the frames of a streamed POST. Check that the stream ends with `[DONE]`, which is not returned."""
        with self.http.stream("POST", path, json=body | {"stream": True}) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise CheckFailed(f"POST {path} answered {response.status_code}: {response.text[:300]}")
            frames = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
        require(frames[-1:] == ["[DONE]"], f"the stream of {path} did not end with [DONE]")
        decoded = [json.loads(frame) for frame in frames[:-1]]
        for frame in decoded:
            require("error" not in frame, f"the stream of {path} has an error: {frame.get('error')}")
        return decoded


def require(condition: bool, otherwise: str) -> None:
    """Raise CheckFailed unless the condition holds."""
    if not condition:
        raise CheckFailed(otherwise)


def check_health(deployment: Deployment) -> str:
    """Check that the API process is alive."""
    deployment.get("/health")
    return "alive"


def check_ready(deployment: Deployment) -> str:
    """Check that every process and store that the API needs answers within the allowed time."""
    deadline = time.monotonic() + deployment.wait_seconds
    while True:
        response = deployment.http.get("/ready")
        if response.status_code == httpx.codes.OK:
            return "everything answers"
        if time.monotonic() > deadline:
            raise CheckFailed(f"/ready answered {response.status_code}: {response.text[:500]}")
        time.sleep(POLL_SECONDS)


def check_keys(deployment: Deployment) -> str:
    """Check that requests with a wrong key are refused, if a key is given."""
    if deployment.api_key is None:
        return "no key given: not checked"
    answer = deployment.http.get("/v1/models", headers={"authorization": "Bearer wrong"})
    error = _json(answer, 401)["error"]
    require(error["type"] == "authentication_error", f"a wrong key was answered {error}")
    return "a wrong key is refused"


def check_models(deployment: Deployment) -> str:
    """Check that models are listed, and that each can be looked up."""
    names = [model["id"] for model in deployment.get("/v1/models")["data"]]
    require(bool(names), "no model is listed")
    for name in names:
        require(deployment.get(f"/v1/models/{name}")["id"] == name, f"{name} cannot be looked up")
    return ", ".join(names)


def check_chat(deployment: Deployment) -> str:
    """Check that a chat is answered."""
    answer = deployment.post("/v1/chat/completions", _chat("Say hello in one short sentence."))
    (choice,) = answer["choices"]
    require(bool(choice["message"]["content"].strip()), "the answer is empty")
    require(choice["finish_reason"] in ("stop", "length"), f"finish_reason is {choice['finish_reason']!r}")
    usage = answer["usage"]
    require(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], f"usage is {usage}")
    return f"{answer['model']}: {_short(choice['message']['content'])}"


def check_streaming(deployment: Deployment) -> str:
    """Check that a chat is streamed, and that the stream has the same text as the plain answer."""
    body = _chat("Count from one to five.") | {"temperature": 0, "seed": 1}
    frames = deployment.stream("/v1/chat/completions", body | {"stream_options": {"include_usage": True}})
    choices = [frame["choices"][0] for frame in frames if frame["choices"]]
    require(len({frame["id"] for frame in frames}) == 1, "the chunks have more than one id")
    require(choices[0]["delta"].get("role") == "assistant", "the first chunk has no role")
    finished = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    require(len(finished) == 1, f"there is not exactly one finish_reason: {finished}")
    require(bool(frames[-1].get("usage")) and not frames[-1]["choices"], "the last chunk has no usage")
    deltas = [choice["delta"].get("content") for choice in choices[1:] if "content" in choice["delta"]]
    require(bool(deltas) and all(deltas), "there is no text, or an empty delta")
    whole = deployment.post("/v1/chat/completions", body)["choices"][0]["message"]["content"]
    require("".join(deltas) == whole, f"streamed {''.join(deltas)!r}, whole {whole!r}")
    return f"{len(deltas)} deltas"


def check_functions(deployment: Deployment) -> str:
    """Check that the built-in functions are registered with their schemas."""
    functions = {entry["function"]["name"]: entry["function"] for entry in deployment.get("/v1/functions")["data"]}
    missing = EXPECTED_FUNCTIONS - set(functions)
    require(not missing, f"missing: {', '.join(sorted(missing))}")
    for name, function in functions.items():
        require(function["parameters"]["type"] == "object", f"{name} has no schema of its arguments")
    return f"{len(functions)} registered"


def check_embeddings(deployment: Deployment) -> str:
    """Check that embeddings keep their order, have length one, and are the same in both encodings."""
    texts = [FACT, "A recipe for lentil soup.", FACT]
    answer = deployment.post("/v1/embeddings", {"input": texts})
    vectors: list[list[float]] = [item["embedding"] for item in sorted(answer["data"], key=lambda item: item["index"])]
    require(len(vectors) == len(texts), f"{len(vectors)} vectors for {len(texts)} texts")
    require(all(abs(math.hypot(*vector) - 1) < 1e-3 for vector in vectors), "a vector does not have length one")
    require(_dot(vectors[0], vectors[2]) > 0.99 > _dot(vectors[0], vectors[1]), "equal texts do not have equal vectors")
    encoded = deployment.post("/v1/embeddings", {"input": FACT, "encoding_format": "base64"})["data"][0]["embedding"]
    raw = base64.b64decode(encoded)
    require(_dot(struct.unpack(f"<{len(raw) // 4}f", raw), vectors[0]) > 0.99, "base64 gives another vector")
    return f"{answer['model']}, {len(vectors[0])} dimensions"


def check_documents(deployment: Deployment) -> str:
    """Check that a posted text becomes a completed document and is listed."""
    body = {"texts": [FACT], "metadata": [{"check": "deployment"}], "collection": deployment.collection}
    posted = _json(deployment.http.post("/v1/rag/documents", json=body), 201, 202)
    deployment.document_id = posted["data"][0]["id"]
    document = _settled(deployment, f"/v1/rag/documents/{deployment.document_id}", ("completed", "failed"))
    require(document["status"] == "completed", f"the document failed: {document['error']}")
    listed = deployment.get(f"/v1/rag/documents?collection={deployment.collection}")["data"]
    require([entry["id"] for entry in listed] == [deployment.document_id], "the document is not listed")
    return f"{document['chunk_count']} chunk"


def check_upload(deployment: Deployment) -> str:
    """Check that an uploaded file becomes a completed document."""
    response = deployment.http.post(
        "/v1/rag/documents/upload",
        files=[("files", ("harbour.md", b"# Harbour\n\nThe ferry to Quillon leaves at seven.\n", "text/markdown"))],
        data={"collection": deployment.collection},
    )
    document_id = _json(response, 201, 202)["data"][0]["id"]
    document = _settled(deployment, f"/v1/rag/documents/{document_id}", ("completed", "failed"))
    require(document["status"] == "completed", f"the file failed: {document['error']}")
    return str(document["filename"])


def check_search(deployment: Deployment) -> str:
    """Check that a search finds the posted text."""
    hits = deployment.post("/v1/rag/search", {"query": QUESTION, "collection": deployment.collection})["data"]
    require(bool(hits) and FACT in hits[0]["text"], f"the first hit is not the posted text, but {hits[:1]}")
    return f"score {hits[0]['score']:.3f}"


def check_rag_chat(deployment: Deployment) -> str:
    """Check that a question is answered from the posted text and names it as a source."""
    body = {"query": QUESTION, "collection": deployment.collection, "max_tokens": 64}
    answer = deployment.post("/v1/rag/chat", body)
    require(bool(answer["answer"].strip()), "the answer is empty")
    sources = [source["document_id"] for source in answer["sources"]]
    require(deployment.document_id in sources, "the text is not among the sources")
    return _short(answer["answer"])


def check_rag_streaming(deployment: Deployment) -> str:
    """Check that a streamed RAG answer has its sources before any text."""
    body = {"query": QUESTION, "collection": deployment.collection, "max_tokens": 32}
    frames = deployment.stream("/v1/rag/chat", body)
    require(bool(frames and frames[0].get("sources")), "the first chunk has no sources")
    text = "".join(choice["delta"].get("content", "") for frame in frames for choice in frame["choices"])
    require(bool(text.strip()), "no text was streamed")
    return f"{len(frames)} chunks"


def check_async_job(deployment: Deployment) -> str:
    """Check that an asynchronous request is accepted, and that its result can be fetched later."""
    response = deployment.http.post("/v1/chat/completions", json=_chat("Say yes."), headers={"prefer": "respond-async"})
    _json(response, 202)
    location = response.headers.get("location", "")
    require(location.startswith("/v1/jobs/"), f"Location is {location!r}")
    job = _settled(deployment, location, ("completed", "failed", "cancelled"))
    require(job["status"] == "completed", f"the job is {job['status']}: {job['error']}")
    require(bool(job["result"]["choices"]), "the job has no result")
    return str(location)


def check_errors(deployment: Deployment) -> str:
    """Check that invalid requests are answered with OpenAI's error object."""
    broken = deployment.http.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
    empty = deployment.http.post("/v1/rag/search", json={"query": ""})
    unknown = deployment.http.get("/v1/rag/documents/doc-unknown")
    for response, status in ((broken, 400), (empty, 400), (unknown, 404)):
        error = _json(response, status)["error"]
        require(set(error) == {"message", "type", "param", "code"}, f"the error object is {error}")
    return "400 and 404 with an error object"


def check_removal(deployment: Deployment) -> str:
    """Delete the documents and the collection of the checks, and check that search no longer finds the documents."""
    listed = deployment.get(f"/v1/rag/documents?collection={deployment.collection}&limit=100")["data"]
    for document in listed:
        _json(deployment.http.delete(f"/v1/rag/documents/{document['id']}"), 200)
    hits = deployment.post("/v1/rag/search", {"query": QUESTION, "collection": deployment.collection})["data"]
    require(not hits, "a removed text is still found")
    path = f"/v1/rag/collections/{deployment.collection}"
    _json(deployment.http.delete(path), 200)
    deployment.get(path, expected_status=404)
    return f"{len(listed)} documents and their collection removed"


CHECKS: Sequence[Callable[[Deployment], str]] = (
    check_health,
    check_ready,
    check_keys,
    check_models,
    check_chat,
    check_streaming,
    check_functions,
    check_embeddings,
    check_documents,
    check_upload,
    check_search,
    check_rag_chat,
    check_rag_streaming,
    check_async_job,
    check_errors,
    check_removal,
)


def run_checks(deployment: Deployment) -> Iterator[tuple[str, bool, str, float]]:
    """Run all checks, even after one has failed. Yield the name, whether it passed, the finding and the seconds."""
    for check in CHECKS:
        began = time.monotonic()
        try:
            passed, finding = True, check(deployment)
        except CheckFailed as failure:
            passed, finding = False, str(failure)
        except httpx.HTTPError as error:
            passed, finding = False, f"{type(error).__name__}: {error}"
        except (KeyError, IndexError, TypeError, ValueError) as error:
            passed, finding = False, f"the answer has an unexpected shape ({type(error).__name__}: {error})"
        yield check.__name__.removeprefix("check_").replace("_", " "), passed, finding, time.monotonic() - began


def _chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 32}


def _json(response: httpx.Response, *statuses: int) -> Any:
    asked = f"{response.request.method} {response.request.url.path}"
    require(response.status_code in statuses, f"{asked} answered {response.status_code}: {response.text[:300]}")
    return response.json()


def _settled(deployment: Deployment, path: str, states: Sequence[str]) -> Any:
    """Wait until the object at a path has one of these statuses, and return it."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_SECONDS
    while (found := deployment.get(path))["status"] not in states:
        require(time.monotonic() < deadline, f"{path} is still {found['status']}")
        time.sleep(POLL_SECONDS)
    return found


def _dot(first: Sequence[float], second: Sequence[float]) -> float:
    return math.fsum(one * other for one, other in zip(first, second, strict=True))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:69]}…"


def _local_target() -> tuple[str, str | None]:
    """Return the address and the key of the stack of this folder, from its settings."""
    # Only this needs the project's code.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from core.settings import load_settings

    settings = load_settings()
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
    key = settings.plain_api_keys[0] if settings.plain_api_keys else None
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}", key


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Check a running deployment of llm-api over HTTP.")
    parser.add_argument(
        "--local", action="store_true", help="check what `make run` started here, with the address and key of .env"
    )
    parser.add_argument("--base-url", help="the address of the API (default: http://127.0.0.1:8000)")
    parser.add_argument("--api-key", help="one of the keys in API_KEYS")
    parser.add_argument(
        "--wait-seconds", type=float, help="how long to wait until it is ready (default: 900, with --local 60)"
    )
    return parser.parse_args(given)


def _wait_for_answer(http: httpx.Client, wait_seconds: float) -> None:
    """Wait until the API accepts connections, which containers refuse while they start."""
    deadline = time.monotonic() + wait_seconds
    while time.monotonic() < deadline:
        try:
            http.get("/health")
            return
        except httpx.TransportError:
            time.sleep(POLL_SECONDS)


def main(given: Sequence[str] | None = None) -> int:
    """Check the deployment that the arguments name, and return the exit status."""
    arguments = _arguments(given)
    url, key = _local_target() if arguments.local else (f"http://127.0.0.1:{os.environ.get('PORT') or 8000}", None)
    url, key = arguments.base_url or url, arguments.api_key or key
    default_wait = 60.0 if arguments.local else 900.0
    wait_seconds = default_wait if arguments.wait_seconds is None else arguments.wait_seconds
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(base_url=url, headers=headers, timeout=REQUEST_TIMEOUT_SECONDS) as http:
        print(f"Checking {url}")
        _wait_for_answer(http, wait_seconds)
        return report(Deployment(http, key, wait_seconds))


def report(deployment: Deployment) -> int:
    """Print a line for each check and a summary. Return 0 if all passed, else 1."""
    failed = 0
    for name, passed, finding, seconds in run_checks(deployment):
        failed += not passed
        print(f"{'ok  ' if passed else 'FAIL'}  {name:<14} {seconds:6.2f} s  {finding}", flush=True)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
