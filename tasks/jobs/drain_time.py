"""How long a full queue takes to empty, from when its last jobs ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence

#: Told when too few jobs have ended to know better.
UNKNOWN_SECONDS = 5.0
#: OpenAI's clients do not honour a longer wait.
MAX_SECONDS = 60.0


def drain_seconds(finished: Sequence[float], waiting: int, now: float) -> float:
    """Seconds until `waiting` jobs are done, from 1 to 60.

    Args:
        finished: when the last jobs ended (Unix seconds), the latest first.
        waiting: how many jobs wait.
        now: Unix seconds.
    """
    if len(finished) < 2:
        return UNKNOWN_SECONDS
    # The gap since the last one counts too: a queue that stands still must not look fast.
    took = max(now - finished[-1], 1e-3)
    rate = len(finished) / took
    return min(MAX_SECONDS, max(1.0, waiting / rate))
