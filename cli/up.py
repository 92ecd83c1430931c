"""`llm-api up` and `llm-api down`."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil
from rich.text import Text

from cli import preflight
from cli.guard import stop_orphans
from cli.host_models import HostModels
from cli.logs import LogPrinter, last_lines
from cli.model_workers import ModelWorkers
from cli.processes import stack_processes, sweep
from cli.programs import Program, flower_password
from cli.readiness import api_url, flower_url
from cli.runtime import Lock, RuntimeDir, lock_owner
from cli.screen import Screen
from cli.stack import Stack, StartFailed
from core.disk import DiskSpace
from core.errors import ConfigurationError, Unavailable
from core.settings import Settings
from tasks.jobs.producer import Producer

LOOP_SECONDS = 0.5
WATCH_SECONDS = 1.0
#: A normal stop waits up to 75 s for running work.
DOWN_TIMEOUT_SECONDS = 100.0
#: After the lock is released, only the end of the interpreter remains.
EXIT_TIMEOUT_SECONDS = 5.0
LOG_LINES_OF_A_FAILURE = 20


class StopRequests:
    """Counts the signals that request a stop: the first one drains, a second one ends all waits."""

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.count = 0

    def install(self) -> None:
        for number in self.SIGNALS:
            signal.signal(number, self._on_signal)

    def any(self) -> bool:
        return self.count > 0

    def wait_factor(self) -> float:
        return 1.0 if self.count < 2 else 0.0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # Only count, because a handler must not take locks. The main loop reads the count several times a second.
        del number, frame
        self.count += 1


class Up:
    """One run of `llm-api up`, in the foreground until a signal stops it.

    Args:
        programs: makes the processes that start together, once the catalog is up to date.
        models: makes what starts and stops the workers of further models, if there are any.
    """

    def __init__(
        self,
        settings: Settings,
        screen: Screen,
        programs: Callable[[], Sequence[Program]],
        models: Callable[[Stack], ModelWorkers] | None = None,
    ) -> None:
        self._models = models
        self._settings = settings
        self._screen = screen
        self._programs = programs
        self._runtime = RuntimeDir(settings.runtime_dir)
        self._log_dir = settings.state_dir / "logs"
        self._disk = DiskSpace(settings)
        self._stop = StopRequests()

    def run(self) -> int:
        """Start the stack, print its logs, and stop it. Return the exit status.

        Raises:
            ConfigurationError: nothing was started; the message names what to change.
        """
        preflight.prepare_directories(self._settings)
        self._runtime.prepare()
        lock = Lock(self._runtime.up_lock)
        self._take_over(lock)
        try:
            preflight.check(self._settings)
            preflight.migrate_catalog(self._settings)
            preflight.check_access(self._settings)
            return self._supervise()
        finally:
            lock.release()

    def _take_over(self, lock: Lock) -> None:
        if not lock.acquire():
            raise ConfigurationError(
                f"llm-api is already running on DATA_DIR={self._settings.state_dir} "
                f"(pid {lock_owner(self._runtime.up_lock)}). Stop it with `llm-api down`, or set another DATA_DIR, "
                "PORT and FLOWER_PORT for a second stack."
            )
        await_guard(self._runtime, self._screen.report)
        if count := sweep(self._runtime.path):
            self._screen.report(f"stopped {count} processes that an earlier run had left behind")

    def _supervise(self) -> int:
        self._stop.install()
        programs = self._programs()
        stack = Stack(
            self._runtime,
            self._log_dir,
            programs,
            self._settings.start_timeout_seconds,
            report=self._screen.report,
            stopping=self._stop.any,
        )
        self._screen.print(Text(f"Starting {len(programs)} processes (logs: {self._log_dir})", style="bold"))
        try:
            self._start(stack)
            if not self._stop.any():
                self._run(stack)
        except StartFailed as failure:
            self._explain(failure)
            return 1
        finally:
            self._screen.report("stopping (a second signal or Ctrl-C stops at once)")
            stack.stop(self._stop.wait_factor)
            self._screen.report("stopped; no process is left")
        return 0

    def _start(self, stack: Stack) -> None:
        started = time.monotonic()
        with self._screen.waiting("starting …") as spinner:

            def on_ready(name: str, seconds: float) -> None:
                self._screen.print(Text.assemble(("  ✓ ", "green"), f"{name:<12} ready after {seconds:.1f} s"))

            def on_waiting(names: Sequence[str]) -> None:
                if spinner is not None and names:
                    waited = f"waiting for {', '.join(names)} ({time.monotonic() - started:.0f} s)"
                    # A large model takes minutes to load, and its worker logs the progress.
                    spinner.update(Text(f"{waited}  {stack.last_log_line(names[0])}"))

            stack.start(on_ready, on_waiting)

    def _run(self, stack: Stack) -> None:
        if self._models is None:
            self._watch(stack, lambda: None)
            return
        models = self._models(stack)
        models.start()
        try:
            self._watch(stack, models.tick)
        finally:
            models.close()

    def _watch(self, stack: Stack, watch_models: Callable[[], None]) -> None:
        printer = LogPrinter(self._screen, self._log_dir, stack.names)
        self._welcome()
        watched = time.monotonic()
        while not self._stop.any():
            printer.print_new()
            if time.monotonic() - watched >= WATCH_SECONDS:
                stack.watch()
                watch_models()
                self._disk.is_short(report=self._screen.report)
                watched = time.monotonic()
            time.sleep(LOOP_SECONDS)

    def _welcome(self) -> None:
        settings = self._settings
        login = f"{settings.flower_user} / {flower_password(settings)}"
        lines = [
            "",
            "[bold green]llm-api is ready[/]",
            f"  API      {api_url(settings)}",
            f"  Docs     {api_url(settings)}/docs",
            f"  Flower   {flower_url(settings)}   login: {login}",
            *(f"  Inbox    {root.path}  → collection {root.collection}" for root in settings.watch_roots),
            *(f"  Web      {site.url}  → collection {site.collection}" for site in settings.watch_sites),
        ]
        if settings.model_path is None and settings.model_repo_id is None:
            lines += [
                "",
                "[yellow]The language model is the starter, SmolLM2-135M, which only shows that every part works.[/]",
                "[yellow]For real use, set MODEL_PATH=/path/to/model.gguf (a GGUF file of an instruct model).[/]",
            ]
        self._screen.print(*lines, "  Ctrl-C or `llm-api down` stops it.", "")

    def _explain(self, failure: StartFailed) -> None:
        self._screen.print(Text(failure.message, style="bold red"))
        for line in last_lines(failure.log, LOG_LINES_OF_A_FAILURE, failure.log_start):
            self._screen.print(Text("  │ ", style="red") + Text.from_ansi(line))
        self._screen.print(Text(f"The whole log: {failure.log}", style="bold"))


def up(settings: Settings, screen: Screen) -> int:
    """Run the whole stack until a signal stops it. Return the exit status."""
    producer = Producer(settings)
    models = HostModels(settings, RuntimeDir(settings.runtime_dir), producer, screen.report)
    try:
        return Up(settings, screen, models.programs, models.workers).run()
    finally:
        models.close()
        producer.close()


def down(settings: Settings, screen: Screen) -> int:
    """Stop a running stack, or what is left of a killed one. Return the exit status."""
    runtime = RuntimeDir(settings.runtime_dir)
    owner = lock_owner(runtime.up_lock)
    if owner is None:
        await_guard(runtime, screen.print)
        count = stop_orphans(runtime) if stack_processes(runtime.path) else 0
        screen.print(f"stopped {count} processes of an earlier run" if count else "llm-api is not running")
        return 0
    with suppress(ProcessLookupError):
        os.kill(owner, signal.SIGTERM)
    with screen.waiting(f"stopping llm-api (pid {owner}) …"):
        _await_release(runtime.up_lock)
        _await_exit(owner)
    screen.print("stopped")
    return 0


def await_guard(runtime: RuntimeDir, report: Callable[[str], None]) -> None:
    """Wait until the guard of a killed run has stopped the remaining processes. Kill a guard that hangs."""
    owner = lock_owner(runtime.guard_lock)
    if owner is None:
        return
    report("waiting for the processes of an earlier run to stop")
    try:
        _await_release(runtime.guard_lock)
    except Unavailable:
        with suppress(psutil.Error):
            psutil.Process(owner).kill()


def _await_release(lock: Path) -> None:
    deadline = time.monotonic() + DOWN_TIMEOUT_SECONDS
    while (owner := lock_owner(lock)) is not None:
        if time.monotonic() > deadline:
            raise Unavailable(f"Process {owner} does not end. Its logs are in DATA_DIR/logs.")
        time.sleep(LOOP_SECONDS)


def _await_exit(pid: int) -> None:
    """Wait until a process that has released its lock has ended too. A zombie counts as ended."""
    deadline = time.monotonic() + EXIT_TIMEOUT_SECONDS
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(LOOP_SECONDS / 4)
