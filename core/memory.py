"""Returning freed memory from the allocator to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def trim_memory() -> None:
    """Return the freed memory that glibc's allocator holds to the system. Takes a few milliseconds, without the GIL.

    Tensors of varying sizes leave gaps between longer-lived blocks, and glibc by itself returns only the memory at the
    end of a heap. With another allocator this does nothing.
    """
    if (trim := _malloc_trim()) is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # musl and macOS lack the function, Windows lacks the library
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim
