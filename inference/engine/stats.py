"""The engine's counters, for `/metrics` and the worker's announcements."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

#: The time over which the token rate is averaged.
WINDOW_SECONDS = 5.0
#: The upper bounds in which the times between two tokens are counted.
TOKEN_GAP_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class EngineStats:
    """A snapshot. Counts are since the start; `kv_*` are tokens in the KV cache, `parked` tokens of cached prompts."""

    slots: int
    running: int
    waiting: int
    tokens_per_second: float
    steps: int
    generated_tokens: int
    prompt_tokens: int
    cached_tokens: int
    finished: int
    preemptions: int
    crashes: int
    kv_used: int
    kv_total: int
    parked: int
    #: Sequences and seconds of the last step.
    batch_sequences: int
    step_seconds: float
    slowest_step_seconds: float
    #: Tokens of the prompts that were looked up in the cache, and those that it held.
    prefix_queries: int
    prefix_hits: int
    #: The number of times between two tokens of a sequence, by TOKEN_GAP_SECONDS and above, and their sum.
    token_gaps: tuple[int, ...]
    token_gap_seconds: float


@dataclass(slots=True)
class Counters:
    """Counts since the start. Written by the engine's thread, read by any thread."""

    steps: int = 0
    generated_tokens: int = 0
    #: Prompt tokens that were computed, and those that the cache held.
    prompt_tokens: int = 0
    cached_tokens: int = 0
    finished: int = 0
    crashes: int = 0
    batch_sequences: int = 0
    step_seconds: float = 0.0
    slowest_step_seconds: float = 0.0
    prefix_queries: int = 0
    prefix_hits: int = 0
    token_gaps: list[int] = field(default_factory=lambda: [0] * (len(TOKEN_GAP_SECONDS) + 1))
    token_gap_seconds: float = 0.0
    #: When the last step ended, by `time.monotonic`.
    _stepped_at: float = 0.0
    #: Of the last steps: time, and tokens generated until then.
    _history: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=4096))

    def observe_prompt(self, tokens: int, cached: int) -> None:
        """Count a prompt that has just been computed, as far as it was not cached."""
        self.prefix_queries += tokens
        self.prefix_hits += cached

    def observe_step(self, pieces: Sequence[tuple[int, int]], sequences: int, seconds: float, decoding: int) -> None:
        """Count a step that has just ended.

        Args:
            pieces: of prompts; for each the number of tokens that precede it, and its own.
            decoding: the sequences that have got a token, and had got the one before it in the last step.
        """
        self.steps += 1
        self.prompt_tokens += sum(count for _, count in pieces)
        self.batch_sequences = sequences
        self.step_seconds = seconds
        self.slowest_step_seconds = max(self.slowest_step_seconds, seconds)
        now = time.monotonic()
        if decoding:
            gap = now - self._stepped_at
            self.token_gaps[bisect_left(TOKEN_GAP_SECONDS, gap)] += decoding
            self.token_gap_seconds += gap * decoding
        self._stepped_at = now
        self._history.append((now, self.generated_tokens))
        while self._history[0][0] < now - WINDOW_SECONDS:
            self._history.popleft()

    def snapshot(
        self, *, slots: int, running: int, waiting: int, preemptions: int, kv_used: int, kv_total: int, parked: int
    ) -> EngineStats:
        return EngineStats(
            slots=slots,
            running=running,
            waiting=waiting,
            tokens_per_second=self._rate(),
            steps=self.steps,
            generated_tokens=self.generated_tokens,
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            finished=self.finished,
            preemptions=preemptions,
            crashes=self.crashes,
            kv_used=kv_used,
            kv_total=kv_total,
            parked=parked,
            batch_sequences=self.batch_sequences,
            step_seconds=self.step_seconds,
            slowest_step_seconds=self.slowest_step_seconds,
            prefix_queries=self.prefix_queries,
            prefix_hits=self.prefix_hits,
            token_gaps=tuple(self.token_gaps),
            token_gap_seconds=self.token_gap_seconds,
        )

    def _rate(self) -> float:
        """Return the generated tokens per second over the last `WINDOW_SECONDS`, 0 if nothing ran."""
        history = list(self._history)
        now = time.monotonic()
        recent = [entry for entry in history if entry[0] >= now - WINDOW_SECONDS]
        if len(recent) < 2:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / max(now - recent[0][0], 1e-6)
