"""Streaming over HTTP, Celery and Redis against the engine alone: same model, threads and prompts, in one run.

    INFERENCE_SLOTS=16 llm-api up
    INFERENCE_SLOTS=16 python -m benchmarks.streaming [--base-url URL] [--pairs N] [--tokens N]

Against a running stack (the one of this DATA_DIR) that has nothing else to do. The engine alone runs in this process
while the stack is idle, and the other way round; both in turn, since a machine's speed drifts: the ratio is the median
over the pairs. Time runs from the first request to the last token, prompts included. The clients are raw sockets, as
they share the machine with what they measure.
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
from tasks.jobs.names import events_key
from tasks.jobs.records import connect

CLIENTS = (1, 4, 8, 16)
CROWD = 64
#: Of the streams beside which another one begins, and of that one.
LONG_TOKENS = 1024
SHORT_TOKENS = 4
#: How many of them, one after the other.
NEWCOMERS = 12
TARGET = 0.90
TTFT_TARGET_MS = 25.0
_numbers = itertools.count()


def prompts(count: int) -> list[str]:
    """Questions that nobody has asked before: nothing but the template's beginning comes from a cache."""
    return [f"{next(_numbers)}. Tell me about the sea and the ships on it." for _ in range(count)]


class EngineAlone:
    """The engine in this process."""

    def __init__(self, settings: Settings) -> None:
        self._left = 0
        self._done = threading.Event()
        self.engine = Engine(open_backend(settings), slots=settings.slots, default_max_tokens=256, sink=self._sink)
        self.engine.start()

    def run(self, questions: Sequence[str], tokens: int) -> float:
        """Tokens per second over all sequences."""
        self._left = len(questions)
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
                self._left -= isinstance(event, SequenceFinished)
        if not self._left:
            self._done.set()


@dataclass(frozen=True)
class Streamed:
    """How one stream went. `ttft_ms` runs from the connection's opening to the first text."""

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
        """Tokens per second over all streams, and how each went."""
        began = time.perf_counter()
        streams = asyncio.run(self._all(questions))
        return len(questions) * self._tokens / (time.perf_counter() - began), streams

    def run_beside(self, others: int, questions: Sequence[str]) -> list[Streamed]:
        """Streams these one after the other, while so many others stream all the time."""
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
            raise RuntimeError("one of the others has ended")
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


def beyond_the_engine(settings: Settings, streams: Sequence[Streamed]) -> list[float]:
    """By how many milliseconds the client's time to first token is longer than the engine's own, of each stream."""
    redis = connect(settings)
    beyond = []
    for stream in streams:
        finished = events.decode(events.split_frame(redis.lindex(events_key(stream.job_id), -1))[1])
        if not isinstance(finished, events.Finished):
            raise RuntimeError(f"{stream.job_id} ended with {finished}")
        beyond.append(stream.ttft_ms - finished.timings.queue_ms - finished.timings.prompt_ms)
    redis.close()
    return beyond


class Comparison:
    """Pairs of the engine alone and the stack, with so many clients.

    Attributes:
        beyond: milliseconds that the first token took beyond the engine, of each stream.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.beyond: list[float] = []
        self._alone: list[float] = []
        self._streamed: list[float] = []

    def pair(self, settings: Settings, engine: EngineAlone, clients: Clients, tokens: int, *, counts: bool) -> None:
        """Runs both, one after the other; a pair that warms up does not count."""
        questions = prompts(self.count)
        alone = engine.run(questions, tokens)
        streamed, streams = clients.run(questions)
        if not all(stream.is_whole for stream in streams):
            raise RuntimeError(f"a stream broke: {streams}")
        if counts:
            self._alone.append(alone)
            self._streamed.append(streamed)
            self.beyond += beyond_the_engine(settings, streams)

    def row(self) -> list[str]:
        """For the table."""
        ratios = [streamed / alone for streamed, alone in zip(self._streamed, self._alone, strict=True)]
        return [
            str(self.count), f"{statistics.median(self._alone):.0f}", f"{statistics.median(self._streamed):.0f}",
            f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", f"{TARGET:.2f}",
        ]  # fmt: skip


def delay_row(count: int, beyond: Sequence[float]) -> tuple[str, ...]:
    """A row about first tokens."""
    p50, p95 = statistics.median(beyond), percentile(beyond, 0.95)
    return str(count), f"{p50:.1f} ms", f"{p95:.1f} ms", f"{TTFT_TARGET_MS:.0f} ms"


def main() -> None:
    """Runs the pairs, then the crowd, and prints a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = get_settings()
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=96)
    arguments = parser.parse_args()
    engine, clients = EngineAlone(settings), Clients(arguments.base_url, arguments.tokens)
    comparisons, newcomers = [Comparison(count) for count in CLIENTS], []
    for pair in range(arguments.pairs + 1):
        for comparison in comparisons:  # in turn, so that a minute in which the machine is slow is not all of one row
            comparison.pair(settings, engine, clients, arguments.tokens, counts=pair > 0)
    engine.engine.close()
    for count in CLIENTS:
        streams = clients.run_beside(count - 1, prompts(NEWCOMERS))
        newcomers.append(delay_row(count - 1, beyond_the_engine(settings, streams)))
    speed, crowd = clients.run(prompts(CROWD))
    failed = sum(not stream.is_whole for stream in crowd)
    columns = ("clients", "engine alone, tokens/s", "streamed, tokens/s", "ratio (median)", "range", "target")
    print_table(
        f"Streaming, {arguments.pairs} pairs of {arguments.tokens} tokens", columns, [one.row() for one in comparisons]
    )
    times = ("p50", "p95", "target p50")
    print_table("First token beyond the engine's own time, beside others", ("others that stream", *times), newcomers)
    delays = [delay_row(one.count, one.beyond) for one in comparisons]
    print_table("The same, all clients beginning in one moment", ("clients", *times), delays)
    print_table(
        f"{CROWD} clients at once, {settings.slots} slots",
        ("failed", "target", "tokens/s", "TTFT p50"),
        [(str(failed), "0", f"{speed:.0f}", f"{statistics.median(one.ttft_ms for one in crowd) / 1000:.1f} s")],
    )


if __name__ == "__main__":
    main()
