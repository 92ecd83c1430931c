"""How many threads each engine of a host uses, so that the models that answer at once share the cores.

Two engines with a thread for each core stop one another: the threads of a step wait for those that have no core.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)

#: Engines that one data folder may have at once. Further ones are not counted.
MAX_ENGINES = 64
#: How often an engine looks for others.
LOOK_SECONDS = 0.05
#: How long an engine counts as busy after its last step.
BUSY_SECONDS = 0.5


class ThreadShare:
    """The threads of this engine's next step.

    Each engine writes the time of its last step into an entry of a file that all engines of a data folder map. An entry
    is held by a lock on its byte, which ends with the process.
    """

    def __init__(self, path: Path, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            path: of the file, which is made if there is none.
            threads: of this engine while no other one is busy.
            clock: in seconds; the same for all processes of the host.
        """
        self._threads = self._now = threads
        self._clock = clock
        self._next_look = float("-inf")
        #: By entry: when that engine last began a step, or 0.
        self._steps, self._entry = np.zeros(MAX_ENGINES), 0
        try:
            # Open until the process ends, as the lock on the entry is.
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            os.truncate(file, MAX_ENGINES * 8)
            self._entry = _free_entry(file)
            self._steps = np.frombuffer(mmap.mmap(file, MAX_ENGINES * 8), np.float64)
        except OSError as error:  # a file system without locks, for example
            log.warning("models that answer at once do not share the cores, since %s cannot be used: %s", path, error)

    def threads(self) -> int:
        """Return the number of threads for the step that begins now: all, or an equal share beside busy engines."""
        now = self._clock()
        self._steps[self._entry] = now
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            busy = int(np.count_nonzero(now - self._steps < BUSY_SECONDS))
            self._now = max(1, self._threads // max(1, busy))
        return self._now


def _free_entry(file: int) -> int:
    for entry in range(MAX_ENGINES):
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, entry, os.SEEK_SET)
        except BlockingIOError:
            continue
        return entry
    raise OSError(f"{MAX_ENGINES} engines use it")
