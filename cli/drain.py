"""Stopping the stack in order: first the processes that accept new work, last those that hold it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.processes import kill_group
from cli.supervisor import AT_REST_STATES, STARTED_STATES, Supervisor

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Phase:
    """Processes that stop together: TERM, after `term_seconds` QUIT, after `quit_seconds` more KILL."""

    names: frozenset[str]
    term_seconds: float
    quit_seconds: float = 0.0

    def includes(self, name: str) -> bool:
        """Return whether a process stops in this phase. `inference` names the workers of all language models."""
        return name in self.names or name.partition("-")[0] in self.names


#: A process that no phase names stops before the first one. The sum stays below a container's grace period of 75 s.
PHASES = (
    Phase(frozenset({"api"}), 15),
    Phase(frozenset({"watcher"}), 5, 1),
    # On QUIT, Celery gives running tasks a last chance; unfinished work is resumed after the next start.
    Phase(frozenset({"maintenance", "ingest", "index", "inference"}), 15, 10),
    Phase(frozenset({"flower"}), 5),
    Phase(frozenset({"redis"}), 15),
)


class Drain:
    """Stops all processes of a supervisor in order.

    Args:
        supervisor: A client of the running supervisord.
        runtime_dir: The stack's runtime directory, which marks its processes.
        report: Called with a line about each step.
        wait_factor: Returns the factor by which all waits are multiplied; 0 kills at once. Called again at each step.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        runtime_dir: Path,
        *,
        report: Callable[[str], None],
        wait_factor: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._supervisor = supervisor
        self._runtime_dir = runtime_dir
        self._report = report
        self._wait_factor = wait_factor

    def run(self, phases: Sequence[Phase] = PHASES) -> None:
        """Stop all processes.

        Raises:
            Unavailable: supervisord went away meanwhile; the caller has to sweep the remaining processes.
        """
        names = self._supervisor.processes()
        others = frozenset(name for name in names if not any(phase.includes(name) for phase in phases))
        if others:
            self._run_phase(Phase(others, 5, 1))
        for phase in phases:
            self._run_phase(phase)

    def _run_phase(self, phase: Phase) -> None:
        leaders = [info for info in self._supervisor.processes().values() if phase.includes(info.name)]
        for info in leaders:
            # Also stop those that wait for a restart, so that supervisord does not start them again.
            self._supervisor.stop(info.name)
        running = self._wait(frozenset(info.name for info in leaders), phase.term_seconds, "TERM")
        if running and phase.quit_seconds:
            running = self._signal(running, "QUIT", phase.quit_seconds)
        if running:
            self._signal(running, "KILL", 5 / max(self._wait_factor(), 0.1))
        for info in leaders:
            if info.pid:
                kill_group(info.pid, self._runtime_dir)

    def _signal(self, names: Collection[str], signal_name: str, wait_seconds: float) -> frozenset[str]:
        self._report(f"sending {signal_name} to {', '.join(sorted(names))}")
        for name in names:
            self._supervisor.signal(name, signal_name)
        return self._wait(frozenset(names), wait_seconds, signal_name)

    def _wait(self, names: frozenset[str], seconds: float, signal_name: str) -> frozenset[str]:
        started = time.monotonic()
        is_reported = False
        while running := self._running(names):
            waited = time.monotonic() - started
            if waited >= seconds * self._wait_factor():
                break
            if waited > 1 and not is_reported and signal_name == "TERM":
                is_reported = True
                self._report(f"waiting for {', '.join(sorted(running))} to finish")
            time.sleep(POLL_SECONDS)
        return running

    def _running(self, names: frozenset[str]) -> frozenset[str]:
        found = [info for info in self._supervisor.processes().values() if info.name in names]
        for info in found:
            # A process that died by itself just before is started again by supervisord, so stop it again.
            if info.state in STARTED_STATES:
                self._supervisor.stop(info.name)
        return frozenset(info.name for info in found if info.state not in AT_REST_STATES)
