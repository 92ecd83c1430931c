"""Long prompts in the engine: how one delays other streams, with and without chunked prefill, and how much time a
shared prefix saves.

python -m benchmarks.prompts [--rounds N]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import threading
import time
from collections.abc import Sequence

from benchmarks.decode import GREEDY, open_backend
from benchmarks.report import percentile, print_table
from core.settings import load_settings
from inference.engine.engine import Engine
from inference.engine.prompt_pieces import PieceLimits
from inference.engine.sequence import SequenceAborted, SequenceDelta, SequenceEvent, SequenceFinished, SequenceRequest
from inference.engine.token_budget import TokenBudget

STREAMS = 8
LONG_PROMPT_TOKENS = 1500
PREFIX_TOKENS = 1000
GAP_TARGET = 4.0
PREFIX_TARGET = 0.15
_numbers = itertools.count()


class Listener:
    """Records the tokens of each sequence, and when they came."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}
        self.deltas: dict[str, list[SequenceDelta]] = {}
        self._ended: set[str] = set()
        self._changed = threading.Condition()

    def __call__(self, events: Sequence[SequenceEvent]) -> None:
        now = time.perf_counter()
        with self._changed:
            for event in events:
                if isinstance(event, SequenceDelta):
                    self.times.setdefault(event.sequence_id, []).append(now)
                    self.deltas.setdefault(event.sequence_id, []).append(event)
                elif isinstance(event, SequenceFinished | SequenceAborted):
                    self._ended.add(event.sequence_id)
            self._changed.notify_all()

    def wait_for_tokens(self, names: Sequence[str], count: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: all(len(self.times.get(name, ())) >= count for name in names))

    def wait_for_end(self, names: Sequence[str]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._ended.issuperset(names))


def tokens(count: int, seed: int) -> list[int]:
    """Return a prompt that shares no prefix with another one."""
    return [1000 + (seed * 7919 + at * 31) % 40000 for at in range(count)]


def submit(engine: Engine, prompt: list[int], max_tokens: int) -> str:
    """Submit a sequence and return its id."""
    name = str(next(_numbers))
    engine.submit(SequenceRequest(sequence_id=name, prompt_token_ids=prompt, sampling=GREEDY, max_tokens=max_tokens))
    return name


def gaps_beside_a_long_prompt(engine: Engine, listener: Listener, seed: int) -> tuple[float, float, float]:
    """Return the median and 99th percentile of all streams' gaps while the prompt is computed, and its TTFT, in ms."""
    streams = [submit(engine, tokens(16, seed * 100 + number), 400) for number in range(STREAMS)]
    listener.wait_for_tokens(streams, 20)
    began = time.perf_counter()
    long = submit(engine, tokens(LONG_PROMPT_TOKENS, seed * 100 + 99), 4)
    listener.wait_for_tokens([long], 1)
    ended = time.perf_counter()
    for name in streams:
        engine.abort(name)
    listener.wait_for_end([*streams, long])
    gaps = [
        (after - before) * 1000
        for name in streams
        for before, after in itertools.pairwise(listener.times[name])
        if before >= began and after <= ended
    ]
    return statistics.median(gaps), percentile(gaps, 0.99), (ended - began) * 1000


def prefix_ratio(engine: Engine, listener: Listener, seed: int) -> tuple[float, float]:
    """Return the TTFT of the first and of the second prompt with a shared prefix, in ms."""
    prefix = tokens(PREFIX_TOKENS, seed)
    took = []
    for ending in (1, 2):
        began = time.perf_counter()
        name = submit(engine, [*prefix, *tokens(8, seed * 10 + ending)], 4)
        listener.wait_for_end([name])
        took.append((listener.times[name][0] - began) * 1000)
    return took[0], took[1]


class WholePrompts(TokenBudget):
    """A token budget without chunked prefill: a prompt is computed in one step."""

    def limits(self, decoding: int, start: int) -> PieceLimits:  # noqa: ARG002 - they make no difference
        return PieceLimits.of(self._most)


def gap_row(engine: Engine, listener: Listener, rounds: Sequence[int], name: str) -> tuple[str, ...]:
    """Return a row of the table of gaps: medians over the rounds."""
    median, worst, ttft = zip(*(gaps_beside_a_long_prompt(engine, listener, number) for number in rounds), strict=True)
    ratio = statistics.median(high / middle for middle, high in zip(median, worst, strict=True))
    return (
        name,
        f"{statistics.median(median):.0f} ms",
        f"{statistics.median(worst):.0f} ms",
        f"{ratio:.2f}",
        f"{statistics.median(ttft) / 1000:.1f} s",
    )


def main() -> None:
    """Run both measurements and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = range(1, parser.parse_args().rounds + 1)
    # A step has room for the whole prompt, so that the run without chunked prefill needs one step.
    settings = load_settings(inference_slots=16, n_batch=2048)
    listener = Listener()
    backend = open_backend(settings)
    engine = Engine(backend, slots=16, default_max_tokens=256, sink=listener)
    engine.start()
    first, second = zip(*(prefix_ratio(engine, listener, 1000 + number) for number in rounds), strict=True)
    rows = [gap_row(engine, listener, rounds, "chunked prefill")]
    engine._token_budget = WholePrompts(backend.batch_tokens, settings.stream_gap_ms / 1000)
    rows.append(gap_row(engine, listener, [100 + number for number in rounds], "without"))
    engine.close()
    ratio = statistics.median(after / before for before, after in zip(first, second, strict=True))
    print_table(
        f"A shared prefix of {PREFIX_TOKENS} tokens",
        ("TTFT first", "TTFT second", "ratio", "target"),
        [(f"{statistics.median(first):.0f} ms", f"{statistics.median(second):.0f} ms", f"{ratio:.3f}",
          f"{PREFIX_TARGET}")],
    )  # fmt: skip
    print_table(
        f"A prompt of {LONG_PROMPT_TOKENS} tokens beside {STREAMS} streams (target of p99 / median: {GAP_TARGET:.0f})",
        ("", "median gap", "p99 gap", "p99 / median", "TTFT of the prompt"),
        rows,
    )


if __name__ == "__main__":
    main()
