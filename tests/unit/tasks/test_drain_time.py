"""How long a client is emitted to wait when the queue is full."""

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
        ([940, 939, 938], 4, 60),  # it has stood still for a minute
    ],
)
def test_the_wait_is_that_of_the_queue_at_its_own_pace(finished: list[float], waiting: int, seconds: float) -> None:
    assert drain_seconds(finished, waiting, now=1000) == pytest.approx(seconds)
