"""Chat alone against chat beside bulk embedding: files that are indexed, or another user's embeddings. And the reverse.

    INFERENCE_SLOTS=16 llm-api up
    INFERENCE_SLOTS=16 python -m benchmarks.beside_bulk [--base-url URL] [--clients 1 8] [--files N] [--texts N]
        [--rounds N]

Runs against a running stack (the one of this DATA_DIR) that has no other work and watches the first folder of
WATCH_DIRS. Each client asks one question after the other. Bulk work alone is measured first: so many files are dropped,
each of one page, and the time runs until the last one is indexed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.http_streams import Clients, Streamed
from benchmarks.report import percentile, print_table
from benchmarks.streaming import prompts
from core.settings import get_settings

TOKENS = 96
#: How long chats are measured.
MEASURED_SECONDS = 20.0
#: Speed of chat beside bulk work by that of chat alone, and speed of bulk work beside chat, by clients.
CHAT_TARGET, BULK_TARGETS = 0.75, {1: 0.2, 8: 0.1}
GAP_TARGET, TTFT_TARGET = 2.0, 2.0
WORDS = ("harbour", "warranty", "machine", "river", "winter", "engine", "letter", "garden", "window", "music")
PAGE_WORDS = 300
#: Texts of one request to /v1/embeddings: more than 16, so that it is bulk work, and few, so that many requests end
#: while chat is measured.
REQUEST_TEXTS = 25


@dataclass(frozen=True)
class Chats:
    """What the clients got while they asked one question after the other."""

    tokens_per_second: float
    gap_p99_ms: float
    ttft_ms: float

    @classmethod
    def of(cls, streams: Sequence[Streamed], seconds: float) -> Chats:
        gaps = [gap for stream in streams for gap in stream.gaps_ms]
        first = statistics.median(stream.ttft_ms for stream in streams)
        return cls(len(streams) * TOKENS / seconds, percentile(gaps, 0.99), first)


def chat(clients: Clients, count: int, goes_on: Callable[[], bool]) -> Chats:
    """Let `count` clients ask one question after the other as long as `goes_on`."""

    async def one() -> list[Streamed]:
        streams = []
        while goes_on() or not streams:
            streams.append(await clients.stream(prompts(1)[0], TOKENS))
        return streams

    async def all_clients() -> list[Streamed]:
        return [stream for streams in await asyncio.gather(*(one() for _ in range(count))) for stream in streams]

    began = time.perf_counter()
    streams = asyncio.run(all_clients())
    if not all(stream.is_whole for stream in streams):
        raise RuntimeError("a stream broke")
    return Chats.of(streams, time.perf_counter() - began)


def page() -> str:
    """Return a text of one page that no other text shares a chunk with."""
    return " ".join(random.Random(secrets.randbits(64)).choices(WORDS, k=PAGE_WORDS))  # noqa: S311 - texts, no secrets


class Files:
    """Files that are dropped into a watched folder."""

    name = "files indexed"

    def __init__(self, client: httpx.Client, folder: Path, count: int) -> None:
        self._client = client
        self._folder = folder / f"bulk-{secrets.token_hex(4)}"
        self._count = count

    def start(self) -> None:
        """Drop the files, and wait until the first ones are indexed."""
        self._folder.mkdir()
        for number in range(self._count):
            (self._folder / f"{number}.txt").write_text(page())
        while self.done() < 8:
            time.sleep(0.05)

    def done(self) -> int:
        """Return how many are indexed."""
        answer = self._client.get("/v1/rag/collections")
        answer.raise_for_status()
        return sum(int(one["coverage"]["indexed"]) for one in answer.json()["data"])

    def is_running(self) -> bool:
        return self.done() < self._count

    def stop(self) -> None:
        """Remove the files, and wait until they are gone."""
        shutil.rmtree(self._folder)
        while self.done():
            # So many deletions at once have to be confirmed. Until the watcher has seen them, this is refused.
            self._client.post("/v1/watch/confirm", json={})
            time.sleep(0.5)


class Embeddings:
    """Another user's embeddings, one request after the other."""

    name = "embeddings"

    def __init__(self, client: httpx.Client, count: int) -> None:
        self._client = client
        self._count = count
        self._done = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stopped = False

    def start(self) -> None:
        """Send the first request."""
        self._thread.start()

    def done(self) -> int:
        """Return how many texts are embedded."""
        return self._done

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Wait for the last request."""
        self._stopped = True
        self._thread.join()

    def _run(self) -> None:
        while self._done < self._count and not self._stopped:
            body = {"input": [page() for _ in range(REQUEST_TEXTS)], "model": "default"}
            self._client.post("/v1/embeddings", json=body).raise_for_status()
            self._done += REQUEST_TEXTS


Bulk = Files | Embeddings


@contextmanager
def running(bulk: Bulk) -> Iterator[Bulk]:
    """Run bulk work, and clear up after it."""
    bulk.start()
    try:
        yield bulk
    finally:
        bulk.stop()


def speed_alone(bulk: Bulk) -> float:
    """Return how many files or texts are done in a second when nobody chats."""
    with running(bulk):
        return _speed_while(bulk, bulk.is_running)


def _speed_while(bulk: Bulk, goes_on: Callable[[], bool]) -> float:
    before, began = bulk.done(), time.perf_counter()
    while goes_on():
        time.sleep(0.1)
    return (bulk.done() - before) / (time.perf_counter() - began)


def for_seconds(seconds: float) -> Callable[[], bool]:
    """Return a condition that holds for some time from now on."""
    ends = time.perf_counter() + seconds
    return lambda: time.perf_counter() < ends


def both(first: Callable[[], bool], second: Callable[[], bool]) -> Callable[[], bool]:
    """Return a condition that holds while both hold."""
    return lambda: first() and second()


def measure(clients: Clients, count: int, make: Callable[[], Bulk], rounds: int) -> list[str]:
    """Return the row of a table for a number of clients and a kind of bulk work."""
    alone, beside, shares, bulk_alone = [], [], [], []
    for _ in range(rounds):
        bulk_speed = speed_alone(make())
        alone.append(chat(clients, count, for_seconds(MEASURED_SECONDS)))
        with running(make()) as bulk:
            before, began = bulk.done(), time.perf_counter()
            beside.append(chat(clients, count, both(for_seconds(MEASURED_SECONDS), bulk.is_running)))
            shares.append((bulk.done() - before) / (time.perf_counter() - began) / bulk_speed)
        bulk_alone.append(bulk_speed)
    pairs = list(zip(beside, alone, strict=True))
    speed = statistics.median(one.tokens_per_second / other.tokens_per_second for one, other in pairs)
    gap = statistics.median(one.gap_p99_ms / other.gap_p99_ms for one, other in pairs)
    first = statistics.median(one.ttft_ms / other.ttft_ms for one, other in pairs)
    return [
        str(count), make().name, f"{statistics.median(one.tokens_per_second for one in alone):.0f}",
        f"{speed:.2f} ({CHAT_TARGET})", f"{gap:.2f} ({GAP_TARGET:g})", f"{first:.2f} ({TTFT_TARGET:g})",
        f"{statistics.median(bulk_alone):.0f}/s", f"{statistics.median(shares):.2f} ({BULK_TARGETS.get(count, 0.1)})",
    ]  # fmt: skip


def main() -> None:
    """Run the benchmark and print its table."""
    settings = get_settings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    clients = Clients(arguments.base_url, TOKENS)
    rows = []
    with httpx.Client(base_url=arguments.base_url, timeout=600) as client:
        folder = settings.watch_roots[0].path
        kinds: list[Callable[[], Bulk]] = []
        if arguments.files:
            kinds.append(lambda: Files(client, folder, arguments.files))
        if arguments.texts:
            kinds.append(lambda: Embeddings(client, arguments.texts))
        rows = [measure(clients, count, make, arguments.rounds) for make in kinds for count in arguments.clients]
    print_table(
        f"Chat beside bulk work ({arguments.files} files, {arguments.texts} embeddings); targets in brackets",
        ("clients", "beside", "chat alone, tokens/s", "beside / alone", "p99 gap", "first token", "bulk alone",
         "bulk beside / alone"),
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
