"""What tests of the console do and ask over the API, beside the browser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from tests.e2e.documents import documents
from tests.support import Stack, wait_until

SETTLED = {"completed", "failed", "cancelled"}


def api(stack: Stack) -> httpx.Client:
    return httpx.Client(base_url=stack.base_url, timeout=120)


def upload(stack: Stack, collection: str, files: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    """Upload files into a collection, and return their documents by filename when all are completed or failed."""
    with api(stack) as http:
        form = [("files", (name, content)) for name, content in files.items()]
        http.post("/v1/rag/documents/upload", data={"collection": collection}, files=form).raise_for_status()
        wait_until(lambda: len(_settled(http, collection)) >= len(files), 180, f"the documents of {collection}")
        return {document["filename"]: document for document in _settled(http, collection)}


def _settled(http: httpx.Client, collection: str) -> list[dict[str, Any]]:
    return [one for one in documents(http, collection=collection) if one["status"] in SETTLED]


def job_state(stack: Stack, job: str) -> str:
    return str(httpx.get(f"{stack.base_url}/v1/jobs/{job}", timeout=60).json()["status"])


@contextmanager
def busy_engine(stack: Stack, jobs: int = 12) -> Iterator[list[str]]:
    """Keep the engine busy with more jobs than it can run at once; yield their ids, and cancel them at the end."""
    request = {"messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 1500, "ignore_eos": True}
    with api(stack) as http:
        ids: list[str] = []
        try:
            for _ in range(jobs):
                answer = http.post("/v1/chat/completions", json=request, headers={"prefer": "respond-async"})
                ids.append(answer.raise_for_status().json()["id"])
            yield ids
        finally:
            for job in ids:
                http.delete(f"/v1/jobs/{job}")
