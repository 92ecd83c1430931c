"""Supervision with a real supervisord, guard and Redis, and with trivial processes that can be killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from cli.runtime import lock_owner
from tests.support import STOP_SECONDS, Stack, is_running, wait_until

NAMES = ("redis", "ingest", "index", "watcher", "api")


class TinyStack(Stack):
    """A stack of trivial processes beside a real Redis."""

    arguments: tuple[str, ...] = ()

    def up_command(self) -> list[str]:
        return [sys.executable, "-m", "tests.fakes.tiny_stack", *self.arguments]

    def run_up(self) -> subprocess.CompletedProcess[str]:
        """Run `up` and wait for its end, for a start that is expected to fail."""
        return subprocess.run(
            self.up_command(), cwd=self.directory, env=self.environment, capture_output=True, text=True, timeout=60
        )

    def pids(self) -> dict[str, int]:
        return {name: self.pid_of(name) for name in NAMES}

    def ping(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.settings.redis_client_url).ping())
        except redis.RedisError:
            return False


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[TinyStack]:
    with TinyStack(tmp_path) as stack:
        yield stack


def test_stop_is_in_order_and_leaves_nothing(tmp_path: Path) -> None:
    stack = TinyStack(tmp_path)
    stack.start()
    assert stack.ping() and all(stack.pids().values())
    socket_mode = (stack.runtime.path / "redis.sock").stat().st_mode & 0o777
    assert socket_mode == 0o600
    assert stack.stop() == 0
    assert not stack.processes()
    stopped = (tmp_path / "stopped").read_text().split()
    assert stopped[:2] == ["api", "watcher"] and set(stopped[2:]) == {"ingest", "index"}


@pytest.mark.check
def test_killed_process_is_started_again_and_its_children_vanish(stack: TinyStack) -> None:
    for name in NAMES:
        children = psutil.Process(stack.pid_of(name)).children()
        before = stack.kill(name)
        wait_until(lambda name=name, before=before: stack.pid_of(name) not in (0, before), 20, f"{name}'s return")
        wait_until(lambda children=children: not any(map(is_running, children)), 10, f"the end of {name}'s children")
    wait_until(stack.ping, 10)


@pytest.mark.check
def test_killed_supervisord_is_replaced_with_all_its_processes(stack: TinyStack) -> None:
    before = stack.pids()
    os.kill(int(stack.runtime.supervisor_pidfile.read_text()), signal.SIGKILL)
    wait_until(lambda: all(pid and pid != before[name] for name, pid in stack.pids().items()), 30)
    wait_until(stack.ping, 10)
    assert not any(map(is_running, before.values()))


@pytest.mark.check
def test_killed_guard_is_replaced(stack: TinyStack) -> None:
    before = lock_owner(stack.runtime.guard_lock)
    assert before
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: lock_owner(stack.runtime.guard_lock) not in (None, 0, before), 10)


@pytest.mark.check
def test_kill_of_up_leaves_no_orphan_and_the_next_start_works(tmp_path: Path) -> None:
    stack = TinyStack(tmp_path)
    stack.start()
    redis.Redis.from_url(stack.settings.redis_client_url).set("kept", "yes")
    os.kill(stack.up_pid, signal.SIGKILL)
    # The test does not wait for the guard, because the next start does.
    with stack:
        assert redis.Redis.from_url(stack.settings.redis_client_url).get("kept") == b"yes"


@pytest.mark.check
def test_kill_of_up_and_guard_together_is_cleared_by_the_next_command(tmp_path: Path) -> None:
    stack = TinyStack(tmp_path)
    stack.start()
    guard = lock_owner(stack.runtime.guard_lock)
    assert guard
    os.kill(stack.up_pid, signal.SIGSTOP)  # or it might start another guard in between
    os.kill(guard, signal.SIGKILL)
    os.kill(stack.up_pid, signal.SIGKILL)
    stack.run("down")  # stops what is left; some processes may have ended by themselves
    assert not stack.processes()
    stack.stop()


def test_second_start_on_the_same_data_is_refused(stack: TinyStack) -> None:
    second = stack.run("up", check=False)
    assert second.returncode == 1
    assert "already running" in second.stderr and str(stack.up_pid) in second.stderr
    assert stack.ping()


@pytest.mark.check
def test_two_stacks_run_side_by_side(stack: TinyStack, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with TinyStack(tmp_path / "other") as other:
        assert other.runtime.path != stack.runtime.path
        assert stack.ping() and other.ping()
    assert stack.ping() and all(stack.pids().values())


def test_down_stops_it(tmp_path: Path) -> None:
    stack = TinyStack(tmp_path)
    stack.start()
    assert stack.run("down").stdout.split() == ["stopped"]
    assert not stack.processes()
    assert stack.stop() == 0
    assert "not running" in stack.run("down").stdout
    assert stack.run("status", check=False).returncode == 1


@pytest.mark.check
def test_process_that_cannot_start_is_named_with_its_last_log_lines(tmp_path: Path) -> None:
    stack = TinyStack(tmp_path)
    stack.arguments = ("broken",)
    result = stack.run_up()
    assert result.returncode == 1
    assert "index could not be started" in result.stdout
    assert "there is no model" in result.stdout
    assert str(tmp_path / "data/logs/index.log") in result.stdout.replace("\n", "")
    assert not stack.processes()


@pytest.mark.parametrize("setting", ["PORT", "FLOWER_PORT"])
def test_taken_port_is_named_before_anything_starts(tmp_path: Path, setting: str) -> None:
    stack = TinyStack(tmp_path)
    with socket.create_server(("127.0.0.1", int(stack.environment[setting]))):
        result = stack.run("up", check=False)
    assert result.returncode == 1
    assert f"Set {setting}" in result.stderr and stack.environment[setting] in result.stderr
    assert not stack.processes()


def test_status_shows_processes_and_memory(stack: TinyStack) -> None:
    status = stack.status()
    assert status["running"] and set(status["processes"]) == set(NAMES)
    assert status["processes"]["api"]["pid"] == stack.pid_of("api")
    total = sum(process["memory_bytes"] for process in status["processes"].values())
    assert status["memory_bytes"] > total > 5 * 2**20
    assert status["resident_bytes"] > status["memory_bytes"], "all of them share the interpreter's library"
    printed = stack.run("status").stdout
    assert "Memory in all" in printed and "Queues" in printed


def test_interrupt_during_the_start_stops_it(tmp_path: Path) -> None:
    stack = TinyStack(tmp_path)
    with (tmp_path / "out").open("wb") as output:
        up = subprocess.Popen(stack.up_command(), cwd=tmp_path, env=stack.environment, stdout=output)
    wait_until(lambda: "redis" in (tmp_path / "out").read_text(errors="replace"), 20)
    up.send_signal(signal.SIGINT)
    assert up.wait(STOP_SECONDS) == 0
    assert not stack.processes()
