"""The choice of thread for work that uses OpenMP, and of a thread's priority: both decide how fast models run."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

_START_NICE = os.getpriority(os.PRIO_PROCESS, 0)


def run_on_temporary_thread(function: Callable[[], Result]) -> Result:
    """Call `function` on a thread that ends with it, and return or raise what it does.

    Use it to load a model that another thread will run. GNU OpenMP keeps a team of threads for each thread that
    computes, for as long as that thread lives. Once the process has more team members than cores, they sleep at each
    barrier instead of spinning: a second, unused team makes llama.cpp's steps three times as long.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        return thread.submit(function).result()


def lower_priority(nice: int) -> None:
    """Lower the priority of the calling thread, and of the threads that it starts from now on, by this nice value.

    It counts from the priority with which the process has started, so a second call changes nothing. Only Linux has a
    nice value for each thread. Elsewhere this lowers the priority of the whole process.
    """
    own = threading.get_native_id() if sys.platform == "linux" else 0
    # Never raised again: that is not allowed.
    lowered = max(os.getpriority(os.PRIO_PROCESS, own), min(_START_NICE + nice, 19))
    os.setpriority(os.PRIO_PROCESS, own, lowered)
