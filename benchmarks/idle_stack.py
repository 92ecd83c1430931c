"""The processor time of a whole stack that has nothing to do, as a share of one core.

    python -m benchmarks.idle_stack [--seconds 60]

Measures the running stack of this DATA_DIR. `benchmarks.old_catalog` measures stacks over its catalogs the same way.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil

from benchmarks.report import print_table
from cli.processes import stack_processes
from cli.runtime import RuntimeDir, lock_owner
from cli.supervisor import Supervisor
from core.settings import Settings, get_settings

TARGET_SHARE = 0.02
START_SECONDS, STOP_SECONDS, POLL_SECONDS = 300.0, 120.0, 0.5
#: The name for supervision and whatever else is no supervised process.
OTHERS = "supervision"

Shares = dict[str, float]


@contextmanager
def running_stack(folder: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """Run `llm-api up` with these settings, and yield its base URL once it is ready."""
    port, flower_port = free_port(), free_port()
    ports = {"PORT": str(port), "FLOWER_PORT": str(flower_port)}
    environment = {**os.environ, **settings, **ports, "PYTHONPATH": str(Path(__file__).parent.parent)}
    base_url = f"http://127.0.0.1:{port}"
    with (folder / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "cli", "up"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until_ready(base_url, up)
        yield base_url
    finally:
        up.send_signal(signal.SIGTERM)
        up.wait(STOP_SECONDS)


def free_port() -> int:
    """Return a TCP port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(base_url: str, up: subprocess.Popen[bytes]) -> None:
    """Return when the stack is ready.

    Raises:
        TimeoutError: it has ended, or is not ready in time.
    """
    deadline = time.monotonic() + START_SECONDS
    while up.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{base_url}/ready", timeout=10).is_success:
                return
        time.sleep(POLL_SECONDS)
    raise TimeoutError("the stack did not start: see up.log in its folder")


def idle_shares(runtime: RuntimeDir, seconds: float) -> Shares:
    """Return each process's share of a core over this time, by name; children count with their parents."""
    before, began = processor_seconds(runtime), time.monotonic()
    time.sleep(seconds)
    after, took = processor_seconds(runtime), time.monotonic() - began
    return {name: (used - before.get(name, 0.0)) / took for name, used in after.items()}


def processor_seconds(runtime: RuntimeDir) -> dict[str, float]:
    """Return the processor time that each process has used so far, by name."""
    used: dict[str, float] = {OTHERS: 0.0}
    named: dict[int, str] = {}
    for name, info in Supervisor(runtime.supervisor_socket).processes().items():
        if info.pid:
            process = psutil.Process(info.pid)
            named |= {one.pid: name for one in [process, *process.children(recursive=True)]}
    for process in [*stack_processes(runtime.path), *unmarked_processes(runtime)]:
        with suppress(psutil.NoSuchProcess):
            times, name = process.cpu_times(), named.get(process.pid, OTHERS)
            used[name] = used.get(name, 0.0) + times.user + times.system
    return used


def unmarked_processes(runtime: RuntimeDir) -> list[psutil.Process]:
    """Return the processes that do not bear the stack's marker: `llm-api up` and its guard."""
    owners = (lock_owner(lock) for lock in (runtime.up_lock, runtime.guard_lock))
    return [psutil.Process(pid) for pid in owners if pid]


def runtime_of(settings: Settings) -> RuntimeDir:
    """Return the runtime directory of the stack of these settings."""
    return RuntimeDir(settings.runtime_dir)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    shares = idle_shares(runtime_of(get_settings()), arguments.seconds)
    total = sum(shares.values())
    rows = [(name, f"{share:.2%}", "") for name, share in sorted(shares.items(), key=lambda item: -item[1])]
    print_table(
        f"An idle stack, over {arguments.seconds:g} s",
        ("process", "of a core", "of the limit"),
        [*rows, ("all", f"{total:.2%}", f"{total / TARGET_SHARE:.2f}")],
    )


if __name__ == "__main__":
    main()
