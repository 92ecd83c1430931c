"""Helpers of tests: waiting for conditions, free ports, and a stack that is started as users start it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import psutil
import redis

from cli.processes import stack_processes
from cli.redis_server import find_redis_server, write_config
from cli.runtime import RuntimeDir, lock_owner
from cli.supervisor import Supervisor
from core.catalog import Catalog
from core.errors import Unavailable
from core.settings import Settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
POLL_SECONDS = 0.05
START_SECONDS = 240.0
STOP_SECONDS = 100.0
#: No wait is given up before this, since a busy machine of two cores can hold any process up for a while.
LEAST_WAIT_SECONDS = 60.0


def wait_until(predicate: Callable[[], object], timeout_seconds: float = LEAST_WAIT_SECONDS, what: str = "") -> None:
    """Return as soon as the predicate is true. The timeout is `LEAST_WAIT_SECONDS` or longer.

    Raises:
        AssertionError: it was still false after the timeout.
    """
    timeout_seconds = max(timeout_seconds, LEAST_WAIT_SECONDS)
    deadline = time.monotonic() + timeout_seconds
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'the condition'} did not become true within {timeout_seconds:g} s")
        time.sleep(POLL_SECONDS)


async def wait_until_async(
    predicate: Callable[[], Awaitable[object]], timeout_seconds: float = LEAST_WAIT_SECONDS, what: str = ""
) -> None:
    """Return as soon as the awaited predicate is true. The timeout is `LEAST_WAIT_SECONDS` or longer.

    Raises:
        AssertionError: it was still false after the timeout.
    """
    timeout_seconds = max(timeout_seconds, LEAST_WAIT_SECONDS)
    deadline = time.monotonic() + timeout_seconds
    while not await predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'the condition'} did not become true within {timeout_seconds:g} s")
        await asyncio.sleep(POLL_SECONDS)


def assert_linear(work: Callable[[str], object], unit: str, count: int, what: str = "it") -> None:
    """Check that the processor time of `work` on `unit` repeated grows in proportion to the number of repetitions.

    Eight times the text may take up to 24 times as long: time is measured roughly, but quadratic work takes 64 times.
    """
    for _ in range(3):
        short, long = (_thread_seconds(work, unit * times) for times in (count, 8 * count))
        if long <= 24 * short + 0.002:
            return
    raise AssertionError(f"{what} took {short:.4f} s of {count} times {unit!r}, and {long:.4f} s of {8 * count} times")


def _thread_seconds(work: Callable[[str], object], text: str) -> float:
    start = time.thread_time()
    work(text)
    return time.thread_time() - start


@contextmanager
def private_redis(
    max_memory_bytes: int = 512 * 2**20, *, data_dir: Path | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a Redis server of its own, configured as the private one of a stack. Yield its URL and its process.

    `data_dir` is where it keeps its log of writes; by default, a folder that is removed with the server.
    """
    # Not under pytest's directory, since the path of a socket can have at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="llm-api-redis-") as directory:
        config, url = Path(directory, "redis.conf"), f"unix://{directory}/redis.sock"
        paths = {"socket": Path(directory, "redis.sock"), "data_dir": data_dir or Path(directory, "data")}
        write_config(config, **paths, max_memory_bytes=max_memory_bytes)
        with Path(directory, "redis.log").open("wb") as log:
            server = subprocess.Popen([find_redis_server(), config], stdout=log, stderr=log)
        try:
            client = redis.Redis.from_url(url)
            wait_until(lambda: _answers(client), 20, "redis-server")
            client.close()
            yield url, server
        finally:
            server.terminate()
            server.wait(20)


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def is_running(process: int | psutil.Process) -> bool:
    """Return whether a process, or the process with this pid, runs. One that nobody has waited for has ended."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(process) if isinstance(process, int) else process
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def free_port() -> int:
    """Return a TCP port on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(**changes: str) -> dict[str, str]:
    """Return this environment without settings of llm-api, so that a test sees the defaults, and with changes."""
    settings = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in settings}
    return {**kept, "PYTHONPATH": str(ROOT), **changes}


def command(*arguments: str) -> list[str]:
    """Return the command line of `llm-api`: the installed script, or the module if the script is not installed."""
    script = Path(sys.executable).with_name("llm-api")
    return [str(script), *arguments] if script.exists() else [sys.executable, "-m", "cli", *arguments]


def shadow_packages(folder: Path) -> None:
    """Write modules with the names of our packages, which no process may import from its working directory."""
    for name in ("api", "celeryconfig", "cli", "core", "inference", "ingest", "llm_api", "tasks", "watchers"):
        (folder / f"{name}.py").write_text("raise ImportError('taken from the working directory')\n")


def anonymous_bytes(pid: int) -> int:
    """Return a process's share of memory that no file backs."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (kilobytes,) = (line.split()[1] for line in rollup.splitlines() if line.startswith("Pss_Anon:"))
    return int(kilobytes) * 1024


@cache
def _empty_catalog() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "catalog.sqlite3")
        catalog = Catalog.open(f"sqlite:///{path}")
        catalog.migrate()
        catalog.close()
        return path.read_bytes()


def migrated_catalog(path: Path) -> Catalog:
    """Return the catalog in a file, upgraded. A new one is a copy, because migrating takes longer than most tests."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_empty_catalog())
    catalog = Catalog.open(f"sqlite:///{path}")
    catalog.migrate()
    return catalog


