"""When the engine pauses for bulk work, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from inference.engine.bulk_share import LOOK_SECONDS, RECENT_SECONDS, BulkShare, others_that_run


class Host:
    """A host with bulk work that waits, or none, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits = False
        self.looks = 0

    def is_short_of_time(self) -> bool:
        self.looks += 1
        return self.waits

    def share(self, share: float = 0.2) -> BulkShare:
        return BulkShare(share, self.is_short_of_time, lambda: self.now)


def test_pauses_are_the_share_of_all_time() -> None:
    host = Host()
    host.waits = True
    assert host.share(0.2).pause_seconds(0.08) == pytest.approx(0.02)
    assert host.share(0.5).pause_seconds(0.08) == pytest.approx(0.08)


def test_nobody_pauses_while_no_bulk_work_waits() -> None:
    assert Host().share().pause_seconds(0.08) == 0


def test_the_engine_looks_only_now_and_then_and_never_without_a_share() -> None:
    host = Host()
    share = host.share()
    for _ in range(3):
        share.pause_seconds(0.01)
    assert host.looks == 1
    host.now += LOOK_SECONDS
    share.pause_seconds(0.01)
    assert host.looks == 2
    host.share(0.0).pause_seconds(0.01)
    assert host.looks == 2


def test_pauses_end_when_bulk_work_has_not_been_seen_for_some_time() -> None:
    host = Host()
    share = host.share()
    host.waits = True
    assert share.pause_seconds(0.08)
    host.waits = False
    host.now += RECENT_SECONDS - LOOK_SECONDS
    assert share.pause_seconds(0.08)
    host.now += LOOK_SECONDS
    assert not share.pause_seconds(0.08)


def test_other_threads_are_those_that_linux_counts_without_the_caller(tmp_path: Path) -> None:
    (tmp_path / "loadavg").write_text("0.43 1.51 2.00 3/79 22073\n")
    assert others_that_run(tmp_path / "loadavg") == 2
    assert others_that_run(tmp_path / "none") is None
