"""Streaming over HTTP, Celery and Redis against the engine alone: same model, threads and prompts, in one run.

    INFERENCE_SLOTS=16 llm-api up
    INFERENCE_SLOTS=16 python -m benchmarks.streaming [--base-url URL] [--pairs N] [--tokens N]

Runs against a running stack (the one of this DATA_DIR) that has no other work. The engine alone runs in this process
while the stack is idle, then the stack while the engine is idle. They take turns, since a machine's speed drifts; the
ratio is the median over the pairs. Time runs from the first request to the last token, prompts included. The clients
use raw sockets, since they share the machine with what they measure.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.decode import GREEDY, open_backend
from benchmarks.report import percentile, print_table
from core import events
from core.messages import ChatMessage
from core.settings import Settings, get_settings
from inference.engine.engine import Engine
from inference.engine.sequence import SequenceDelta, SequenceEvent, SequenceFinished, SequenceRequest
from tasks.jobs.keys import events_key
from tasks.jobs.redis_client import connect

CLIENTS = (1, 4, 8, 16)
CROWD = 64
#: Tokens of the streams that run while another one starts, and of that one.
LONG_TOKENS = 1024
SHORT_TOKENS = 4
#: Streams that start beside the long ones, one after the other.
NEWCOMERS = 12
TARGET = 0.90
TTFT_TARGET_MS = 25.0
_numbers = itertools.count()


def prompts(count: int) -> list[str]:
    """Return questions that were not asked before, so that only the start of the template is cached."""
    return [f"{next(_numbers)}. Tell me about the sea and the ships on it." for _ in range(count)]


class EngineAlone:
    """The engine in this process."""

    def __init__(self, settings: Settings) -> None:
        self._running = 0
        self._done = threading.Event()
        self.engine = Engine(open_backend(settings), slots=settings.slots, default_max_tokens=256, sink=self._sink)
        self.engine.start()

    def run(self, questions: Sequence[str], tokens: int) -> float:
        """Return the tokens per second over all sequences."""
        self._running = len(questions)
        self._done.clear()
        began = time.perf_counter()
        for question in questions:
            prompt = self.engine.prepare([ChatMessage("user", question)]).token_ids
            name = str(next(_numbers))
            self.engine.submit(
                SequenceRequest(sequence_id=name, prompt_token_ids=prompt, sampling=GREEDY, max_tokens=tokens)
            )
        self._done.wait()
        return len(questions) * tokens / (time.perf_counter() - began)

    def _sink(self, step: Sequence[SequenceEvent]) -> None:
        for event in step:
            if not isinstance(event, SequenceDelta):
                self._running -= isinstance(event, SequenceFinished)
        if not self._running:
            self._done.set()


@dataclass(frozen=True)
class Streamed:
    """The result of one stream. `ttft_ms` runs from the opening of the connection to the first text."""

    status: int
    job_id: str
    is_whole: bool
    ttft_ms: float


class Clients:
    """Streams chats, many at once."""

    def __init__(self, base_url: str, tokens: int) -> None:
        self._url = urlsplit(base_url)
        self._tokens = tokens

    def run(self, questions: Sequence[str]) -> tuple[float, list[Streamed]]:
        """Return the tokens per second over all streams, and the result of each."""
        began = time.perf_counter()
        streams = asyncio.run(self._all(questions))
        return len(questions) * self._tokens / (time.perf_counter() - began), streams

    def run_beside(self, others: int, questions: Sequence[str]) -> list[Streamed]:
        """Stream questions one after the other, while `others` more streams run all the time."""
        return asyncio.run(self._beside(others, questions))

    async def _all(self, questions: Sequence[str]) -> list[Streamed]:
        return await asyncio.gather(*(self._stream(question, self._tokens) for question in questions))

    async def _beside(self, others: int, questions: Sequence[str]) -> list[Streamed]:
        speaking = asyncio.Semaphore(0)
        streams = [
            asyncio.create_task(self._stream(question, LONG_TOKENS, speaking.release)) for question in prompts(others)
        ]
        for _ in streams:
            await speaking.acquire()
        answers = [await self._stream(question, SHORT_TOKENS) for question in questions]
        if any(stream.done() for stream in streams):
            raise RuntimeError("one of the long streams has ended")
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        return answers

    async def _stream(self, question: str, tokens: int, on_first: Callable[[], None] = lambda: None) -> Streamed:
        request = json.dumps(
            {
                "messages": [{"role": "user", "content": question}],
                "max_tokens": tokens,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
            }
        )
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self._url.netloc}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(request)}\r\n\r\n{request}".encode()
        )
        received, first = bytearray(), 0.0
        try:
            while data := await reader.read(65_536):
                received += data
                if not first and b'"delta":{"content":"' in received:
                    first = time.perf_counter()
                    on_first()
        finally:
            writer.close()
        head = received.partition(b"\r\n")[0]
        job_id = received.partition(b'"id":"chatcmpl-')[2].partition(b'"')[0].decode()
        whole = b'"finish_reason":"length"' in received and b"data: [DONE]" in received
        return Streamed(int(head.split()[1]), f"job-{job_id}", whole, (first - began) * 1000)


def ttft_overheads_ms(settings: Settings, streams: Sequence[Streamed]) -> list[float]:
    """Return, for each stream, the milliseconds by which the client's TTFT is longer than the engine's own."""
    redis = connect(settings)
    overheads_ms = []
    for stream in streams:
        finished = events.decode(events.split_frame(redis.lindex(events_key(stream.job_id), -1))[1])
        if not isinstance(finished, events.Finished):
            raise RuntimeError(f"{stream.job_id} ended with {finished}")
        overheads_ms.append(stream.ttft_ms - finished.timings.queue_ms - finished.timings.prompt_ms)
    redis.close()
    return overheads_ms


class Comparison:
    """Pairs of runs of the engine alone and the stack, with a number of clients.

    Attributes:
        overheads_ms: for each stream, the milliseconds by which the client's TTFT is longer than the engine's own.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.overheads_ms: list[float] = []
        self._alone: list[float] = []
        self._streamed: list[float] = []

    def pair(self, settings: Settings, engine: EngineAlone, clients: Clients, tokens: int, *, counts: bool) -> None:
        """Run both, one after the other; a pair that only warms up does not count."""
        questions = prompts(self.count)
        alone = engine.run(questions, tokens)
        streamed, streams = clients.run(questions)
        if not all(stream.is_whole for stream in streams):
            raise RuntimeError(f"a stream broke: {streams}")
        if counts:
            self._alone.append(alone)
            self._streamed.append(streamed)
            self.overheads_ms += ttft_overheads_ms(settings, streams)

    def row(self) -> list[str]:
        """Return the row for the table."""
        ratios = [streamed / alone for streamed, alone in zip(self._streamed, self._alone, strict=True)]
        return [
            str(self.count), f"{statistics.median(self._alone):.0f}", f"{statistics.median(self._streamed):.0f}",
            f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", f"{TARGET:.2f}",
        ]  # fmt: skip


