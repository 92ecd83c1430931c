"""Freed memory is returned to the system."""

from __future__ import annotations

import os
import platform

import pytest

from core.memory import trim_memory
from tests.support import anonymous_bytes

PIECES, PIECE_BYTES = 2_000, 64 * 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator can be asked")
def test_gaps_between_longer_lived_blocks_are_returned() -> None:
    pieces = [bytearray(PIECE_BYTES) for _ in range(PIECES)]
    del pieces[: PIECES - 1]  # the last one is at the end of the heap
    before = anonymous_bytes(os.getpid())
    trim_memory()
    assert anonymous_bytes(os.getpid()) < before - PIECES * PIECE_BYTES // 2
    assert len(pieces) == 1


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.memory._malloc_trim", lambda: None)
    trim_memory()
