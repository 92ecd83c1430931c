"""The stability tracker, with a clock that is only a number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from watchers.reconcile import FileStat
from watchers.stability import Mark, StabilityTracker

STABLE = 1.0
STAT = FileStat(1, 1, 1)
OTHER = FileStat(2, 2, 1)


def tracker() -> StabilityTracker[str]:
    return StabilityTracker(STABLE)


def test_a_path_is_due_once_it_is_stable() -> None:
    paths = tracker()
    paths.mark("a", STAT, 10.0)
    assert paths.next_deadline == 11.0
    assert paths.due(10.9) == []
    assert paths.due(11.0) == [Mark("a", STAT)]
    assert paths.due(12.0) == []
    assert paths.next_deadline is None


def test_every_mark_restarts_the_wait() -> None:
    paths = tracker()
    paths.mark("a", STAT, 10.0)
    paths.mark("a", OTHER, 10.5)
    assert paths.due(11.4) == []
    assert paths.due(11.5) == [Mark("a", OTHER)]


def test_a_scan_restarts_the_wait_only_for_another_state() -> None:
    paths = tracker()
    paths.notice("a", STAT, 10.0)
    paths.notice("a", STAT, 10.5)
    assert paths.next_deadline == 11.0
    paths.notice("a", OTHER, 10.7)
    assert paths.next_deadline == 11.7


def test_a_delay_may_be_given() -> None:
    paths = tracker()
    paths.mark("a", None, 10.0, delay_seconds=0.1)
    assert paths.next_deadline == 10.1


def test_waiting_paths_are_listed() -> None:
    paths = tracker()
    paths.mark("a", STAT, 1.0)
    paths.mark("b", None, 1.0)
    assert len(paths) == 2
    assert list(paths.waiting) == [Mark("a", STAT), Mark("b", None)]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.floats(0, 2, allow_nan=False), st.booleans()), min_size=1, max_size=40
    )
)
def test_each_path_is_due_once_and_exactly_when_it_is_stable(steps: list[tuple[str, float, bool]]) -> None:
    """Compare the tracker with a simple model: the time of the last mark of each path."""
    paths, now = tracker(), 0.0
    last_mark: dict[str, float] = {}
    for key, seconds, takes in steps:
        now += seconds
        if takes:
            expected = {name for name, at in last_mark.items() if at + STABLE <= now}
            assert {mark.key for mark in paths.due(now)} == expected
            last_mark = {name: at for name, at in last_mark.items() if name not in expected}
        else:
            paths.mark(key, STAT, now)
            last_mark[key] = now
        assert paths.next_deadline == min((at + STABLE for at in last_mark.values()), default=None)
    assert len(paths) == len(last_mark)
