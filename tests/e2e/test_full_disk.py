"""The whole stack on a disk that fills up: below the floor of free space, and without a byte."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from core.catalog import Catalog
from tests.support import SmallDisk, Stack, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.check, pytest.mark.timeout(600)]

DISK_BYTES = 700 * 2**20
FLOOR = 100 * 2**20
CHAT = {"messages": [{"role": "user", "content": "Write a story."}], "max_tokens": 8, "temperature": 0}
WORK: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/embeddings": {"input": "a text"},
    "/v1/rag/search": {"query": "harbour"},
    "/v1/rag/documents": {"texts": ["A text that comes too late."]},
}
PROCESSES = ("redis", "api", "watcher", "maintenance", "ingest", "index", "inference", "flower")
#: Without the remedies the stack ended within 6 s.
SURVIVAL_SECONDS = 15.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", DISK_BYTES)
    if reason := disk.mount():
        pytest.skip(f"a file system cannot be mounted here: {reason}")
    yield disk
    disk.unmount()


def upload(http: httpx.Client, name: str, text: str) -> httpx.Response:
    return http.post("/v1/rag/documents/upload", files={"files": (name, text.encode())})


def statuses(http: httpx.Client) -> dict[str, str]:
    return {one["path"]: one["status"] for one in http.get("/v1/rag/documents", params={"limit": 100}).json()["data"]}


def find(http: httpx.Client, query: str) -> list[str]:
    answer = http.post("/v1/rag/search", json={"query": query, "top_k": 1})
    return [hit["path"] for hit in answer.json()["data"]] if answer.status_code == 200 else []


def answers(http: httpx.Client) -> bool:
    return http.post("/v1/chat/completions", json=CHAT).status_code == 200


def test_below_the_floor_new_work_is_refused_and_running_work_ends(disk: SmallDisk) -> None:
    with (
        Stack(disk.path, {"MIN_FREE_BYTES": str(FLOOR), "WATCH_STABLE_SECONDS": "0.3"}) as stack,
        httpx.Client(base_url=stack.base_url, timeout=60) as http,
    ):
        assert upload(http, "harbour.txt", "The harbour opens at dawn.").status_code == 202
        wait_until(lambda: find(http, "When does the harbour open?") == ["harbour.txt"], 60)
        before = {name: stack.pid_of(name) for name in PROCESSES}

        # Given a stream that has begun before the disk fills up
        with http.stream("POST", "/v1/chat/completions", json={**CHAT, "max_tokens": 200, "stream": True}) as stream:
            lines = stream.iter_lines()
            assert next(lines).startswith("data: ")
            disk.fill(leave_bytes=FLOOR // 2)
            rest = [line for line in lines if line]
        # Then it ends as it would have
        assert rest[-1] == "data: [DONE]"
        assert json.loads(rest[-2].removeprefix("data: "))["choices"][0]["finish_reason"] in ("stop", "length")

        # And new work is refused, with the numbers
        for path, body in WORK.items():
            refused = http.post(path, json=body)
            assert refused.status_code == 507, path
            assert "bytes free" in refused.text and f"{FLOOR:,}" in refused.text
        assert upload(http, "late.txt", "Too late.").status_code == 507
        ready = http.get("/ready")
        assert (ready.status_code, ready.json()["checks"]["disk"]) == (503, "full")
        (stack.inbox / "dropped.txt").write_text("The lighthouse is red and white.")

        # And nothing ends when there is not a byte
        disk.fill()
        end = time.monotonic() + SURVIVAL_SECONDS
        while time.monotonic() < end:
            disk.fill()
            assert http.get("/health").status_code == 200
            assert {name: stack.pid_of(name) for name in PROCESSES} == before
        assert upload(http, "late.txt", "Too late.").status_code == 507
        assert statuses(http) == {"harbour.txt": "completed"}

        # And all goes on by itself when there is room
        disk.free()
        wait_until(stack.is_ready, 60)
        wait_until(lambda: answers(http), 60)
        wait_until(lambda: find(http, "What colour is the lighthouse?") == ["dropped.txt"], 60)
        assert upload(http, "late.txt", "The ferry leaves at noon.").status_code == 202
        wait_until(lambda: find(http, "When does the ferry leave?") == ["late.txt"], 60)
        assert {name: stack.pid_of(name) for name in PROCESSES} == before
        wait_until(lambda: "has room again" in stack.printed())


def test_a_disk_that_is_full_at_each_stage_corrupts_nothing(disk: SmallDisk) -> None:
    with (
        Stack(disk.path, {"MIN_FREE_BYTES": "0", "START_TIMEOUT_SECONDS": "240"}) as stack,
        httpx.Client(base_url=stack.base_url, timeout=60) as http,
    ):
        client = redis.Redis.from_url(stack.settings.redis_client_url)
        numbers = {"upload": "seven", "parse": "twelve", "index": "thirty"}
        texts = {f"{stage}.txt": f"The code of the {stage} gate is {number}." for stage, number in numbers.items()}

        # At parsing: documents are accepted, and their parser finds the disk full.
        os.kill(stack.pid_of("ingest"), signal.SIGSTOP)
        assert upload(http, "parse.txt", texts["parse.txt"]).status_code == 202
        fill(disk, client)
        os.kill(stack.pid_of("ingest"), signal.SIGCONT)

        # At the upload and at a chat.
        refused = upload(http, "upload.txt", texts["upload.txt"] + "x" * 500_000)
        assert refused.status_code == 507 and refused.json()["error"]["code"] == "storage_full"
        wait_until(lambda: http.post("/v1/chat/completions", json=CHAT).status_code == 507)
        survive(stack, http, disk)
        assert statuses(http)["parse.txt"] in ("queued", "parsing")
        disk.free()
        wait_until(lambda: statuses(http)["parse.txt"] == "completed", 120)

        # At indexing.
        os.kill(stack.pid_of("index"), signal.SIGSTOP)
        assert upload(http, "index.txt", texts["index.txt"]).status_code == 202
        wait_until(lambda: statuses(http)["index.txt"] == "indexing", 60)
        fill(disk, client)
        os.kill(stack.pid_of("index"), signal.SIGCONT)
        survive(stack, http, disk)
        disk.free()
        wait_until(lambda: statuses(http)["index.txt"] == "completed", 120)

        # Nothing is lost, and nothing is broken.
        wait_until(stack.is_ready, 120)
        wait_until(lambda: answers(http), 60)
        assert upload(http, "upload.txt", texts["upload.txt"]).status_code == 202
        wait_until(lambda: set(statuses(http).values()) == {"completed"}, 60)
        for name, text in texts.items():
            assert find(http, text) == [name]
        catalog = Catalog.open(stack.settings.catalog_url)
        with catalog._read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        catalog.close()


def fill(disk: SmallDisk, client: redis.Redis) -> None:
    """Fill the disk, until Redis has noticed it."""

    def is_noticed() -> bool:
        disk.fill()
        return bool(client.info("persistence")["aof_last_write_status"] == "err")

    wait_until(is_noticed, 30)


def survive(stack: Stack, http: httpx.Client, disk: SmallDisk) -> None:
    """Keep the disk full for a while, during which neither `up` nor the API ends."""
    end = time.monotonic() + SURVIVAL_SECONDS
    while time.monotonic() < end:
        disk.fill()
        assert http.get("/health").status_code == 200
        assert not stack._has_ended()
