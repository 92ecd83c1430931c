"""Ends the parsing of a document that nobody wants any more, so that its process is free for others at once."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from core.catalog import Claim

log = logging.getLogger(__name__)

#: The signal that interrupts the main thread. Celery uses SIGUSR1 for its time limit.
INTERRUPT = signal.SIGUSR2
#: How often a claim is reported as lost before the process is killed: some code in C cannot be interrupted.
REPORTS_BEFORE_KILL = 5


class Abandoned(BaseException):
    """The claim that was being parsed is lost. Not an `Exception`, because parsers catch those of broken files."""


class Abandonment:
    """Interrupts the main thread while it parses a claim that is lost.

    In other threads, as in tests, nothing can be interrupted, and parsing goes on to its end.
    """

    def __init__(self) -> None:
        self._current: Claim | None = None
        self._reports = 0

    @contextmanager
    def possible(self, claim: Claim) -> Iterator[None]:
        """Let the code in the block be interrupted by `report_lost` of this claim.

        Raises:
            Abandoned: the claim was lost.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(INTERRUPT, self._interrupted)  # for good: a late signal must not end the process
        self._reports, self._current = 0, claim
        try:
            yield
        finally:
            self._current = None

    def report_lost(self, claim: Claim) -> None:
        """Interrupt the main thread if it parses this claim; if it does not end, kill this process.

        Whoever reads the messages of this process sees the kill as the loss of a child, and starts another one.
        """
        if claim is not self._current:
            return
        self._reports += 1
        if self._reports > REPORTS_BEFORE_KILL:
            log.warning("%s is no longer wanted, and cannot be interrupted: its process ends", claim.document.id)
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pthread_kill(threading.main_thread().ident or 0, INTERRUPT)

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        if self._current is not None:
            raise Abandoned
