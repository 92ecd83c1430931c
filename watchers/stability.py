"""The decision of when a file is stable. Pure: the time and the state of the file are passed in."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from watchers.reconcile import FileStat

KeyT = TypeVar("KeyT", bound=Hashable)


@dataclass(frozen=True)
class Mark(Generic[KeyT]):
    """A path that something happened to, and the state of its file at that time (None: there was no file)."""

    key: KeyT
    stat: FileStat | None


class StabilityTracker(Generic[KeyT]):
    """Paths that wait until nothing has happened to them for `stable_seconds`. All times are of one monotonic clock."""

    def __init__(self, stable_seconds: float) -> None:
        self._stable_seconds = stable_seconds
        self._marks: dict[KeyT, tuple[Mark[KeyT], float]] = {}
        # Postponed deadlines stay in the heap and are skipped when they are due.
        self._deadlines: list[tuple[float, int, KeyT]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        return len(self._marks)

    def mark(self, key: KeyT, stat: FileStat | None, now: float, *, delay_seconds: float | None = None) -> None:
        """Restart the wait of a path, because something happened to it."""
        deadline = now + (self._stable_seconds if delay_seconds is None else delay_seconds)
        self._marks[key] = (Mark(key, stat), deadline)
        heapq.heappush(self._deadlines, (deadline, next(self._order), key))

    def notice(self, key: KeyT, stat: FileStat | None, now: float) -> None:
        """Start the wait of a path that a scan found, unless the path already waits with the same state."""
        known = self._marks.get(key)
        if known is None or known[0].stat != stat:
            self.mark(key, stat, now)

    def due(self, now: float) -> list[Mark[KeyT]]:
        """Remove and return the paths that have been stable long enough, in the order of their deadlines."""
        found = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, _, key = heapq.heappop(self._deadlines)
            mark, current = self._marks.get(key, (None, 0.0))
            if mark is not None and current == deadline:
                del self._marks[key]
                found.append(mark)
        return found

    @property
    def next_deadline(self) -> float | None:
        """The earliest time at which `due` returns a path; None while no path waits."""
        while self._deadlines:
            deadline, _, key = self._deadlines[0]
            if key in self._marks and self._marks[key][1] == deadline:
                return deadline
            heapq.heappop(self._deadlines)
        return None

    @property
    def waiting(self) -> Iterator[Mark[KeyT]]:
        """All paths that wait."""
        return (mark for mark, _ in self._marks.values())
