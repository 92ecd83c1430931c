"""A limit on the memory of this process while it parses a file that may be hostile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATM = Path("/proc/self/statm")


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

    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = _address_space_bytes() + extra_bytes
    for bound in before:
        if bound != resource.RLIM_INFINITY:
            limit = min(limit, bound)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space_bytes() -> int:
    return int(_STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
