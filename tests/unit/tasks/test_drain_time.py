"""The estimated time until a full queue is drained."""

from __future__ import annotations

import pytest

from tasks.jobs.drain_time import drain_seconds


@pytest.mark.parametrize(
    ("finished", "waiting", "seconds"),
    [
        ([], 256, 5),
        ([1000], 256, 5),
        ([1000, 999, 998, 997], 8, 6),  # four in three seconds
        ([1000, 999.9, 999.8], 1, 1),
        ([1000, 990, 980], 256, 60),
        ([940, 939, 938], 4, 60),  # no job has ended for a minute
    ],
)
def test_the_estimate_follows_the_rate_of_the_last_jobs(finished: list[float], waiting: int, seconds: float) -> None:
    assert drain_seconds(finished, waiting, now=1000) == pytest.approx(seconds)
