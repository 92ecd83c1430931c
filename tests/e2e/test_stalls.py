"""Stalls: each process, and the catalog's file, stands still for ten seconds. Nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis

from core import events
from core.blobs import BlobStore
from core.catalog import Catalog
from ingest.embedding.embedder import Embedder
from ingest.vector_store.edge import EdgeVectorStore
from tasks.jobs.keys import events_key
from tests.e2e.chatter import searchable
from tests.e2e.documents import documents
from tests.e2e.test_faults import assert_greedy
from tests.store_contents import points_expected, points_in
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.soak, pytest.mark.e2e, pytest.mark.timeout(3600)]

STALL_SECONDS = 10.0
#: "catalog" is SQLite's write lock, which the test holds.
VICTIMS = ("redis", "inference", "index", "ingest", "maintenance", "watcher", "api", "catalog")
STREAMS, FILES = 8, 200
FILES_PER_STALL = FILES // len(VICTIMS)
#: Enough for eight streams to last longer than a stall.
TOKENS = 320
ALONE_TOKENS = 400
CHAT = "/v1/chat/completions"
#: Chunks after which a stream has begun.
BEGUN_CHUNKS = 5


@dataclass
class Streamed:
    """The deltas of one stream and how it ended."""

    job_id: str = ""
    deltas: list[str] = field(default_factory=list)
    ending: str = "cut"
    begun: threading.Event = field(default_factory=threading.Event)

    @property
    def text(self) -> str:
        return "".join(self.deltas)


def question(number: int, tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"Count upwards from {number}."}]
    return {"messages": messages, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}


def stream(stack: Stack, number: int, tokens: int, streamed: Streamed) -> Streamed:
    """Stream a chat as a client does."""
    request = question(number, tokens) | {"stream": True}
    try:
        with httpx.stream("POST", f"{stack.base_url}{CHAT}", json=request, timeout=120) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                streamed.ending = f"refused: {response.status_code} {response.json()['error']['code']}"
                return streamed
            for line in response.iter_lines():
                if line.startswith("data: "):
                    _receive(line[6:], streamed)
    except httpx.TransportError as error:
        streamed.ending = f"connection: {type(error).__name__}"
    finally:
        streamed.begun.set()
    return streamed


def _receive(frame: str, streamed: Streamed) -> None:
    if frame == "[DONE]":
        streamed.ending = "whole"
        return
    chunk = json.loads(frame)
    if "error" in chunk:
        streamed.ending = f"error: {chunk['error']['code']}"
        return
    streamed.job_id = chunk["id"].replace("chatcmpl-", "job-")
    streamed.deltas += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
    if len(streamed.deltas) >= BEGUN_CHUNKS:
        streamed.begun.set()


def stored_text(stack: Stack, job_id: str) -> str:
    """Return the text of a job's replay, whose events must be numbered without a gap, with one end."""
    with redis.Redis.from_url(stack.settings.redis_client_url) as client:
        frames = [events.split_frame(frame) for frame in client.lrange(events_key(job_id), 0, -1)]
    assert [number for number, _ in frames] == list(range(1, len(frames) + 1))
    replay = [events.decode(payload) for _, payload in frames]
    assert [events.is_terminal(event) for event in replay].count(True) == 1
    return "".join(event.text for event in replay if isinstance(event, events.TextDelta))


class StoredChat:
    """A chat that runs as an asynchronous job, whose events a client follows. The catalog keeps its result."""

    def __init__(self, http: httpx.Client, number: int) -> None:
        answer = http.post(CHAT, json=question(number, TOKENS), headers={"Prefer": "respond-async"})
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        self._path = answer.headers["location"]
        self.events: dict[int, events.AnyEvent] = {}

    def follow(self, base_url: str) -> None:
        """Read the events to the last one. A reader that is cut off continues, as a browser does."""
        while not any(map(events.is_terminal, self.events.values())):
            last = {"Last-Event-ID": str(max(self.events))} if self.events else {}
            try:
                with httpx.stream("GET", f"{base_url}{self._path}/events", headers=last, timeout=60) as response:
                    if response.status_code == httpx.codes.OK:
                        self._read(response)
            except httpx.TransportError as error:
                print(f"followed again after {error!r}")

    def _read(self, response: httpx.Response) -> None:
        number = 0
        for line in response.iter_lines():
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: ") and number:
                assert number not in self.events, "an event came twice"
                self.events[number] = events.decode(line[6:].encode())

    def check(self, http: httpx.Client) -> str:
        """Check that the events have no gap and make the stored result. Return the job's status."""
        assert sorted(self.events) == list(range(1, len(self.events) + 1))
        job = http.get(self._path).json()
        deltas = [event.text for _, event in sorted(self.events.items()) if isinstance(event, events.TextDelta)]
        if job["status"] == "completed":
            assert "".join(deltas) == job["result"]["choices"][0]["message"]["content"]
        return str(job["status"])


