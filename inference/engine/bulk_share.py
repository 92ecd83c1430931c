"""Decides how long the engine pauses, so that bulk work on the same host, such as indexing, gets a share of the time.

Bulk work runs only while no other thread needs its processor, and an engine that decodes needs all of them. Left to the
kernel alone, bulk work would stand still; at a higher priority it would interrupt steps, and each interruption holds up
all threads of a step.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

#: How often the engine looks for bulk work.
LOOK_SECONDS = 0.05
#: How long bulk work counts as running after it was last seen: between two micro-batches there is none for a moment.
RECENT_SECONDS = 0.5


class BulkShare:
    """The pauses between the steps of an engine."""

    def __init__(
        self, share: float, is_short_of_time: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            share: of the time while bulk work waits for a processor, from 0 to below 1.
            is_short_of_time: whether it waits for one now.
            clock: in seconds.
        """
        self._share = share
        self._is_short_of_time = is_short_of_time
        self._clock = clock
        self._next_look = self._seen_until = float("-inf")

    def pause(self, step_seconds: float) -> None:
        """Pause after a step that took so long, if bulk work needs the time."""
        if seconds := self.pause_seconds(step_seconds):
            time.sleep(seconds)

    def pause_seconds(self, step_seconds: float) -> float:
        """Return how long the engine shall pause after a step that took so long."""
        if not self._share:
            return 0.0
        now = self._clock()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            if self._is_short_of_time():
                self._seen_until = now + RECENT_SECONDS
        return step_seconds * self._share / (1 - self._share) if now < self._seen_until else 0.0


def others_that_run(load_average: Path = Path("/proc/loadavg")) -> int | None:
    """Return how many other threads of this host run or wait for a processor, or None if the system does not tell."""
    try:
        runnable = load_average.read_text().split()[3].partition("/")[0]
    except FileNotFoundError:
        return None
    return int(runnable) - 1
