"""The schedule of the indexer: what it does next, given what waits and what runs. Pure; the clock is passed in.

Documents are indexed in runs of one or several documents, and a run in steps of one batch each. Short runs go first. A
long run is interrupted every `INTERRUPT_SECONDS` by a look at what has come since, of which only short documents are
taken, so that a file of one page does not wait for a book.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: How often the indexer looks for work if no message wakes it: a message may be lost.
IDLE_SECONDS = 5.0
#: The first pause after work, and the pause after a message: more may have come without a message of its own, see
#: `Producer.wake_indexer`.
BUSY_SECONDS = 0.25
#: How long a long run has the indexer to itself.
INTERRUPT_SECONDS = 0.5
#: After a fault of the store, the catalog or a document, before anything new is taken.
FAULT_PAUSE_SECONDS = 1.0
#: Chunks of a short run. Documents of fewer chunks are indexed side by side, so that the model has full batches.
SHORT_CHUNKS = 64
#: Documents taken at a look, and at one that interrupts a long run.
LOOK_LIMIT, INTERRUPT_LIMIT = 64, 16


@dataclass(frozen=True)
class RunState:
    """How far a run is. Its `chunks` are indexed in each of its `models` in turn, and `done` counts all of that."""

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
class Look:
    """Delete, rename, and take documents: at most `limit`, of at most `max_chunks` chunks each (None: any size).

    While a run is interrupted, placements stay as they are.
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
    """Do nothing for so long, or until a message comes."""

    seconds: float


Action = Look | Step | Wait


class IndexingSchedule:
    """Decides what the indexer does next. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._look_at = 0.0
        self._pause = BUSY_SECONDS
        self._faultless_after = 0.0
        #: Since when long runs have the indexer to themselves; None while there is none.
        self._long_since: float | None = None

    def next_action(self, now: float, runs: Sequence[RunState]) -> Action:
        """Return the next action. After a `Look`, call `looked`; after a fault, `failed`; after a message, `woken`."""
        short = [index for index, run in enumerate(runs) if run.is_short]
        if short:
            self._long_since = None
            return Step(min(short, key=lambda index: runs[index].remaining))
        if not runs:
            self._long_since = None
            look_at = max(self._look_at, self._faultless_after)
            return Look(LOOK_LIMIT) if now >= look_at else Wait(look_at - now)
        if self._long_since is None:
            self._long_since = now  # at least one step, even if a look takes longer than INTERRUPT_SECONDS
        elif now - self._long_since >= INTERRUPT_SECONDS and now >= self._faultless_after:
            self._long_since = None
            return Look(INTERRUPT_LIMIT, SHORT_CHUNKS)
        return Step(min(range(len(runs)), key=lambda index: runs[index].remaining))

    def looked(self, now: float, *, found: bool, was_woken: bool) -> None:
        """Take in what a look has found. Without work the pauses double, up to `IDLE_SECONDS`."""
        if found:
            self._look_at, self._pause = now, BUSY_SECONDS
        elif was_woken:
            self._look_at = now + BUSY_SECONDS
        else:
            self._look_at = now + self._pause
            self._pause = min(IDLE_SECONDS, 2 * self._pause)

    def woken(self, now: float) -> None:
        """Look at once: a message says that there is something to do."""
        self._look_at = now

    def failed(self, now: float) -> None:
        """Take nothing new for a while. Runs go on."""
        self._faultless_after = now + FAULT_PAUSE_SECONDS
