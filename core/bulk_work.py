"""Bulk work, such as indexing: at a low priority, and known to the other processes of its host.

A process that generates answers keeps all processors busy, so that work at a low priority would stand still. It leaves
some time to bulk work as long as there is any: see `inference.engine.bulk_share`.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from core.settings import Settings
from core.threads import LOWEST_NICE, lower_priority

log = logging.getLogger(__name__)


class BulkWork:
    """The priority of bulk work, and a lock file that is held while some runs. A process that dies holds no lock."""

    def __init__(self, settings: Settings) -> None:
        self._nice = settings.bulk_nice
        self._path = settings.state_dir / "bulk.lock"

    def lower_priority(self) -> None:
        """Lower the priority of the calling thread, and of what it starts from now on, to that of bulk work.

        On Linux each thread has a priority of its own, and BULK_NICE=19 means that a thread leaves its processor as
        soon as another one needs it: without that, it keeps it for some milliseconds, several times in each step of an
        answer. Elsewhere this lowers the priority of the whole process.
        """
        lower_priority(self._nice)
        if sys.platform == "linux" and self._nice == LOWEST_NICE:
            try:
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
            except OSError as error:  # a sandbox may forbid it
                log.warning("bulk work slows down answers more than it need, at nice 19 without SCHED_IDLE: %s", error)

    @contextmanager
    def announced(self) -> Iterator[None]:
        """Let other processes see that bulk work runs. Where no lock can be had, it runs unseen."""
        with ExitStack() as stack:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                fcntl.flock(stack.enter_context(self._path.open("a")), fcntl.LOCK_SH)
            except OSError as error:  # a file system without locks, for example
                log.warning("bulk work gets less time beside answers, since it cannot lock %s: %s", self._path, error)
            yield

    def is_announced(self) -> bool:
        """Return whether any process that shares this data folder has announced bulk work."""
        try:
            with self._path.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # there is no such file yet, or nobody can lock it: `announced` says so
            return False
        return False
