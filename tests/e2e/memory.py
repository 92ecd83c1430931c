"""The memory of a stack's processes, for the soak tests that bound it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import psutil
import redis

from cli.supervisor import Supervisor
from core.errors import Unavailable
from tests.support import Stack, anonymous_bytes, wait_until

#: Longer than a worker waits for more work before it returns memory to the system.
SETTLED_SECONDS = 3.0
#: Memory that falls by less than this is at rest.
SETTLED_SHARE = 0.01
SAMPLE_SECONDS = 1.0

Sizes = dict[str, int]


def tree_bytes(pid: int) -> int:
    """Return the memory of a process and its children. Shared memory counts once, mapped files do not count.

    The pages of the vector store's files belong to the kernel's cache, which frees them when memory is short.
    """
    total = 0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with suppress(OSError):  # a child that has just ended
                total += anonymous_bytes(one.pid)
    return total


def sizes_of(stack: Stack) -> Sizes:
    """Return the memory of each supervised process in bytes, by name, and of the data in Redis as "redis data"."""
    found = Supervisor(stack.runtime.supervisor_socket).processes()
    sizes = {name: tree_bytes(info.pid) for name, info in found.items() if info.pid}
    with redis.Redis.from_url(stack.settings.redis_client_url) as client:
        sizes["redis data"] = int(client.info("memory")["used_memory"])
    return sizes


def at_rest(measure: Callable[[], Sizes], timeout_seconds: float = 60) -> Sizes:
    """Return what `measure` measures once the sum no longer falls, because freed memory has been returned."""
    lowest, fell_at, last = float("inf"), time.monotonic(), Sizes()

    def has_settled() -> bool:
        nonlocal lowest, fell_at, last
        last = measure()
        total = sum(last.values())
        if total < (1 - SETTLED_SHARE) * lowest:
            lowest, fell_at = total, time.monotonic()
        return time.monotonic() - fell_at > SETTLED_SECONDS

    wait_until(has_settled, timeout_seconds)
    return last


class MemoryWatch:
    """Measures the memory of a stack's processes every second within a `with` block, and keeps the largest values."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peaks: Sizes = {}

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            with suppress(Unavailable, redis.RedisError, OSError):  # the next sample may succeed
                for name, size in sizes_of(self._stack).items():
                    self.peaks[name] = max(size, self.peaks.get(name, 0))
