"""The stack while `llm-api up` runs it: supervisord, the guard, the start in waves, restarts, and the ordered stop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import psutil

from cli import supervisor as supervisor_config
from cli.drain import Drain
from cli.logs import last_lines
from cli.processes import kill_group, sweep
from cli.programs import PYTHON, Program, child_environment, guard_environment
from cli.runtime import RuntimeDir
from cli.supervisor import START_RETRIES, STATE_FATAL, ProcessInfo, Supervisor
from core.errors import LlmApiError, Unavailable

SUPERVISOR_START_SECONDS = 20.0
POLL_SECONDS = 0.1
#: How often supervisord is asked about processes that all seem to run.
ASK_SECONDS = 5.0
#: A process that supervisord gave up on is started again after this time, for as long as the stack runs.
FATAL_RETRY_SECONDS = 30.0


class StartFailed(LlmApiError):
    """A process did not become ready; the message says which and why. Its output is in `log` from `log_start` on."""

    def __init__(self, message: str, log: Path, log_start: int = 0) -> None:
        super().__init__(message)
        self.log = log
        self.log_start = log_start


@dataclass
class Stack:
    """The running processes of one runtime directory. Only the thread of `llm-api up` uses it.

    `report` is called with a line about each unexpected event; `stopping` returns whether to abandon the start.
    """

    runtime: RuntimeDir
    log_dir: Path
    programs: Sequence[Program]
    start_timeout_seconds: float
    report: Callable[[str], None]
    stopping: Callable[[], bool] = lambda: False
    _supervisord: subprocess.Popen[bytes] | None = None
    _guard: subprocess.Popen[bytes] | None = None
    #: The write end of the guard's pipe.
    _guard_pipe: int | None = None
    _pids: dict[str, int] = field(default_factory=dict)
    #: Processes that were stopped on purpose, while the others run.
    _suspended: set[str] = field(default_factory=set)
    #: supervisord has ended, and not all processes have been started again.
    _is_replacing: bool = False
    _fatal_since: dict[str, float] = field(default_factory=dict)
    #: When supervisord is asked again, even if all processes seem to run.
    _ask_at: float = 0.0
    _log_starts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._supervisor = Supervisor(self.runtime.supervisor_socket)

    @property
    def names(self) -> list[str]:
        """The processes in the order in which they start."""
        return [program.name for program in self.programs]

    def start(self, on_ready: Callable[[str, float], None], on_waiting: Callable[[Sequence[str]], None]) -> None:
        """Start all processes, and return when all of them are ready or when `stopping()`.

        Args:
            on_ready: Called with the name of each process that becomes ready, and how many seconds it took.
            on_waiting: Called repeatedly with the names of those that are not ready yet.

        Raises:
            StartFailed: a process ended repeatedly or was not ready in time.
        """
        self._write_config()
        logs = {name: supervisor_config.log_path(self.log_dir, name) for name in self.names}
        self._log_starts = {name: log.stat().st_size for name, log in logs.items() if log.exists()}
        self._spawn_guard()
        self._spawn_supervisord()
        for wave in sorted({program.wave for program in self.programs}):
            members = [program for program in self.programs if program.wave == wave]
            self._start_wave(members, on_ready, on_waiting)

    def last_log_line(self, name: str) -> str:
        """Return the last line that a process has logged since it was started, or "" if there is none yet."""
        log = supervisor_config.log_path(self.log_dir, name)
        return "".join(last_lines(log, 1, self._log_starts.get(name, 0)))

    def processes(self) -> dict[str, ProcessInfo]:
        """Return all processes by name. Raises `Unavailable`."""
        return self._supervisor.processes()

    def known_pid(self, name: str) -> int | None:
        """Return the pid of a process as of the last `watch`, or None if it did not run then."""
        return self._pids.get(name)

    def add(self, program: Program) -> None:
        """Start a further process, which is watched as the others are.

        Raises:
            ConfigurationError: it cannot be described in supervisord's configuration.
            Unavailable: supervisord does not answer.
        """
        before, self.programs = self.programs, [*self.programs, program]
        try:
            self._write_config()
            self._supervisor.add(program.name)
        except LlmApiError:
            self.programs = before
            self._write_config()
            raise
        self.resume(program.name)

    def suspend(self, name: str) -> None:
        """Stop a process, in its own time, until `resume` or `remove`. Raises `Unavailable`."""
        self._suspended.add(name)
        self._pids.pop(name, None)
        self._supervisor.stop(name)

    def resume(self, name: str) -> None:
        """Start a process again. Raises `Unavailable`."""
        self._suspended.discard(name)
        log = supervisor_config.log_path(self.log_dir, name)
        self._log_starts[name] = log.stat().st_size if log.exists() else 0
        self._supervisor.start(name)

    def remove(self, name: str) -> None:
        """Forget a process that has ended. Raises `Unavailable`."""
        self.programs = [program for program in self.programs if program.name != name]
        self._pids.pop(name, None)
        self._fatal_since.pop(name, None)
        self._suspended.discard(name)
        self._write_config()
        self._supervisor.remove(name)

    def is_supposed_to_run(self, name: str) -> bool:
        """Return whether there is a process of this name that has not been suspended."""
        return name in self.names and name not in self._suspended

    def _write_config(self) -> None:
        supervisor_config.write_config(self.runtime, self.log_dir, [program.spec for program in self.programs])

    def watch(self) -> None:
        """Restart what has failed since the last call. Call this about every second."""
        self._watch_guard()
        if self._is_replacing or (self._supervisord is not None and self._supervisord.poll() is not None):
            self._replace_supervisord()
            return
        # Asking supervisord costs far more than looking for the processes.
        if time.monotonic() < self._ask_at and self._all_run():
            return
        # If supervisord is too busy to answer, it is asked again at the next call.
        with suppress(Unavailable):
            for info in self._supervisor.processes().values():
                self._watch_process(info)
            self._ask_at = time.monotonic() + ASK_SECONDS

    def stop(self, wait_factor: Callable[[], float] = lambda: 1.0) -> None:
        """Stop all processes in order, then supervisord and the guard. No process of the stack remains."""
        with suppress(Unavailable):
            Drain(self._supervisor, self.runtime.path, report=self.report, wait_factor=wait_factor).run()
        with suppress(Unavailable):
            self._supervisor.shutdown()
        if self._supervisord is not None:
            _wait_or_kill(self._supervisord, 5)
        sweep(self.runtime.path, exclude=self._guard_pid)
        self._end_guard()

    def _start_wave(
        self,
        members: Sequence[Program],
        on_ready: Callable[[str, float], None],
        on_waiting: Callable[[Sequence[str]], None],
    ) -> None:
        started = time.monotonic()
        for program in members:
            self._supervisor.start(program.name)
        missing = {program.name: program for program in members}
        while missing and not self.stopping():
            infos = self._supervisor.processes()
            for name, program in list(missing.items()):
                waited = time.monotonic() - started
                if program.ready(infos[name].started_at) and infos[name].pid:
                    del missing[name]
                    on_ready(name, waited)
                else:
                    self._check_start(infos[name], waited)
            on_waiting(list(missing))
            time.sleep(POLL_SECONDS)
        self._pids.update({name: info.pid for name, info in self._supervisor.processes().items() if info.pid})

    def _check_start(self, info: ProcessInfo, waited_seconds: float) -> None:
        if info.state == STATE_FATAL:
            problem = f"{info.name} could not be started: it ended {START_RETRIES + 1} times."
        elif waited_seconds > self.start_timeout_seconds:
            problem = f"{info.name} was not ready within {self.start_timeout_seconds:g} s (START_TIMEOUT_SECONDS)."
        else:
            return
        raise StartFailed(problem, info.log, self._log_starts.get(info.name, 0))

    def _all_run(self) -> bool:
        return all(
            name in self._pids and psutil.pid_exists(self._pids[name])
            for name in self.names
            if name not in self._suspended
        )

    def _watch_process(self, info: ProcessInfo) -> None:
        if info.name in self._suspended:
            return
        before = self._pids.get(info.name)
        if before and info.pid != before:
            # Celery's children outlive a killed parent and would continue to work beside its successor.
            kill_group(before, self.runtime.path)
            del self._pids[info.name]
            self.report(f"{info.name} ended unexpectedly and is restarted")
        if info.pid:
            self._pids[info.name] = info.pid
        if info.state != STATE_FATAL:
            self._fatal_since.pop(info.name, None)
        elif time.monotonic() - self._fatal_since.setdefault(info.name, time.monotonic()) > FATAL_RETRY_SECONDS:
            del self._fatal_since[info.name]
            self._supervisor.start(info.name)
            self.report(f"{info.name} failed repeatedly and is started again; its log: {info.log}")

    def _replace_supervisord(self) -> None:
        """Start supervisord and all processes again. If that fails, the next call of `watch` tries it again."""
        if not self._is_replacing:
            self.report("supervisord ended unexpectedly; all processes are restarted")
        self._is_replacing = True
        try:
            self._restart_all()
        except (StartFailed, Unavailable, OSError) as error:
            self.report(f"the processes could not be restarted, trying again: {error}")
        else:
            self._is_replacing = False

    def _restart_all(self) -> None:
        # Its processes are still running, and hold the sockets and stores that their successors need.
        sweep(self.runtime.path, exclude=self._guard_pid)
        self._pids.clear()
        self._spawn_supervisord()
        for wave in sorted({program.wave for program in self.programs}):
            members = [one for one in self.programs if one.wave == wave and one.name not in self._suspended]
            for program in members:
                self._supervisor.start(program.name)
            if any(program.wave > wave for program in self.programs):
                self._await_readiness(members)

    def _await_readiness(self, members: Sequence[Program]) -> None:
        deadline = time.monotonic() + self.start_timeout_seconds
        while time.monotonic() < deadline and not self.stopping():
            infos = self._supervisor.processes()
            if all(program.ready(infos[program.name].started_at) for program in members):
                return
            time.sleep(POLL_SECONDS)

    def _spawn_supervisord(self) -> None:
        self.runtime.supervisor_socket.unlink(missing_ok=True)
        self.log_dir.mkdir(parents=True, exist_ok=True)
        command = [*PYTHON, "cli.supervisord", "-n", "-c", str(self.runtime.supervisor_config)]
        with _log_file(self.log_dir / "supervisord.out", "wb") as output:
            self._supervisord = subprocess.Popen(
                command,
                env=child_environment(self.runtime),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._await_supervisord(self._supervisord)

    def _await_supervisord(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + SUPERVISOR_START_SECONDS
        while True:
            try:
                self._supervisor.ping()
            except Unavailable as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise StartFailed("supervisord could not be started.", self.log_dir / "supervisord.out") from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def _spawn_guard(self) -> None:
        self.log_dir.mkdir(parents=True, exist_ok=True)
        read_end, write_end = os.pipe()
        try:
            with _log_file(self.log_dir / "guard.log", "ab") as output:
                self._guard = subprocess.Popen(
                    [sys.executable, "-P", "-m", "cli.guard", str(self.runtime.path), str(read_end)],
                    env=guard_environment(),
                    pass_fds=[read_end],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        finally:
            os.close(read_end)
        if self._guard_pipe is not None:
            os.close(self._guard_pipe)
        self._guard_pipe = write_end

    def _watch_guard(self) -> None:
        if self._guard is not None and self._guard.poll() is not None:
            self.report("the guard process ended unexpectedly and is restarted")
            self._spawn_guard()

    @property
    def _guard_pid(self) -> list[int]:
        return [self._guard.pid] if self._guard else []

    def _end_guard(self) -> None:
        if self._guard_pipe is not None:
            os.close(self._guard_pipe)
            self._guard_pipe = None
        if self._guard is not None:
            _wait_or_kill(self._guard, 10)


def _log_file(path: Path, mode: Literal["ab", "wb"]) -> BinaryIO:
    """Open a log, or nothing if a full disk has no room for it."""
    try:
        return path.open(mode)
    except OSError:
        return Path(os.devnull).open(mode)


def _wait_or_kill(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
