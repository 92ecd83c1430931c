"""Limits on this process while it parses a file that may be hostile: memory, processor time, and no network."""

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
    """A file took more processor time than it may."""


@contextmanager
def parsing_limits(*, memory_bytes: int, cpu_seconds: float) -> Iterator[None]:
    """All limits at once, for the code within.

    Raises:
        MemoryError: it took more memory.
        CpuTimeExceeded: it took more processor time.
        DocumentRejected: it would have opened a connection.
    """
    with memory_limit(memory_bytes), cpu_limit(cpu_seconds), no_network():
        yield


@contextmanager
def memory_limit(extra_bytes: int) -> Iterator[None]:
    """Lets the process take at most this much more address space; over it allocations raise `MemoryError`.

    Address space is what the kernel can limit, and more than what is resident, so the limit is above the present use.
    Without /proc (macOS) it does nothing: the limit has no effect there.
    """
    if not _STATM.exists():
        yield
        return
    import resource

    with _soft_limit(resource.RLIMIT_AS, _address_space_bytes() + extra_bytes):
        yield


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Lets the process take this much more processor time; over it `CpuTimeExceeded` is raised in the main thread.

    A timer counts from here. `RLIMIT_CPU` counts from the start of the process in the kernel's ticks, which in one that
    has long lived are seconds behind what can be read. Signals reach the main thread only: in another one this does
    nothing.
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


@contextmanager
def no_network() -> Iterator[None]:
    """Refuses connections of this thread that Python code opens. Others go on: those of the catalog, for example."""
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
    # Python has no way to take an audit hook away again, so there is one, and it asks the thread.
    sys.addaudithook(_refuse_connection)


def _refuse_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _NETWORK_EVENTS and _is_offline():
        raise DocumentRejected(f"Reading it would have opened a network connection ({arguments[-1]!r}).")


@contextmanager
def _soft_limit(kind: int, value: int) -> Iterator[None]:
    """A limit that can be taken back: an unprivileged process cannot raise a hard one again."""
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