class SmallDisk:
    """A file system of its own at `path`, which a test can fill to the last byte."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.ballast = path / "ballast"
        self._size_bytes = size_bytes

    def mount(self) -> str:
        """Mount the file system. Return why that is not possible here, or an empty string."""
        self.path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={self._size_bytes}", "tmpfs", str(self.path)]
        try:
            result = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return str(error)
        return result.stderr.strip() if result.returncode else ""

    def unmount(self) -> None:
        """Remove the file system, at the latest when the last process has closed its files."""
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self, leave_bytes: int = 0) -> None:
        """Use all space but `leave_bytes`."""
        with self.ballast.open("ab", buffering=0) as file, suppress(OSError):
            while (room := shutil.disk_usage(self.path).free - leave_bytes) > 0:
                file.write(bytes(min(room, 2**20)))

    def free(self) -> None:
        """Remove what `fill` has written."""
        self.ballast.unlink(missing_ok=True)


class Stack:
    """`llm-api up` in its own directory, with free ports and every other setting at its default.

    As a context manager, it starts the stack on entry. On exit it stops it and asserts that no process is left.
    """

    max_upload_bytes = 1_000_000

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.port, self.flower_port = free_port(), free_port()
        self.environment = clean_environment(
            PORT=str(self.port),
            FLOWER_PORT=str(self.flower_port),
            FLOWER_PASSWORD="a, %secret%",
            MAX_UPLOAD_BYTES=str(self.max_upload_bytes),
            **(environment or {}),
        )
        self.settings = load_settings(data_dir=directory / "data")
        self.runtime = RuntimeDir(self.settings.runtime_dir)
        self.output = directory / "up.log"
        self._up: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Stack:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        assert not self.processes(), "stopping left processes behind"
        shutil.rmtree(self.runtime.path, ignore_errors=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def flower_url(self) -> str:
        return f"http://127.0.0.1:{self.flower_port}"

    @property
    def flower_login(self) -> tuple[str, str]:
        return "admin", self.environment["FLOWER_PASSWORD"]

    @property
    def inbox(self) -> Path:
        return self.directory / "inbox"

    @property
    def up_pid(self) -> int:
        assert self._up is not None
        return self._up.pid

    def up_command(self) -> list[str]:
        """Return the command that starts the stack."""
        return command("up")

    def start(self) -> None:
        """Start the stack and return when it reports that it is ready.

        Raises:
            AssertionError: it ended or was not ready in time; the message contains its output.
        """
        if self._up is not None:
            self._up.wait(STOP_SECONDS)
        with self.output.open("wb") as output:
            self._up = subprocess.Popen(
                self.up_command(),
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(lambda: self._has_ended() or self._says_ready(), START_SECONDS)
            assert not self._has_ended()
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"the stack did not start:\n{self.printed()}") from error

    def stop(self) -> int | None:
        """Send TERM, wait for the end and return the exit status."""
        if self._up is None:
            return None
        if self._up.poll() is None:
            self._up.send_signal(signal.SIGTERM)
        status = self._up.wait(STOP_SECONDS)
        wait_until(lambda: lock_owner(self.runtime.guard_lock) is None, STOP_SECONDS)
        return status

    def printed(self) -> str:
        """Return what `up` has printed. A line may end within a character: the write met a full disk, or goes on."""
        return self.output.read_text(errors="replace")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run another `llm-api` command against this stack."""
        return subprocess.run(
            command(*arguments),
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=check,
        )

    def status(self) -> dict[str, Any]:
        """Return what `llm-api status --json` prints."""
        status: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return status

    def is_ready(self) -> bool:
        """Return whether `/ready` answers with 200."""
        try:
            return httpx.get(f"{self.base_url}/ready", timeout=10).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def pid_of(self, name: str) -> int:
        """Return the pid of a supervised process, or 0 while it does not run."""
        try:
            return Supervisor(self.runtime.supervisor_socket).processes()[name].pid
        except (Unavailable, KeyError):
            return 0

    def kill(self, name: str) -> int:
        """Kill a supervised process with SIGKILL and return its pid. A process that is starting is waited for."""
        wait_until(lambda: self.pid_of(name), START_SECONDS, f"{name}'s start")
        pid = self.pid_of(name)
        # Pid 0 would kill the process group of the tests.
        assert pid > 0
        os.kill(pid, signal.SIGKILL)
        return pid

    def processes(self) -> list[psutil.Process]:
        """Return all running processes of the stack except `up` itself."""
        guard = lock_owner(self.runtime.guard_lock)
        return stack_processes(self.runtime.path) + ([psutil.Process(guard)] if guard else [])

    def _has_ended(self) -> bool:
        return self._up is None or self._up.poll() is not None

    def _says_ready(self) -> bool:
        return "llm-api is ready" in self.printed()
