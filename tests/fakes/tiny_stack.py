"""`llm-api up` with its real supervision and a real Redis, but with processes that do almost nothing.

    python -m tests.fakes.tiny_stack ["broken" | "chatty"]

Each process appends its name to `stopped` when it gets SIGTERM. `ingest` has a child that survives SIGTERM, as Celery's
prefork pool has. With "broken", `index` fails to start; with "chatty", all processes log without a pause.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from cli.programs import Program, redis_program
from cli.runtime import RuntimeDir
from cli.screen import Screen
from cli.supervisor import ProcessSpec
from cli.up import Up
from core.settings import Settings, get_settings

WORKER = """
import os, pathlib, signal, subprocess, sys, time
name, has_child = sys.argv[1], sys.argv[2] == "child"
def stop(*_):
    with open("stopped", "a") as file:
        file.write(name + "\\n")
    if has_child:
        child.kill()
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
if has_child:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(1000)"
    child = subprocess.Popen([sys.executable, "-c", code])
print(name, "works", flush=True)
pathlib.Path(name + ".ready").write_text(str(os.getpid()))
while True:
    signal.pause()
"""
CHATTY = WORKER.replace("signal.pause()", "print(name, 'goes on', 'x' * 1000, flush=True); time.sleep(0.01)")
BROKEN = "raise SystemExit('there is no model')"


def ready_file(name: str) -> Callable[[float], bool]:
    """Return a check that the process, started at a given time, has written its file since."""
    path = Path(f"{name}.ready")
    return lambda started_at: path.exists() and path.stat().st_mtime >= started_at


def tiny_programs(settings: Settings, kind: str) -> list[Program]:
    programs = [redis_program(settings, RuntimeDir(settings.runtime_dir))]
    for name in ("ingest", "index", "watcher", "api"):
        # The code is in a file, since a command in supervisord's configuration has one line.
        script = Path(f"{name}.py").absolute()
        worker = CHATTY if kind == "chatty" else WORKER
        script.write_text(BROKEN if kind == "broken" and name == "index" else worker)
        command = [sys.executable, str(script), name, "child" if name == "ingest" else "alone"]
        programs.append(Program(ProcessSpec(name, command), ready_file(name)))
    return programs


def main() -> int:
    settings = get_settings()
    kind = sys.argv[1] if len(sys.argv) > 1 else ""
    return Up(settings, Screen(), lambda: tiny_programs(settings, kind)).run()


if __name__ == "__main__":
    sys.exit(main())
