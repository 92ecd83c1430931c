"""A function that hangs past its time limit, and one that does not, for `benchmarks.pauses`."""

from __future__ import annotations

import time

from llm_api import function_registry


@function_registry.register(timeout_seconds=1)
def hang(seconds: int = 60) -> str:
    """Wait for a long time.

    Args:
        seconds: how long to wait.
    """
    time.sleep(seconds)
    return "done"


@function_registry.register(timeout_seconds=1)
def wave(seconds: int = 60) -> str:
    """Wait for a long time.

    Args:
        seconds: how long to wait.
    """
    return f"{seconds} seconds are over"
