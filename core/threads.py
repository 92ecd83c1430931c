"""The choice of thread for work that uses OpenMP, which decides how fast models run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def run_on_temporary_thread(function: Callable[[], Result]) -> Result:
    """Call `function` on a thread that ends with it, and return or raise what it does.

    Use it to load a model that another thread will run. GNU OpenMP keeps a team of threads for each thread that
    computes, for as long as that thread lives. Once the process has more team members than cores, they sleep at each
    barrier instead of spinning: a second, unused team makes llama.cpp's steps three times as long.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        return thread.submit(function).result()
