"""The memory that this process may use: the machine's, or less if a control group (a container) limits it."""

from __future__ import annotations

import psutil

from core.cgroups import memory_limit, memory_room


def memory_limit_bytes() -> int:
    """Return the memory that this process may use in all."""
    total, limit = int(psutil.virtual_memory().total), memory_limit()
    return total if limit is None else min(total, limit)


def available_memory_bytes() -> int:
    """Return the memory that this process may still take without pushing out what others use."""
    available, room = int(psutil.virtual_memory().available), memory_room()
    return available if room is None else min(available, room)
