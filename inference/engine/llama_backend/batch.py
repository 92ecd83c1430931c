"""llama.cpp's batch over numpy arrays, filled in place."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as llama
import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import BatchEntry


class Batch:
    """A `llama_batch` whose arrays are numpy's, filled in place."""

    def __init__(self, capacity: int) -> None:
        self.token = np.zeros(capacity, np.int32)
        self.position = np.zeros(capacity, np.int32)
        self.seq_id = np.zeros(capacity, np.int32)
        self.wanted = np.zeros(capacity, np.int8)
        self._ones = np.ones(capacity, np.int32)
        # llama.cpp takes a pointer to a list of sequence ids for each token: here each list has one member.
        self._seq_pointers = (self.seq_id.ctypes.data + 4 * np.arange(capacity)).astype(np.uintp)
        self.raw = llama.llama_batch(
            n_tokens=0,
            token=pointer(self.token, llama.llama_token),
            pos=pointer(self.position, llama.llama_pos),
            n_seq_id=pointer(self._ones, ctypes.c_int32),
            seq_id=pointer(self._seq_pointers, ctypes.POINTER(llama.llama_seq_id)),
            logits=pointer(self.wanted, ctypes.c_int8),
        )

    def fill(self, entries: Sequence[BatchEntry]) -> None:
        at = 0
        for entry in entries:
            end = at + len(entry.tokens)
            self.token[at:end] = entry.tokens
            self.position[at:end] = range(entry.start, entry.start + end - at)
            self.seq_id[at:end] = entry.seq_id
            self.wanted[at:end] = 0
            self.wanted[end - entry.rows : end] = 1
            at = end
        self.raw.n_tokens = at


def pointer(array: NDArray[Any], kind: Any) -> Any:
    """Return a C pointer to the array's memory."""
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
