"""Saturation: far more requests at once than the stack can serve. Each is answered, and the memory comes back."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.documents import documents
from tests.e2e.memory import MemoryWatch, Sizes, at_rest, sizes_of
from tests.support import Stack, wait_until

pytestmark = [pytest.mark.soak, pytest.mark.e2e, pytest.mark.timeout(3600)]

CHATS, EMBEDDINGS, SEARCHES, FILES, WAVES = 300, 200, 100, 500, 3
#: A request that has no answer after this time hangs.
HANGING_SECONDS = 400
#: How long Redis keeps what was read, with time to spare.
FORGOTTEN_SECONDS = 120
#: The soft limit on open files that a login shell usually has. It is fewer than there are connections.
OPEN_FILES = 1024
MIB = 2**20
#: Bounds on memory, beyond what a process has before the first wave: during a wave, and when it is over.
PEAK_GROWTH_BYTES = {"redis data": 64 * MIB, "redis": 96 * MIB, "ingest": 1024 * MIB}
PEAK_GROWTH_DEFAULT_BYTES = 400 * MIB
LEFT_SHARE, LEFT_BYTES = 0.25, 48 * MIB
#: What the last wave may leave beyond what the first one has left: memory that grows with each wave is lost.
GROWTH_SHARE, GROWTH_BYTES = 0.1, 16 * MIB

CHAT, EMBED, SEARCH, UPLOAD = (
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/rag/search",
    "/v1/rag/documents/upload",
)


class SmallStack(Stack):
    """A stack whose processes may open as many files as those of an ordinary login."""

    def up_command(self) -> list[str]:
        return ["sh", "-c", f'ulimit -S -n {OPEN_FILES} && exec "$@"', "sh", *super().up_command()]


class Clients:
    """Sends requests at once, and counts how each kind ended: `chat 200`, `chat 503 queue_full`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self.endings: Counter[str] = Counter()
        self.wrong: list[str] = []
        #: The ids of the documents that were accepted.
        self.documents: list[str] = []
        self.longest_seconds = 0.0

    async def wave(self, number: int, *, share: float = 1.0) -> None:
        """Send this share of a wave, all requests at once, and wait until each has ended."""
        counts = [round(share * count) for count in (CHATS, EMBEDDINGS, SEARCHES, FILES)]
        chats, embeddings, searches, files = counts
        kinds: list[tuple[str, list[Coroutine[Any, Any, None]]]] = [
            ("chat", [self._chat(number, one) for one in range(chats)]),
            ("embedding", [self._embed(number, one) for one in range(embeddings)]),
            ("search", [self._search(number, one) for one in range(searches)]),
            ("file", [self._upload(number, one) for one in range(files)]),
        ]
        await asyncio.gather(*(self._timed(name, request) for name, requests in kinds for request in requests))

    async def _timed(self, kind: str, request: Coroutine[Any, Any, None]) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(HANGING_SECONDS):
                await request
        except (TimeoutError, httpx.HTTPError) as error:
            self._note(kind, f"{type(error).__name__}", f"no answer: {error!r}")
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)

    async def _chat(self, wave: int, number: int) -> None:
        content = f"{wave}-{number}: tell me about the number {number}."
        body = {"messages": [{"role": "user", "content": content}], "max_tokens": 12, "stream": number % 2 == 0}
        if not body["stream"]:
            self._answer("chat", await self._http.post(CHAT, json=body))
            return
        async with self._http.stream("POST", CHAT, json=body) as response:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                self._answer("chat", response)
                return
            frames = [line[6:] async for line in response.aiter_lines() if line.startswith("data: ")]
            if frames[-1:] == ["[DONE]"]:
                self._note("chat", "200")
            else:
                error = json.loads(frames[-1]).get("error", {}) if frames else {}
                self._note("chat", f"200, then {error.get('code')}", f"a stream ended with {error or 'nothing'}")

    async def _embed(self, wave: int, number: int) -> None:
        texts = [f"{wave}-{number}-{one}: the ferry leaves at dawn." for one in range(1 + number % 16)]
        self._answer("embedding", await self._http.post(EMBED, json={"input": texts, "model": "any"}))

    async def _search(self, wave: int, number: int) -> None:
        self._answer("search", await self._http.post(SEARCH, json={"query": f"marker{wave}x{number:04d}", "top_k": 3}))

    async def _upload(self, wave: int, number: int) -> None:
        content = f"This file speaks of marker{wave}x{number:04d} and of nothing else at all.\n" * (1 + number % 7)
        files = {"files": (f"{wave}-{number}.txt", content.encode())}
        answer = await self._http.post(UPLOAD, files=files)
        self._answer("file", answer)
        if answer.is_success:
            self.documents += [document["id"] for document in answer.json()["data"]]

    def _answer(self, kind: str, answer: httpx.Response) -> None:
        """Count an answer, and note it as wrong unless it is a success or a refusal that says when to try again."""
        if answer.is_success:
            self._note(kind, "200")
            return
        code = answer.json()["error"]["code"] if "json" in answer.headers.get("content-type", "") else answer.text[:80]
        refused = answer.status_code in (429, 503) and int(answer.headers.get("retry-after", "0")) >= 1
        self._note(kind, f"{answer.status_code} {code}", "" if refused else f"{answer.status_code} {answer.text[:300]}")

    def _note(self, kind: str, ending: str, problem: str = "") -> None:
        self.endings[f"{kind} {ending}"] += 1
        if problem:
            self.wrong.append(f"{kind}: {problem}")


