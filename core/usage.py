"""Counts of requests and tokens. Each process gathers them in memory and writes them to the catalog in portions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from core.errors import LlmApiError

log = logging.getLogger(__name__)

#: How often a process writes what it has counted. A process that is killed loses the counts of this time.
FLUSH_SECONDS = 5.0
#: How long the counts of a day are kept.
USAGE_RETENTION_DAYS = 400


@dataclass(frozen=True)
class DailyUsage:
    """What the bearer of a key has used on a day (ISO 8601, UTC), or in a part of it."""

    day: str
    owner: str
    key: str
    #: Requests for work (POST).
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: DailyUsage) -> DailyUsage:
        return replace(
            self,
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


class UsageMeter:
    """Counts in memory. A thread writes the counts every FLUSH_SECONDS, and `close` the last ones. Thread-safe."""

    def __init__(self, write: Callable[[Sequence[DailyUsage]], None], clock: Callable[[], float] = time.time) -> None:
        self._write = write
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str, str], DailyUsage] = {}
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._flush_often, name="usage", daemon=True)
        self._thread.start()

    def count(
        self, owner: str, key: str, *, requests: int = 0, prompt_tokens: int = 0, completion_tokens: int = 0
    ) -> None:
        """Count what a request of this key, which `owner` bears, has used."""
        if requests or prompt_tokens or completion_tokens:
            self._add([DailyUsage(iso_day(self._clock()), owner, key, requests, prompt_tokens, completion_tokens)])

    def flush(self) -> None:
        """Write what has been counted. If the catalog does not answer, it is written later."""
        with self._lock:
            counts, self._counts = list(self._counts.values()), {}
        try:
            if counts:
                self._write(counts)
        except LlmApiError as error:
            self._add(counts)
            log.warning("the usage of %d keys is written later: %s", len(counts), error.message)
        except BaseException:
            self._add(counts)
            raise

    def close(self) -> None:
        """Write the last counts."""
        self._closing.set()
        self._thread.join()
        self.flush()

    def _add(self, counts: Sequence[DailyUsage]) -> None:
        with self._lock:
            for one in counts:
                row = (one.day, one.owner, one.key)
                self._counts[row] = self._counts[row] + one if row in self._counts else one

    def _flush_often(self) -> None:
        while not self._closing.wait(FLUSH_SECONDS):
            try:
                self.flush()
            except Exception:  # a fault in one portion must not end the counting
                log.exception("the usage could not be written; it is tried again")


def iso_day(unix_seconds: float) -> str:
    """Return the day in UTC as ISO 8601 writes it: `2026-11-30`."""
    return time.strftime("%Y-%m-%d", time.gmtime(unix_seconds))


def seconds_to_midnight(unix_seconds: float) -> float:
    """Return the seconds until the next day begins in UTC."""
    return 86400 - unix_seconds % 86400
