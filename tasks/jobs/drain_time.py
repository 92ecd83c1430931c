"""Estimates how long a full queue takes to drain, from when its last jobs ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence

#: The estimate while too few jobs have ended to compute a rate.
UNKNOWN_SECONDS = 5.0
#: OpenAI's clients ignore a longer `Retry-After`.
MAX_SECONDS = 60.0


def drain_seconds(finished: Sequence[float], waiting: int, now: float) -> float:
    """Return the estimated seconds until `waiting` jobs are done, from 1 to 60.

    Args:
        finished: when the last jobs ended (Unix seconds), the latest first.
        waiting: the number of waiting jobs.
        now: Unix seconds.
    """
    if len(finished) < 2:
        return UNKNOWN_SECONDS
    # The time since the last job ended counts too, so that a stalled queue does not look fast.
    elapsed_seconds = max(now - finished[-1], 1e-3)
    jobs_per_second = len(finished) / elapsed_seconds
    return min(MAX_SECONDS, max(1.0, waiting / jobs_per_second))
