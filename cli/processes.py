"""Finding and ending the processes of one stack, by a marker in their environment. Imports only psutil."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

#: Set in the environment of every process of a stack, to the stack's runtime directory.
MARKER = "LLM_API_STACK"


def stack_processes(runtime_dir: Path, exclude: Collection[int] = ()) -> list[psutil.Process]:
    """Return the living processes of the stack with this runtime directory, whatever their parent is now.

    The calling process is not among them.
    """
    skipped = {os.getpid(), *exclude}
    return [process for process in _own_processes() if process.pid not in skipped and _belongs(process, runtime_dir)]


def sweep(runtime_dir: Path, *, exclude: Collection[int] = (), grace_seconds: float = 3.0) -> int:
    """End every process of the stack: TERM, and KILL after the grace period. Return their number.

    supervisord is killed at once, because it would start the others again.
    """
    found: set[int] = set()
    while processes := stack_processes(runtime_dir, exclude):
        found.update(process.pid for process in processes)
        for process in processes:
            with suppress(psutil.Error):
                process.kill() if _is_supervisord(process) else process.terminate()
        _, alive = psutil.wait_procs(processes, timeout=grace_seconds)
        _kill(alive)
    return len(found)


def kill_group(group: int, runtime_dir: Path) -> int:
    """Kill what is left of a supervised process's group after its leader is gone. Return the number of processes.

    The marker is checked, so it does no harm if the system has reused the number for another group.
    """
    members = [process for process in stack_processes(runtime_dir) if _group_of(process) == group]
    _kill(members)
    return len(members)


@dataclass(frozen=True)
class Memory:
    """Memory in bytes: `resident` is what is mapped in RAM, `own` counts a page that n processes share as 1/n page."""

    own: int = 0
    resident: int = 0

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.own + other.own, self.resident + other.resident)


def memory_of(process: psutil.Process) -> Memory:
    """Return the memory of a process, or none if it is gone. Only Linux knows shares; elsewhere, both are resident."""
    try:
        resident = int(process.memory_info().rss)
        try:
            return Memory(int(process.memory_full_info().pss), resident)
        except (psutil.AccessDenied, AttributeError):
            return Memory(resident, resident)
    except psutil.Error:
        return Memory()


def _own_processes() -> Iterator[psutil.Process]:
    own_user = os.getuid()
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == own_user:
                yield process


def _belongs(process: psutil.Process, runtime_dir: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get(MARKER) == str(runtime_dir)
    except (psutil.Error, OSError):
        return False


def _is_supervisord(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "cli.supervisord" in process.cmdline()
    return False


def _group_of(process: psutil.Process) -> int | None:
    with suppress(ProcessLookupError):
        return os.getpgid(process.pid)
    return None


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(processes, timeout=3)
