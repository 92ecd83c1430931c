"""Streaming over HTTP, Celery and Redis against a bare `llama_decode` loop and llama.cpp's server, in one run.

    INFERENCE_SLOTS=16 llm-api up
    INFERENCE_SLOTS=16 LLAMA_SERVER=… python -m benchmarks.streaming [--base-url URL] [--rounds N] [--tokens N]

Runs against a running stack (the one of this DATA_DIR) that has no other work. All have the same model, threads and
prompts, and take turns, since a machine's speed drifts; a ratio is the median over the rounds. Time runs from the first
request to the last token, prompts included. Without LLAMA_SERVER (`benchmarks.llama_server`) its columns are empty.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import secrets
import statistics
from collections.abc import Sequence

from benchmarks.bare_loop import BareProcess
from benchmarks.decode import open_backend
from benchmarks.http_streams import Clients, Streamed
from benchmarks.llama_server import model_path, running_llama_server
from benchmarks.report import percentile, print_table
from core import events
from core.messages import ChatMessage
from core.settings import Settings, get_settings, load_settings
from inference.engine.engine import Engine
from tasks.jobs.keys import events_key
from tasks.jobs.redis_client import connect

CLIENTS = (1, 4, 8, 16)
CROWD = 64
#: Tokens of the streams that run while another one starts, and of that one.
LONG_TOKENS = 1024
SHORT_TOKENS = 4
#: Streams that start beside the long ones, one after the other.
NEWCOMERS = 12
#: Our speed by that of the bare loop, by clients; and by that of llama-server.
TARGETS = {1: 0.95, 4: 0.93, 8: 0.92, 16: 0.92}
SERVER_TARGET = 1.0
SERVER_CONTEXT_TOKENS = 4096
TTFT_TARGET_MS = 25.0
_RUN = secrets.token_hex(3)
_numbers = itertools.count()


def prompts(count: int) -> list[str]:
    """Return questions that were not asked before, so that only the start of the template is cached."""
    return [f"{_RUN}, {next(_numbers)}. Tell me about the sea and the ships on it." for _ in range(count)]


class Tokens:
    """The tokens of questions in the model's template."""

    def __init__(self) -> None:
        settings = load_settings(inference_slots=2, context_length=4096)
        self._engine = Engine(open_backend(settings), slots=1, sink=lambda _: None)

    def of(self, questions: Sequence[str]) -> list[list[int]]:
        """Return the prompt of each question."""
        return [self._engine.prepare([ChatMessage("user", question)]).token_ids for question in questions]


async def beside(clients: Clients, others: int, questions: Sequence[str]) -> list[Streamed]:
    """Stream questions one after the other, while `others` more streams run all the time."""
    speaking = asyncio.Semaphore(0)
    streams = [
        asyncio.create_task(clients.stream(question, LONG_TOKENS, speaking.release)) for question in prompts(others)
    ]
    for _ in streams:
        await speaking.acquire()
    answers = [await clients.stream(question, SHORT_TOKENS) for question in questions]
    if any(stream.done() for stream in streams):
        raise RuntimeError("one of the long streams has ended")
    for stream in streams:
        stream.cancel()
    await asyncio.gather(*streams, return_exceptions=True)
    return answers


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
    """Rounds of the bare loop, the stack and llama-server, with a number of clients.

    Attributes:
        overheads_ms: for each stream, the milliseconds by which the client's TTFT is longer than the engine's own.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.overheads_ms: list[float] = []
        self._bare: list[float] = []
        self._streamed: list[float] = []
        self._server: list[float] = []

    def round(
        self, settings: Settings, bare: BareProcess, tokens: Tokens, clients: Clients, server: Clients | None,
        length: int, *, counts: bool,
    ) -> None:  # fmt: skip
        """Run each, one after the other; a round that only warms up does not count."""
        questions = prompts(self.count)
        alone = bare.run(tokens.of(questions), length)
        run = clients.run(questions)
        theirs = server.run(questions) if server else None
        if counts:
            self._bare.append(alone.tokens_per_second)
            self._streamed.append(run.tokens_per_second)
            self._server += [theirs.tokens_per_second] if theirs else []
            self.overheads_ms += ttft_overheads_ms(settings, run.streams)

    def row(self) -> list[str]:
        """Return the row for the table."""
        ratios = [streamed / bare for streamed, bare in zip(self._streamed, self._bare, strict=True)]
        row = [
            str(self.count), f"{statistics.median(self._bare):.0f}", f"{statistics.median(self._streamed):.0f}",
            f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", f"{TARGETS[self.count]:.2f}",
        ]  # fmt: skip
        if not self._server:
            return [*row, "", "", ""]
        by_server = [streamed / server for streamed, server in zip(self._streamed, self._server, strict=True)]
        server = f"{statistics.median(self._server):.0f} ({max(self._server):.0f})"
        return [*row, server, f"{statistics.median(by_server):.3f}", f"{SERVER_TARGET:.2f}"]


def delay_row(count: int, overheads_ms: Sequence[float]) -> tuple[str, ...]:
    """Return a row about first tokens."""
    p50, p95 = statistics.median(overheads_ms), percentile(overheads_ms, 0.95)
    return str(count), f"{p50:.1f} ms", f"{p95:.1f} ms", f"{TTFT_TARGET_MS:.0f} ms"


def main() -> None:
    """Run the rounds, then the crowd, and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = get_settings()
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=96)
    arguments = parser.parse_args()
    threads = settings.inference_threads or settings.cores
    bare, tokens = BareProcess(model_path(settings), threads), Tokens()
    clients = Clients(arguments.base_url, arguments.tokens)
    comparisons, newcomers = [Comparison(count) for count in CLIENTS], []
    with running_llama_server(settings, slots=max(CLIENTS), context_tokens=SERVER_CONTEXT_TOKENS) as url:
        server = Clients(url, arguments.tokens) if url else None
        for turn in range(arguments.rounds + 1):
            for comparison in comparisons:  # in turn, so that a slow minute of the machine does not affect a single row
                comparison.round(settings, bare, tokens, clients, server, arguments.tokens, counts=turn > 0)
    bare.close()
    for count in CLIENTS:
        streams = asyncio.run(beside(clients, count - 1, prompts(NEWCOMERS)))
        newcomers.append(delay_row(count - 1, ttft_overheads_ms(settings, streams)))
    crowd = clients.run(prompts(CROWD))
    columns = (
        "clients", "bare loop, tokens/s", "streamed", "ratio (median)", "range", "target", "llama-server (best)",
        "streamed by it", "target",
    )  # fmt: skip
    title = f"Streaming, {arguments.rounds} rounds of {arguments.tokens} tokens"
    print_table(title, columns, [one.row() for one in comparisons])
    times = ("p50", "p95", "target p50")
    print_table("First token beyond the engine's own time, beside others", ("others that stream", *times), newcomers)
    delays = [delay_row(one.count, one.overheads_ms) for one in comparisons]
    print_table("The same, all clients beginning in one moment", ("clients", *times), delays)
    print_table(
        f"{CROWD} clients at once, {settings.slots} slots",
        ("failed", "target", "tokens/s", "TTFT p50"),
        [("0", "0", f"{crowd.tokens_per_second:.0f}", f"{crowd.ttft_ms / 1000:.1f} s")],
    )


if __name__ == "__main__":
    main()
