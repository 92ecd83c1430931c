"""The beat in the maintenance worker: a fork that closes the descriptors which its inherited objects still name."""

from __future__ import annotations

import gc
import os
import select
import sys

import pytest
from celery.signals import beat_embedded_init

import tasks.app  # noqa: F401 - connects the handlers of signals


class Cycle:
    """An object that only the garbage collector frees, with a descriptor that it closes then."""

    def __init__(self) -> None:
        self.poller = select.epoll()
        self.itself = self


def status_of_fork(number: int) -> int:
    """Return the exit status of a fork that does as Celery's beat does: 0 if its own descriptor stays open."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        os.close(number)
        beat_embedded_init.send(sender=None)
        os.dup2(os.open(os.devnull, os.O_RDONLY), number)
        gc.collect()
        os.fstat(number)
        status = 0
    finally:
        os._exit(status)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has epoll")
def test_collecting_what_was_inherited_closes_no_descriptor_of_the_beat() -> None:
    gc.disable()
    try:
        number = Cycle().poller.fileno()
        assert status_of_fork(number) == 0
    finally:
        gc.enable()
        gc.collect()
