"""Streams chats from a server over raw sockets, many at once: the clients share the machine with what they measure."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Streamed:
    """The result of one stream.

    Attributes:
        ttft_ms: from the opening of the connection to the first text.
        gaps_ms: between the arrivals of text that follow.
    """

    status: int
    job_id: str
    is_whole: bool
    ttft_ms: float
    gaps_ms: Sequence[float] = ()


@dataclass(frozen=True)
class Run:
    """Streams that began at once; the speed is over all of them, prompts included."""

    tokens_per_second: float
    streams: Sequence[Streamed]

    @property
    def ttft_ms(self) -> float:
        """The median time to the first text."""
        return statistics.median(one.ttft_ms for one in self.streams)


class Clients:
    """Streams chats, many at once, from any server with OpenAI's API."""

    def __init__(self, base_url: str, tokens: int, **options: Any) -> None:
        """
        Args:
            tokens: of each answer.
            options: more members of the request's body.
        """
        self._url = urlsplit(base_url)
        self._tokens = tokens
        self._options = options

    def run(self, questions: Sequence[str]) -> Run:
        """Ask all questions at once.

        Raises:
            RuntimeError: a stream broke.
        """
        began = time.perf_counter()
        streams = asyncio.run(self._all(questions))
        speed = len(questions) * self._tokens / (time.perf_counter() - began)
        if not all(stream.is_whole for stream in streams):
            raise RuntimeError(f"a stream broke: {[one for one in streams if not one.is_whole]}")
        return Run(speed, streams)

    async def _all(self, questions: Sequence[str]) -> list[Streamed]:
        return await asyncio.gather(*(self.stream(question, self._tokens) for question in questions))

    async def stream(self, question: str, tokens: int, on_first: Callable[[], None] = lambda: None) -> Streamed:
        """Ask one question, and call `on_first` when the first text has come."""
        request = json.dumps(
            {
                "messages": [{"role": "user", "content": question}],
                "max_tokens": tokens,
                "temperature": 0,
                "ignore_eos": True,
                "stream": True,
                **self._options,
            }
        )
        began = time.perf_counter()
        reader, writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self._url.netloc}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(request)}\r\n\r\n{request}".encode()
        )
        received, arrivals = bytearray(), list[float]()
        try:
            while data := await reader.read(65_536):
                received += data
                if arrivals or b'"delta":{"content":"' in received:
                    arrivals.append(time.perf_counter())
                    if len(arrivals) == 1:
                        on_first()
        finally:
            writer.close()
        head = received.partition(b"\r\n")[0]
        job_id = received.partition(b'"id":"chatcmpl-')[2].partition(b'"')[0].decode()
        whole = b'"finish_reason":"length"' in received and b"data: [DONE]" in received
        first = arrivals[0] if arrivals else began
        gaps = [(after - before) * 1000 for before, after in zip(arrivals, arrivals[1:], strict=False)]
        return Streamed(int(head.split()[1]), f"job-{job_id}", whole, (first - began) * 1000, gaps)