def delay_row(count: int, overheads_ms: Sequence[float]) -> tuple[str, ...]:
    """Return a row about first tokens."""
    p50, p95 = statistics.median(overheads_ms), percentile(overheads_ms, 0.95)
    return str(count), f"{p50:.1f} ms", f"{p95:.1f} ms", f"{TTFT_TARGET_MS:.0f} ms"


def main() -> None:
    """Run the pairs, then the crowd, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = get_settings()
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=96)
    arguments = parser.parse_args()
    engine, clients = EngineAlone(settings), Clients(arguments.base_url, arguments.tokens)
    comparisons, newcomers = [Comparison(count) for count in CLIENTS], []
    for pair in range(arguments.pairs + 1):
        for comparison in comparisons:  # in turn, so that a slow minute of the machine does not affect a single row
            comparison.pair(settings, engine, clients, arguments.tokens, counts=pair > 0)
    engine.engine.close()
    for count in CLIENTS:
        streams = clients.run_beside(count - 1, prompts(NEWCOMERS))
        newcomers.append(delay_row(count - 1, ttft_overheads_ms(settings, streams)))
    speed, crowd = clients.run(prompts(CROWD))
    failed = sum(not stream.is_whole for stream in crowd)
    columns = ("clients", "engine alone, tokens/s", "streamed, tokens/s", "ratio (median)", "range", "target")
    print_table(
        f"Streaming, {arguments.pairs} pairs of {arguments.tokens} tokens", columns, [one.row() for one in comparisons]
    )
    times = ("p50", "p95", "target p50")
    print_table("First token beyond the engine's own time, beside others", ("others that stream", *times), newcomers)
    delays = [delay_row(one.count, one.overheads_ms) for one in comparisons]
    print_table("The same, all clients beginning in one moment", ("clients", *times), delays)
    print_table(
        f"{CROWD} clients at once, {settings.slots} slots",
        ("failed", "target", "tokens/s", "TTFT p50"),
        [(str(failed), "0", f"{speed:.0f}", f"{statistics.median(one.ttft_ms for one in crowd) / 1000:.1f} s")],
    )


if __name__ == "__main__":
    main()
