from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from cli import drain
from cli.drain import Drain, Phase
from cli.supervisor import ProcessInfo, Supervisor


class FakeSupervisor:
    """Processes that end at the signals in `ends_at`. `restarting` was just killed and is about to start again."""

    def __init__(self, ends_at: dict[str, str], restarting: str = "") -> None:
        self.ends_at = ends_at
        self.states = dict.fromkeys(ends_at, "RUNNING")
        if restarting:
            self.states[restarting] = "EXITED"
        self.calls: list[tuple[str, str]] = []

    def processes(self) -> dict[str, ProcessInfo]:
        found = {
            name: ProcessInfo(name, state, 0, 0.0, 0, Path(f"{name}.log"), "") for name, state in self.states.items()
        }
        self.states.update({name: "RUNNING" for name, state in self.states.items() if state == "EXITED"})
        return found

    def stop(self, name: str) -> None:
        if self.states[name] == "RUNNING":
            self._receive(name, "TERM")

    def signal(self, name: str, signal_name: str) -> None:
        self._receive(name, signal_name)

    def _receive(self, name: str, signal_name: str) -> None:
        self.calls.append((name, signal_name))
        self.states[name] = "STOPPED" if self.ends_at[name] == signal_name else "STOPPING"


def drained(supervisor: FakeSupervisor, *phases: Phase, wait_factor: float = 1.0) -> list[str]:
    reports: list[str] = []
    Drain(cast(Supervisor, supervisor), Path("/nowhere"), report=reports.append, wait_factor=lambda: wait_factor).run(
        phases
    )
    return reports


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "POLL_SECONDS", 0.001)


def phase(*names: str, **seconds: float) -> Phase:
    return Phase(frozenset(names), **{"term_seconds": 0.02, "quit_seconds": 0.02, **seconds})


def test_phases_run_one_after_the_other() -> None:
    supervisor = FakeSupervisor({"redis": "TERM", "api": "TERM", "index": "TERM"})
    drained(supervisor, phase("api"), phase("index"), phase("redis"))
    assert supervisor.calls == [("api", "TERM"), ("index", "TERM"), ("redis", "TERM")]


def test_a_process_that_does_not_end_at_term_gets_quit_then_kill() -> None:
    supervisor = FakeSupervisor({"polite": "TERM", "busy": "QUIT", "stuck": "KILL"})
    reports = drained(supervisor, phase("polite", "busy", "stuck"))
    assert [signal for name, signal in supervisor.calls if name == "polite"] == ["TERM"]
    assert [signal for name, signal in supervisor.calls if name == "busy"] == ["TERM", "QUIT"]
    assert [signal for name, signal in supervisor.calls if name == "stuck"] == ["TERM", "QUIT", "KILL"]
    assert "sending KILL to stuck" in reports


def test_a_process_that_died_just_before_is_stopped_when_it_restarts() -> None:
    supervisor = FakeSupervisor({"index": "TERM"}, restarting="index")
    drained(supervisor, phase("index", term_seconds=5.0))
    assert supervisor.states == {"index": "STOPPED"}


def test_a_wait_factor_of_zero_kills_at_once() -> None:
    supervisor = FakeSupervisor({"stuck": "KILL"})
    drained(supervisor, phase("stuck", term_seconds=1000.0, quit_seconds=1000.0), wait_factor=0.0)
    assert supervisor.states == {"stuck": "STOPPED"}


def test_a_process_that_is_in_no_phase_is_stopped_first() -> None:
    supervisor = FakeSupervisor({"redis": "TERM", "extra": "TERM"})
    drained(supervisor, phase("redis"))
    assert supervisor.calls[0] == ("extra", "TERM")


def test_the_default_phases_end_within_the_grace_period_of_a_container() -> None:
    longest: Any = sum(each.term_seconds + each.quit_seconds for each in drain.PHASES)
    assert longest <= 75
