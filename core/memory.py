"""What the allocator keeps of freed memory, given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def trim_memory() -> None:
    """Returns freed memory that glibc's allocator keeps: it takes some milliseconds, without the interpreter's lock.

    Tensors of ever other sizes leave gaps between what lives longer, and glibc gives back by itself only what lies at
    the end of a heap. With another allocator than glibc's nothing happens.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl and macOS have none, Windows has no such library
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim
