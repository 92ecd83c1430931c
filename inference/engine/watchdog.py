"""Ends the process if the engine's thread hangs, because nothing else can stop a hanging call of llama.cpp."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Protocol

from inference.engine.stats import EngineStats

log = logging.getLogger(__name__)

#: The engine hangs if it has finished no step for the larger of this time and SLOWER times its slowest step.
MIN_SILENCE_SECONDS = 60.0
SLOWER = 20
CHECK_SECONDS = 1.0
#: The exit status of a process whose engine hangs.
HANG_STATUS = 70


class Watched(Protocol):
    """The part of the engine that the watchdog reads."""

    last_turn_at: float

    def stats(self) -> EngineStats: ...


def end_process(seconds: float) -> None:
    """End this process at once. Its jobs continue at other workers when their heartbeats have expired."""
    log.critical("The engine has finished no step for %.0f s: this process ends, as it cannot be stopped", seconds)
    logging.shutdown()
    os._exit(HANG_STATUS)


class Watchdog:
    """Calls `on_hang` once if the engine hangs. Time for which this process was stopped does not count."""

    def __init__(
        self,
        engine: Watched,
        on_hang: Callable[[float], None] = end_process,
        min_silence_seconds: float = MIN_SILENCE_SECONDS,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._engine = engine
        self._on_hang = on_hang
        self._min_silence_seconds, self._check_seconds = min_silence_seconds, check_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stopping.set()

    def _run(self) -> None:
        turn, silent, checked_at = self._engine.last_turn_at, 0.0, time.monotonic()
        while not self._stopping.wait(self._check_seconds):
            now = time.monotonic()
            # A check that comes late shows that this process was stopped or starved, as its engine was.
            silent += min(now - checked_at, 2 * self._check_seconds)
            checked_at = now
            if self._engine.last_turn_at != turn:
                turn, silent = self._engine.last_turn_at, 0.0
            elif silent >= max(self._min_silence_seconds, SLOWER * self._engine.stats().slowest_step_seconds):
                self._on_hang(silent)
                return
