"""What `llm-api up` asks about the processes that it watches."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cli.programs import Program
from cli.runtime import RuntimeDir
from cli.stack import Stack
from cli.supervisor import ProcessInfo, ProcessSpec, Supervisor


class FakeSupervisor:
    """Knows the pids of processes, and counts how often it is asked."""

    def __init__(self, pids: dict[str, int]) -> None:
        self.pids = pids
        self.asked = 0

    def processes(self) -> dict[str, ProcessInfo]:
        self.asked += 1
        return {name: ProcessInfo(name, "RUNNING", pid, 0.0, 0, Path("log"), "") for name, pid in self.pids.items()}


@pytest.fixture
def child() -> Iterator[Any]:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.communicate()


def test_supervisord_is_asked_again_only_once_a_process_has_gone(tmp_path: Path, child: Any) -> None:
    lines: list[str] = []
    programs = [Program(ProcessSpec("index", ["index"]), lambda _: True)]
    stack = Stack(RuntimeDir(tmp_path), tmp_path, programs, 1.0, lines.append)
    supervisor = FakeSupervisor({"index": child.pid})
    stack._supervisor = cast(Supervisor, supervisor)
    for _ in range(5):
        stack.watch()
    assert supervisor.asked == 1

    child.kill()
    child.wait()
    supervisor.pids["index"] = 0  # supervisord is about to start it again
    stack.watch()
    assert supervisor.asked == 2
    assert lines == ["index ended unexpectedly and is restarted"]
    stack.watch()
    assert supervisor.asked == 3, "it does not run yet"


def test_supervisord_is_asked_now_and_then_though_all_processes_run(
    tmp_path: Path, child: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.stack.ASK_SECONDS", 0)
    programs = [Program(ProcessSpec("index", ["index"]), lambda _: True)]
    stack = Stack(RuntimeDir(tmp_path), tmp_path, programs, 1.0, lambda _: None)
    supervisor = FakeSupervisor({"index": child.pid})
    stack._supervisor = cast(Supervisor, supervisor)
    stack.watch()
    stack.watch()
    assert supervisor.asked == 2
