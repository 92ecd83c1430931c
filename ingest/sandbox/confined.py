"""Runs a program under resource limits: `python -I -S confined.py CPU_SECONDS FILE_BYTES PROGRAM ARGUMENT…`.

The limits must be set between fork and exec, and Python code that runs there can deadlock if the parent process has
threads. This script is therefore a separate process: it sets the limits and then replaces itself with the program.
It imports nothing from this project.
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
    """Set the limits and replace this process with the program."""
    cpu_seconds, file_bytes, *command = arguments
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds), int(cpu_seconds) + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(file_bytes), int(file_bytes)))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        # The program must not outlive a parsing process that is killed.
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # A network namespace without interfaces, if the kernel allows users to create one; in containers it often
        # does not.
        with contextlib.suppress(AttributeError):
            libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    os.execvp(command[0], command)  # noqa: S606 (the arguments come from ingest.sandbox.programs)


if __name__ == "__main__":
    main(sys.argv[1:])
