"""Limits on this process while it parses a possibly hostile file: memory, processor time, and no network."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

from core.errors import DocumentRejected

_STATM = Path("/proc/self/statm")
_NETWORK_EVENTS = frozenset(("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"))


class CpuTimeExceeded(Exception):
    """Parsing a file took more processor time than allowed."""


@contextmanager
def parsing_limits(*, memory_bytes: int, cpu_seconds: float) -> Iterator[None]:
    """Apply all limits to the code in the `with` block.

    Raises:
        MemoryError: If it needs more memory.
        CpuTimeExceeded: If it takes more processor time.
        DocumentRejected: If it tries to open a connection.
    """
    with memory_limit(memory_bytes), cpu_limit(cpu_seconds), no_network():
        yield


@contextmanager
def memory_limit(extra_bytes: int) -> Iterator[None]:
    """Let the process take at most this much more address space; allocations beyond it raise `MemoryError`.

    The kernel can limit address space, not resident memory. A process has far more of it than is resident, so the limit
    is relative to the current use. Without /proc (macOS) this does nothing, because the limit has no effect there.
    """
    if not _STATM.exists():
        yield
        return
    import resource

    with _soft_limit(resource.RLIMIT_AS, _address_space_bytes() + extra_bytes):
        yield


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Let the process take this much more processor time; beyond it, `CpuTimeExceeded` is raised in the main thread.

    This uses a timer that starts now. `RLIMIT_CPU` counts the kernel's ticks from the start of the process, and in a
    long-lived process that count lags seconds behind the processor time that can be read. Python runs signal handlers
    only in the main thread: in any other thread this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def exceeded(_number: int, _frame: FrameType | None) -> None:
        raise CpuTimeExceeded(f"more than {seconds:g} s of processor time")

    before = signal.signal(signal.SIGPROF, exceeded)
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def extend_cpu_limit(seconds: float) -> None:
    """Let the process take this much more processor time, if `cpu_limit` limits it."""
    remaining = signal.getitimer(signal.ITIMER_PROF)[0]
    if remaining > 0:
        signal.setitimer(signal.ITIMER_PROF, remaining + seconds)


@contextmanager
def no_network() -> Iterator[None]:
    """Refuse connections that Python code opens in this thread. Other threads, such as the catalog's, may connect."""
    _watch_connections()
    before = _is_offline()
    _offline.now = True
    try:
        yield
    finally:
        _offline.now = before


_offline = threading.local()


def _is_offline() -> bool:
    return getattr(_offline, "now", False) is True


@lru_cache(maxsize=1)
def _watch_connections() -> None:
    # Python cannot remove an audit hook, so one is installed for good and checks the current thread's flag.
    sys.addaudithook(_refuse_connection)


def _refuse_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _NETWORK_EVENTS and _is_offline():
        raise DocumentRejected(f"Reading it would have opened a network connection ({arguments[-1]!r}).")


@contextmanager
def _soft_limit(kind: int, value: int) -> Iterator[None]:
    """Set a soft limit and restore it afterwards; an unprivileged process could not raise a hard limit again."""
    import resource

    before = resource.getrlimit(kind)
    bounds = [bound for bound in before if bound != resource.RLIM_INFINITY]
    resource.setrlimit(kind, (min([value, *bounds]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def _address_space_bytes() -> int:
    return int(_STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
