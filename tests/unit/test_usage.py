"""Usage is gathered in memory, written in portions, and not lost at a fault or an orderly end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import core.usage
from core.errors import Unavailable
from core.usage import DailyUsage, UsageMeter, iso_day, seconds_to_midnight
from tests.support import wait_until

NOW = 1_700_000_000.0


class Table:
    """Adds up what is written. `failures` are raised first."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.rows: list[DailyUsage] = []

    def add(self, counts: Sequence[DailyUsage]) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.rows += counts


def test_counts_are_written_in_one_portion_when_the_meter_is_closed() -> None:
    table = Table()
    meter = UsageMeter(table.add, clock=lambda: NOW)
    for _ in range(100):
        meter.count("alice", "k1", requests=1)
        meter.count("alice", "k1", prompt_tokens=3, completion_tokens=2)
        meter.count("bob", "k2")
    assert table.rows == [], "a request costs no write"
    meter.close()
    assert table.rows == [DailyUsage("2023-11-14", "alice", "k1", 100, 300, 200)]


def test_what_could_not_be_written_is_written_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.usage, "FLUSH_SECONDS", 0.01)
    table = Table(Unavailable("The catalog does not answer."), ValueError("a fault of any other kind"))
    meter = UsageMeter(table.add, clock=lambda: NOW)
    meter.count("alice", "k1", requests=2)
    wait_until(lambda: table.rows)
    meter.close()
    assert table.rows == [DailyUsage("2023-11-14", "alice", "k1", 2)]


def test_days_are_those_of_utc() -> None:
    assert iso_day(0) == "1970-01-01" and iso_day(86399.9) == "1970-01-01" and iso_day(86400) == "1970-01-02"
    assert seconds_to_midnight(86390.0) == 10