def stall(stack: Stack, victim: str) -> None:
    """Stall a process with its children for STALL_SECONDS, or hold the catalog's write lock."""
    with holding_write_lock(stack) if victim == "catalog" else stopped(stack.pid_of(victim)):
        time.sleep(STALL_SECONDS)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    assert pid > 0
    pids = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in pids:
            os.kill(one, signal.SIGCONT)


@contextmanager
def holding_write_lock(stack: Stack) -> Iterator[None]:
    path = stack.settings.state_dir / "catalog.sqlite3"
    assert path.exists()
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def drop(stack: Stack, numbers: range) -> None:
    for number in numbers:
        text = f"This file speaks of marker{number:04d} and of nothing else at all.\n"
        (stack.inbox / f"file{number:04d}.txt").write_text(text)


def test_stalls_neither_lose_nor_repeat_text_or_documents(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack, httpx.Client(base_url=stack.base_url, timeout=60) as http:
        pids = {name: stack.pid_of(name) for name in VICTIMS if name != "catalog"}
        for number, victim in enumerate(VICTIMS):
            print(victim, during_stall(stack, http, victim, number))
        wait_until(lambda: [one["status"] for one in documents(http)] == ["completed"] * FILES, 300)
        assert [searchable(http, number) for number in range(FILES)] == [1] * FILES
        assert {name: stack.pid_of(name) for name in pids} == pids, "a process was restarted"
        wait_until(stack.is_ready, 60)
    check_points(stack)


def during_stall(stack: Stack, http: httpx.Client, victim: str, number: int) -> dict[str, int]:
    """Stall once, with eight streams and new files, and check the streams. Return how they ended."""
    streams = [Streamed() for _ in range(STREAMS // 2)]
    with ThreadPoolExecutor(STREAMS) as pool:
        stored = [StoredChat(http, 1000 * number + one) for one in range(STREAMS // 2)]
        following = [pool.submit(one.follow, stack.base_url) for one in stored]
        streaming = [
            pool.submit(stream, stack, 1000 * number + 500 + one, TOKENS, streamed)
            for one, streamed in enumerate(streams)
        ]
        for streamed in streams:
            assert streamed.begun.wait(120)
        drop(stack, range(number * FILES_PER_STALL, (number + 1) * FILES_PER_STALL))
        stall(stack, victim)
        for future in (*streaming, *following):
            future.result(300)
    for streamed in streams:
        if streamed.ending == "whole":
            assert streamed.text == stored_text(stack, streamed.job_id)
    endings = Counter(streamed.ending for streamed in streams)
    assert all(ending == "whole" or ending.startswith("error: ") for ending in endings), endings
    endings.update(f"stored: {one.check(http)}" for one in stored)
    return dict(endings)


def check_points(stack: Stack) -> None:
    """Check that the vector store has the points of each document once, and no others."""
    embedder = Embedder.from_settings(stack.settings)
    catalog = Catalog.open(stack.settings.catalog_url)
    store = EdgeVectorStore(stack.settings.state_dir / "vectors", embedder.model_name, embedder.dimension)
    try:
        assert points_in(store) == points_expected(catalog, BlobStore(stack.settings.blobs_path))
    finally:
        store.close()
        catalog.close()


@pytest.mark.parametrize("victim", ["redis", "inference", "api"])
def test_a_greedy_stream_alone_has_the_text_of_an_undisturbed_one(tmp_path: Path, victim: str) -> None:
    with Stack(tmp_path) as stack, ThreadPoolExecutor(1) as pool:
        request = question(7, ALONE_TOKENS) | {"logprobs": True, "top_logprobs": 2}
        answer = httpx.post(f"{stack.base_url}{CHAT}", json=request, timeout=120).json()["choices"][0]
        streamed = Streamed()
        streaming = pool.submit(stream, stack, 7, ALONE_TOKENS, streamed)
        assert streamed.begun.wait(60)
        assert len(streamed.deltas) < ALONE_TOKENS / 2, "the stream was under way when the stall began"
        stall(stack, victim)
        streaming.result(120)
        assert streamed.ending == "whole"
        if victim != "inference":  # nothing was computed again
            assert streamed.text == answer["message"]["content"]
        assert_greedy(streamed.text, [answer["logprobs"]["content"]])
        assert streamed.text == stored_text(stack, streamed.job_id)
