"""Supervision on a disk without a byte to write, with a real supervisord, guard and Redis."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import pytest

from cli.supervisor import log_path
from tests.integration.cli.test_supervision import NAMES, TinyStack
from tests.support import SmallDisk, is_running, wait_until

pytestmark = pytest.mark.check


class ChattyStack(TinyStack):
    """A stack whose processes log without a pause. What `up` prints goes to the same disk."""

    arguments = ("chatty",)

    def log_size(self, name: str) -> int:
        return log_path(self.settings.state_dir / "logs", name).stat().st_size


@pytest.fixture
def stack(small_disk: SmallDisk) -> Iterator[ChattyStack]:
    with ChattyStack(small_disk.path, {"MIN_FREE_BYTES": "1000000"}) as stack:
        yield stack


def is_full(disk: SmallDisk) -> bool:
    disk.fill()
    return shutil.disk_usage(disk.path).free == 0


def test_the_supervisor_survives_a_full_disk_and_goes_on_by_itself(stack: ChattyStack, small_disk: SmallDisk) -> None:
    before = stack.pids()
    supervisord = int(stack.runtime.supervisor_pidfile.read_text())
    wait_until(lambda: is_full(small_disk))
    sizes = {name: stack.log_size(name) for name in NAMES[1:]}
    # A process that ends is started again, although its log cannot be written.
    stack.kill("index")
    wait_until(lambda: stack.pid_of("index") not in (0, before["index"]), 20)
    assert is_running(supervisord) and is_running(stack.up_pid)
    assert {name: pid for name, pid in stack.pids().items() if name != "index"} == {
        name: pid for name, pid in before.items() if name != "index"
    }, "no other process was affected"
    small_disk.free()
    wait_until(lambda: all(stack.log_size(name) > sizes[name] for name in NAMES[1:]), 20, "the logs go on")
    wait_until(stack.ping)
    printed = stack.printed()
    wait_until(lambda: "The disk has room again" in stack.printed(), 10, printed)


def test_a_supervisor_that_is_killed_on_a_full_disk_comes_back_with_all_its_processes(
    stack: ChattyStack, small_disk: SmallDisk
) -> None:
    before = stack.pids()
    supervisord = int(stack.runtime.supervisor_pidfile.read_text())
    wait_until(lambda: is_full(small_disk))
    os.kill(supervisord, signal.SIGKILL)
    wait_until(lambda: not is_running(before["api"]), 30, "the end of the former processes")
    small_disk.free()
    wait_until(lambda: all(pid and pid != before[name] for name, pid in stack.pids().items()), 60)
    wait_until(stack.ping, 30)
    assert is_running(stack.up_pid)


def test_a_stack_on_a_full_disk_stops_in_order(stack: ChattyStack, small_disk: SmallDisk) -> None:
    wait_until(lambda: is_full(small_disk))
    os.kill(stack.up_pid, signal.SIGTERM)
    assert stack.stop() == 0
    assert not stack.processes()
