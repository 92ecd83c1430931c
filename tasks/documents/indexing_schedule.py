"""The schedule of the indexer, which decides the next action from the runs and the time. Pure; the clock is passed in.

One or several documents are indexed in a run, and a run in steps of one batch each. Short runs go first. Every
`INTERRUPT_SECONDS` a long run is interrupted by a poll that takes short documents only, so that a file of one page does
not wait for a book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: The longest pause between polls while no message comes, as a message may be lost.
IDLE_SECONDS = 5.0
#: The first pause once a poll finds nothing, and the pause after a message. More work may have come without a message
#: of its own, see `Producer.wake_indexer`.
BUSY_SECONDS = 0.25
#: How long a long run continues before a poll interrupts it.
INTERRUPT_SECONDS = 0.5
#: How long no documents are taken after a fault.
FAULT_PAUSE_SECONDS = 1.0
#: The most chunks of a short run. Documents of fewer chunks share a run, so that the model gets full batches.
SHORT_CHUNKS = 64
#: The most documents that a poll takes, and one that interrupts a long run.
POLL_LIMIT, INTERRUPT_LIMIT = 64, 16


@dataclass(frozen=True)
class RunState:
    """The progress of a run. Its `chunks` are indexed in each of its `models` in turn; `done` is the sum over these."""

    chunks: int
    done: int = 0
    models: int = 1

    @property
    def is_short(self) -> bool:
        return self.chunks <= SHORT_CHUNKS

    @property
    def remaining(self) -> int:
        return self.chunks * self.models - self.done


@dataclass(frozen=True)
class Poll:
    """Delete and rename documents, and take up to `limit` new ones of at most `max_chunks` chunks (None: any number).

    A poll that interrupts a run does not change placements.
    """

    limit: int
    max_chunks: int | None = None

    @property
    def interrupts(self) -> bool:
        return self.max_chunks is not None


@dataclass(frozen=True)
class Step:
    """Index the next batch of the run at this index."""

    run: int


@dataclass(frozen=True)
class Wait:
    """Do nothing for this time, or until a message comes."""

    seconds: float


Action = Poll | Step | Wait


class IndexingSchedule:
    """Decides the next action of the indexer. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._poll_at = 0.0
        self._pause = BUSY_SECONDS
        self._was_woken = False
        self._fault_pause_until = 0.0
        #: When the long runs that continue now were last interrupted, or began. None while there is none.
        self._long_since: float | None = None

    def next_action(self, now: float, runs: Sequence[RunState]) -> Action:
        """Return the next action. After a `Poll`, call `polled`; after a fault, `failed`; after a message, `woken`."""
        short = [index for index, run in enumerate(runs) if run.is_short]
        if short:
            self._long_since = None
            return Step(min(short, key=lambda index: runs[index].remaining))
        if not runs:
            self._long_since = None
            poll_at = max(self._poll_at, self._fault_pause_until)
            return Poll(POLL_LIMIT) if now >= poll_at else Wait(poll_at - now)
        if self._long_since is None:
            self._long_since = now  # guarantees a step, even if each poll takes longer than INTERRUPT_SECONDS
        elif now - self._long_since >= INTERRUPT_SECONDS and now >= self._fault_pause_until:
            self._long_since = None
            return Poll(INTERRUPT_LIMIT, SHORT_CHUNKS)
        return Step(min(range(len(runs)), key=lambda index: runs[index].remaining))

    def polled(self, now: float, *, found: bool) -> None:
        """Set the time of the next poll. While polls find nothing, the pauses double, up to `IDLE_SECONDS`."""
        if found:
            self._poll_at, self._pause = now, BUSY_SECONDS
        elif self._was_woken:
            self._poll_at = now + BUSY_SECONDS
        else:
            self._poll_at = now + self._pause
            self._pause = min(IDLE_SECONDS, 2 * self._pause)
        self._was_woken = False

    def woken(self, now: float) -> None:
        """Poll at once, because a message has come."""
        self._poll_at = now
        self._was_woken = True

    def failed(self, now: float) -> None:
        """Take no documents for FAULT_PAUSE_SECONDS. Runs continue."""
        self._fault_pause_until = now + FAULT_PAUSE_SECONDS
