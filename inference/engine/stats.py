"""The engine's counters, for `/metrics` and the worker's announcements."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

#: The time over which the token rate is averaged.
WINDOW_SECONDS = 5.0


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
    #: Of the last steps: time, and tokens generated until then.
    _history: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=4096))

    def observe_step(self, prompt_tokens: int, sequences: int, seconds: float) -> None:
        self.steps += 1
        self.prompt_tokens += prompt_tokens
        self.batch_sequences = sequences
        self.step_seconds = seconds
        self.slowest_step_seconds = max(self.slowest_step_seconds, seconds)
        now = time.monotonic()
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
        )

    def _rate(self) -> float:
        """Return the generated tokens per second over the last `WINDOW_SECONDS`, 0 if nothing ran."""
        history = list(self._history)
        now = time.monotonic()
        recent = [entry for entry in history if entry[0] >= now - WINDOW_SECONDS]
        if len(recent) < 2:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / max(now - recent[0][0], 1e-6)
