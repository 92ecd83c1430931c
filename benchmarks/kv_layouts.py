"""The engine with a stream of the KV cache for each slot against one cache for all: same model, prompts and threads.

    python -m benchmarks.kv_layouts [--rounds N] [--tokens N]

Each layout runs in its own process, in turn. Each request has a context of its own, so that no prefix is reused but the
start of the template. Time runs from the first request to the last token, prompts included.
"""

from __future__ import annotations

import argparse
import random
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection

from benchmarks.decode import GREEDY, open_backend
from benchmarks.report import print_table
from core.messages import ChatMessage
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.engine.sequence import SequenceDelta, SequenceEvent, SequenceFinished, SequenceRequest

LAYOUTS = ("streams", "unified")
SLOTS = 16
CONTEXT_TOKENS = 2048
#: Clients, and the words of context that each brings.
WORKS = ((1, 0), (4, 0), (8, 0), (16, 0), (1, 600), (4, 600), (8, 600))
WORDS = ("harbour", "warranty", "machine", "river", "winter", "engine", "letter", "garden", "window", "music")


@dataclass(frozen=True)
class Result:
    """`first_ms` is the median time from the submission of a request to its first token."""

    tokens_per_second: float
    first_ms: float


class EngineRun:
    """Runs requests through an engine, all at once."""

    def __init__(self, layout: str) -> None:
        settings = load_settings(_env_file=None, inference_slots=SLOTS, context_length=CONTEXT_TOKENS, kv_layout=layout)
        self._first: dict[str, float] = {}
        self._running = 0
        self._done = threading.Event()
        self.engine = Engine(open_backend(settings), slots=SLOTS, sink=self._sink)
        self.engine.start()

    def run(self, questions: Sequence[str], tokens: int) -> Result:
        """Return the speed over all sequences, and the time to their first tokens."""
        prompts = [self.engine.prepare([ChatMessage("user", question)]).token_ids for question in questions]
        self._first.clear()
        self._running = len(prompts)
        self._done.clear()
        began = time.perf_counter()
        for at, prompt in enumerate(prompts):
            self.engine.submit(
                SequenceRequest(sequence_id=str(at), prompt_token_ids=prompt, sampling=GREEDY, max_tokens=tokens)
            )
        self._done.wait()
        seconds = time.perf_counter() - began
        firsts = [(moment - began) * 1000 for moment in self._first.values()]
        return Result(len(prompts) * tokens / seconds, statistics.median(firsts))

    def _sink(self, step: Sequence[SequenceEvent]) -> None:
        for event in step:
            if isinstance(event, SequenceDelta):
                self._first.setdefault(event.sequence_id, time.perf_counter())
            self._running -= isinstance(event, SequenceFinished)
        if not self._running:
            self._done.set()


def serve(layout: str, connection: Connection) -> None:
    """Run what comes through the connection, until None comes."""
    engine = EngineRun(layout)
    connection.send(None)
    while (work := connection.recv()) is not None:
        connection.send(engine.run(*work))
    engine.engine.close()


def questions(clients: int, words: int, seed: int) -> list[str]:
    """Return a question for each client, with a context of so many words that no other has."""
    chosen = random.Random(seed)  # noqa: S311 - texts, no secrets
    return [
        f"{chosen.random()} {' '.join(chosen.choices(WORDS, k=words))} Tell me about the sea." for _ in range(clients)
    ]


def main() -> None:
    """Run both layouts in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    context = get_context("spawn")
    pipes = {}
    for layout in LAYOUTS:
        pipes[layout], end = context.Pipe()
        context.Process(target=serve, args=(layout, end)).start()
        pipes[layout].recv()
    results: dict[tuple[str, int, int], list[Result]] = {}
    for turn in range(arguments.rounds):
        for clients, words in WORKS:
            for layout, pipe in pipes.items():
                pipe.send((questions(clients, words, turn), arguments.tokens))
                results.setdefault((layout, clients, words), []).append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(None)
    print_table(
        f"Streams against a unified cache, {arguments.rounds} rounds of {arguments.tokens} tokens, {SLOTS} slots",
        ("clients", "words of context", "unified, tokens/s", "streams", "ratio", "range", "first token", "streams"),
        [row(clients, words, results) for clients, words in WORKS],
    )


def row(clients: int, words: int, results: dict[tuple[str, int, int], list[Result]]) -> list[str]:
    """Return the row of the table for one kind of work."""
    streams, unified = (results[layout, clients, words] for layout in LAYOUTS)
    ratios = [one.tokens_per_second / other.tokens_per_second for one, other in zip(streams, unified, strict=True)]
    speeds = [statistics.median(one.tokens_per_second for one in runs) for runs in (unified, streams)]
    firsts = [statistics.median(one.first_ms for one in runs) for runs in (unified, streams)]
    return [
        str(clients), str(words), *(f"{speed:.0f}" for speed in speeds), f"{statistics.median(ratios):.2f}",
        f"{min(ratios):.2f} to {max(ratios):.2f}", *(f"{first:.0f} ms" for first in firsts),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