def measure(stack: Stack) -> Sizes:
    """Return the memory at rest, in bytes, once Redis has forgotten what was read."""
    return at_rest(lambda: sizes_of(stack), FORGOTTEN_SECONDS)


def forgotten(stack: Stack, before: Sizes) -> bool:
    return sizes_of(stack)["redis data"] <= before["redis data"] + LEFT_BYTES // 8


def show(title: str, sizes: Sizes) -> None:
    print(f"{title}: " + ", ".join(f"{name} {size / MIB:.0f}" for name, size in sorted(sizes.items())) + " MiB")


async def test_each_request_of_three_waves_is_answered_and_the_memory_comes_back(tmp_path: Path) -> None:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    # A cache of finished prompts that is full before the first wave: what it holds is not lost.
    with (
        SmallStack(tmp_path, {"PROMPT_CACHE_BYTES": str(16 * MIB)}) as stack,
        httpx.Client(base_url=stack.base_url, timeout=60) as http,
    ):
        async with httpx.AsyncClient(base_url=stack.base_url, timeout=HANGING_SECONDS, limits=limits) as client:
            clients = Clients(client)
            await clients.wave(9, share=0.1)
            pids = {name: stack.pid_of(name) for name in ("api", "ingest", "index", "inference", "redis")}
            wait_until(lambda: all_completed(http, clients), 240)
            rests = [measure(stack)]
            show("before", rests[0])
            for number in range(WAVES):
                clients.endings.clear()
                with MemoryWatch(stack) as watch:
                    await clients.wave(number)
                    print(f"wave {number}, longest {clients.longest_seconds:.0f} s: {dict(clients.endings)}")
                    show("peak", watch.peaks)
                    assert not clients.wrong, (len(clients.wrong), clients.wrong[:5])
                    assert too_large(watch.peaks, rests[0]) == {}
                    # Nothing that was accepted is lost, and new work is served at once.
                    wait_until(lambda: all_completed(http, clients), 600)
                wait_until(lambda: forgotten(stack, rests[0]), FORGOTTEN_SECONDS)
                rests.append(measure(stack))
                show("at rest", rests[-1])
                assert left_over(rests[-1], rests[0], LEFT_SHARE, LEFT_BYTES) == {}
            assert left_over(rests[-1], rests[1], GROWTH_SHARE, GROWTH_BYTES) == {}
            assert {name: stack.pid_of(name) for name in pids} == pids, "a process was restarted"
            assert http.get("/ready").status_code == httpx.codes.OK


def all_completed(http: httpx.Client, clients: Clients) -> bool:
    found = {document["id"]: document["status"] for document in documents(http)}
    return set(clients.documents) <= found.keys() and set(found.values()) <= {"completed"}


def too_large(peaks: Sizes, before: Sizes) -> Sizes:
    """Return the processes whose memory has grown by more than their bound during a wave."""
    bounds = {name: before.get(name, 0) + PEAK_GROWTH_BYTES.get(name, PEAK_GROWTH_DEFAULT_BYTES) for name in peaks}
    return {name: size for name, size in peaks.items() if size > bounds[name]}


def left_over(after: Sizes, before: Sizes, share: float, size_bytes: int) -> dict[str, tuple[int, int]]:
    """Return the processes that hold more than this share and size beyond what they had before."""
    return {
        name: (before[name], size)
        for name, size in after.items()
        if name in before and size > (1 + share) * before[name] + size_bytes
    }
