"""The guard: a process that stops a stack whose `llm-api up` was killed.

It holds the read end of a pipe to which only `up` can write. The end of the pipe means that `up` has ended, in whatever
way.

    python -m cli.guard RUNTIME_DIR DESCRIPTOR

It needs only the standard library and psutil, reads no settings, and runs in a session of its own.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from cli.drain import Drain
from cli.processes import sweep
from cli.runtime import Lock, RuntimeDir
from cli.supervisor import Supervisor
from core.errors import Unavailable

#: Without `up` nobody waits for the running work, so the waits of a normal stop are shortened.
WAIT_FACTOR = 0.3


def stop_orphans(runtime: RuntimeDir) -> int:
    """Stop what is left of a stack: in order through its supervisor if that answers, then whatever remains.

    Return the number of processes that had to be swept.
    """
    supervisor = Supervisor(runtime.supervisor_socket)
    with suppress(Unavailable):
        Drain(supervisor, runtime.path, report=_log, wait_factor=lambda: WAIT_FACTOR).run()
        supervisor.shutdown()
    return sweep(runtime.path)


def main(runtime_dir: str, descriptor: str) -> None:
    """Wait for the end of the pipe, then stop what is left of the stack."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    runtime = RuntimeDir(Path(runtime_dir))
    lock = Lock(runtime.guard_lock)
    if not lock.acquire():
        sys.exit(f"another guard holds {runtime.guard_lock}")
    while os.read(int(descriptor), 1):
        pass
    stop_orphans(runtime)
    lock.release()


def _log(line: str) -> None:
    # Standard error goes to logs/guard.log, whose disk may be full.
    with suppress(OSError):
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
