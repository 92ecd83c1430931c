"""Gives memory back to the system that llama.cpp has only filled with zeros.

llama.cpp clears a KV cache by writing zeros, so that the system provides all of it: 1.5 GB for eight conversations of
8,192 tokens with the starter model, most of which are never used. Dropping pages of zeros changes nothing: they are
zeros again when they are next read.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from pathlib import Path

import numpy as np

#: Smaller mappings are not worth the search.
LEAST_BYTES = 32 * 2**20
#: Pages are checked and dropped by this many bytes.
PIECE_BYTES = 2 * 2**20
_MADV_DONTNEED = 4
_Piece = ctypes.c_uint64 * (PIECE_BYTES // 8)

log = logging.getLogger(__name__)


def large_mappings() -> set[tuple[int, int]]:
    """Return the start and the end of each large private mapping that no file backs. On other systems: none."""
    if sys.platform != "linux":
        return set()
    found = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split()
        start, end = (int(address, 16) for address in fields[0].split("-"))
        if fields[1] == "rw-p" and len(fields) == 5 and end - start >= LEAST_BYTES:
            found.add((start, end))
    return found


def release_untouched(known: set[tuple[int, int]]) -> int:
    """Drop the pages of zeros in all large mappings but the `known` ones. Return the number of bytes.

    No other thread may write to the new mappings meanwhile.
    """
    released = 0
    for start, end in large_mappings() - known:
        for address in range(start, end - PIECE_BYTES + 1, PIECE_BYTES):
            if not np.ctypeslib.as_array(_Piece.from_address(address)).any():
                released += PIECE_BYTES * _drop(address)
    return released


def _drop(address: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(PIECE_BYTES), _MADV_DONTNEED):
        log.warning("Unused memory of the KV cache could not be released: error %d", ctypes.get_errno())
        return False
    return True
