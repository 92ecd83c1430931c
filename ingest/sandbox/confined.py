"""Runs a program under limits of its own: `python -I -S confined.py CPU_SECONDS FILE_BYTES PROGRAM ARGUMENT…`.

A small process between ours and the program, because what is set here must be set between fork and exec, and code that
runs there in a process with threads can deadlock. It imports nothing of ours, and becomes the program.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def main(arguments: list[str]) -> None:
    """Becomes the program."""
    cpu_seconds, file_bytes, *command = arguments
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds), int(cpu_seconds) + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes), int(file_bytes)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        # It must not outlive a parsing process that is killed.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # A network without interfaces, where the kernel lets users have one; containers often do not.
        with contextlib.suppress(AttributeError):
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    os.execvp(command[0], command)  # noqa: S606 (the arguments come from ingest.sandbox.programs)


if __name__ == "__main__":
    main(sys.argv[1:])
