"""The process that ends a stack whose `llm-api up` was killed. It holds the read end of a pipe that only `up` can write
to: when the pipe ends, `up` is gone, however it went.

    python -m cli.guard RUNTIME_DIR DESCRIPTOR

It needs the standard library and psutil, reads no settings, and lives in a session of its own.
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

#: Nobody waits for answers any more, so the waits of a normal stop are cut.
WAIT_FACTOR = 0.3


def stop_orphans(runtime: RuntimeDir) -> int:
    """Stops what is left of a stack: in order through its supervisor if that answers, and then whatever remains.

    Answers how many processes had to be swept.
    """
    supervisor = Supervisor(runtime.supervisor_socket)
    with suppress(Unavailable):
        Drain(supervisor, runtime.path, report=_log, wait_factor=lambda: WAIT_FACTOR).run()
        supervisor.shutdown()
    return sweep(runtime.path)


def main(runtime_dir: str, descriptor: str) -> None:
    """Waits for the end of the pipe, then stops what is left."""
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
    # Standard error goes to logs/guard.log.
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
