"""Chats over passages of documents, streamed: against a bare `llama_decode` loop and llama.cpp's server, in one run.

    INFERENCE_SLOTS=16 llm-api up
    INFERENCE_SLOTS=16 LLAMA_SERVER=… python -m benchmarks.rag_streaming [--base-url URL] [--rounds N]
        [--clients 1 4 8 16]

Runs against a running stack (the one of this DATA_DIR) that has no other work. First, each client has 600 words of
context of its own. Then each has 3 of 12 popular passages of 200 words, in the order of the documents, and a question
of its own; this is compared with contexts that share nothing.
"""

from __future__ import annotations

import argparse
import itertools
import random
import secrets
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.bare_loop import BareProcess, BareRun
from benchmarks.http_streams import Clients, Run
from benchmarks.llama_server import model_path, running_llama_server
from benchmarks.report import print_table
from benchmarks.streaming import Tokens
from core.settings import get_settings

CLIENTS = (1, 4, 8, 16)
TOKENS = 64
WORDS = ("harbour", "warranty", "machine", "river", "winter", "engine", "letter", "garden", "window", "music")
CONTEXT_WORDS = 600
#: Popular passages, their words, and how many of them a question has.
PASSAGES, PASSAGE_WORDS, CHOSEN = 12, 200, 3
SERVER_CONTEXT_TOKENS = 4096
SPEED_TARGET, TTFT_TARGET, SERVER_TARGET, SHARED_TARGET = 0.93, 1.1, 1.0, 1.5
#: Different in each run, so that no prompt is cached.
_numbers = itertools.count(secrets.randbits(32))


def own_contexts(count: int) -> list[str]:
    """Return questions with contexts that no other question has."""
    return [_question(_words(CONTEXT_WORDS, random.Random(next(_numbers)))) for _ in range(count)]  # noqa: S311


def shared_contexts(count: int) -> list[str]:
    """Return questions about some of the same few passages."""
    passages = [_words(PASSAGE_WORDS, random.Random(-at)) for at in range(1, PASSAGES + 1)]  # noqa: S311
    chosen = random.Random(next(_numbers))  # noqa: S311 - texts, no secrets
    return [
        _question("\n\n".join(passages[at] for at in sorted(chosen.sample(range(PASSAGES), CHOSEN))))
        for _ in range(count)
    ]


def _words(count: int, chosen: random.Random) -> str:
    return " ".join(chosen.choices(WORDS, k=count))


def _question(context: str) -> str:
    return f"{context}\n\nWhat is said about number {next(_numbers)}?"


@dataclass
class Rounds:
    """The results of one number of clients."""

    bare: list[BareRun] = field(default_factory=list)
    streamed: list[Run] = field(default_factory=list)
    server: list[Run] = field(default_factory=list)

    def row(self, clients: int) -> list[str]:
        """Return the row for the table."""
        ratios = _ratios(self.streamed, self.bare)
        pairs = zip(self.streamed, self.bare, strict=True)
        firsts = statistics.median(one.ttft_ms / bare.ttft_ms for one, bare in pairs)
        row = [
            str(clients), _speed(self.bare), _speed(self.streamed), f"{statistics.median(ratios):.2f}",
            f"{min(ratios):.2f} to {max(ratios):.2f}", _ttft(self.bare), _ttft(self.streamed), f"{firsts:.2f}",
        ]  # fmt: skip
        if not self.server:
            return [*row, "", "", ""]
        by_server = statistics.median(_ratios(self.streamed, self.server))
        return [*row, _speed(self.server), _ttft(self.server), f"{by_server:.2f}"]


def _ratios(ours: Sequence[Run], others: Sequence[Run | BareRun]) -> list[float]:
    return [one.tokens_per_second / other.tokens_per_second for one, other in zip(ours, others, strict=True)]


def _speed(runs: Sequence[Run | BareRun]) -> str:
    return f"{statistics.median(one.tokens_per_second for one in runs):.0f}"


def _ttft(runs: Sequence[Run | BareRun]) -> str:
    return f"{statistics.median(one.ttft_ms for one in runs) / 1000:.2f} s"


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    settings = get_settings()
    parser.add_argument("--base-url", default=f"http://{settings.host}:{settings.port}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    arguments = parser.parse_args()
    threads = settings.inference_threads or settings.cores
    bare, tokens = BareProcess(model_path(settings), threads), Tokens()
    clients = Clients(arguments.base_url, TOKENS)
    own = {count: Rounds() for count in arguments.clients}
    shared: dict[int, list[tuple[Run, Run, Run | None]]] = {count: [] for count in arguments.clients}
    with running_llama_server(settings, slots=settings.slots, context_tokens=SERVER_CONTEXT_TOKENS) as url:
        server = Clients(url, TOKENS) if url else None
        for turn in range(arguments.rounds + 1):
            for count in arguments.clients:
                questions = own_contexts(count)
                results = bare.run(tokens.of(questions), TOKENS), clients.run(questions)
                theirs = server.run(questions) if server else None
                popular = shared_contexts(count)
                both = clients.run(popular), results[1], server.run(popular) if server else None
                if turn:  # the first round warms up
                    own[count].bare.append(results[0])
                    own[count].streamed.append(results[1])
                    own[count].server += [theirs] if theirs else []
                    shared[count].append(both)
    bare.close()
    print_table(
        f"{CONTEXT_WORDS} words of context of its own for each client, {TOKENS} tokens, {arguments.rounds} rounds",
        ("clients", "bare loop, tokens/s", "streamed", f"ratio (target {SPEED_TARGET})", "range", "first token, bare",
         "streamed", f"ratio (target {TTFT_TARGET})", "llama-server, tokens/s", "first token",
         f"streamed by it (target {SERVER_TARGET})"),
        [own[count].row(count) for count in arguments.clients],
    )  # fmt: skip
    print_table(
        f"{CHOSEN} of {PASSAGES} popular passages for each client, {TOKENS} tokens",
        ("clients", "nothing shared, tokens/s", "popular", f"ratio (target {SHARED_TARGET})", "llama-server, popular",
         f"streamed by it (target {SHARED_TARGET})"),
        [_shared_row(count, shared[count]) for count in arguments.clients],
    )  # fmt: skip


def _shared_row(count: int, rounds: Sequence[tuple[Run, Run, Run | None]]) -> list[str]:
    popular, nothing = [one[0] for one in rounds], [one[1] for one in rounds]
    server = [one[2] for one in rounds if one[2]]
    median: Callable[[list[float]], str] = lambda ratios: f"{statistics.median(ratios):.2f}"  # noqa: E731
    return [
        str(count), _speed(nothing), _speed(popular), median(_ratios(popular, nothing)),
        *((_speed(server), median(_ratios(popular, server))) if server else ("", "")),
    ]  # fmt: skip


if __name__ == "__main__":
    main()
