"""Where work with OpenMP runs. It matters: the speed of a process' models hangs on it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def on_passing_thread(function: Callable[[], Result]) -> Result:
    """Calls `function` on a thread that ends with it, and returns or raises what it does.

    For loading a model that another thread is to use: GNU OpenMP gives each thread that computes a team of its own, for
    as long as that thread lives, and once the process has more of them than cores, their members sleep at each barrier
    instead of spinning. A second team that nobody uses makes llama.cpp's steps three times as long.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        return thread.submit(function).result()
