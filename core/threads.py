"""The choice of thread for work that uses OpenMP, and who waits for whom: both decide how fast models run."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

#: How long a thread may keep the interpreter's lock while others wait for it. With Python's 5 ms, the engine's thread
#: waits for that long several times in each step beside one thread that is busy in Python.
SWITCH_SECONDS = 0.001

#: By how much the priority of threads is lowered that prepare answers and run functions. Where many requests come at
#: once, their work would take the cores from the engine's threads, which wait for each other many times in each step.
PREPARING_NICE = 5

#: The lowest of all priorities.
LOWEST_NICE = 19

_START_NICE = os.getpriority(os.PRIO_PROCESS, 0)


def run_on_temporary_thread(function: Callable[[], Result]) -> Result:
    """Call `function` on a thread that ends with it, and return or raise what it does.

    Use it to load a model that another thread will run. GNU OpenMP keeps a team of threads for each thread that
    computes, for as long as that thread lives. Once the process has more team members than cores, they sleep at each
    barrier instead of spinning: a second, unused team makes llama.cpp's steps three times as long.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="loading") as thread:
        return thread.submit(function).result()


def switch_threads_often() -> None:
    """Let a thread of this process have the interpreter's lock soon after it asks, as those need who stream."""
    sys.setswitchinterval(SWITCH_SECONDS)


def lower_priority(nice: int) -> None:
    """Lower the priority of the calling thread, and of the threads that it starts from now on, by this nice value.

    It counts from the priority with which the process has started, so a second call changes nothing. Only Linux has a
    nice value for each thread. Elsewhere this lowers the priority of the whole process.
    """
    own = threading.get_native_id() if sys.platform == "linux" else 0
    # Never raised again: that is not allowed.
    lowered = max(os.getpriority(os.PRIO_PROCESS, own), min(_START_NICE + nice, LOWEST_NICE))
    os.setpriority(os.PRIO_PROCESS, own, lowered)


def let_others_go_first(nice: int) -> None:
    """Lower the priority of the calling thread only; do nothing where the system has none for a thread."""
    if sys.platform == "linux":
        lower_priority(nice)
