"""The main loop of the API's server: it sleeps until a signal comes."""

from __future__ import annotations

import asyncio
import runpy
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from api.server import DEFAULTS, SleepingServer, defaults
from core.settings import load_settings


class CountingServer(SleepingServer):
    """A server that counts the turns of its main loop."""

    turns = 0

    async def on_tick(self, counter: int) -> bool:
        self.turns += 1
        return await super().on_tick(counter)


async def test_a_signal_wakes_the_main_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.server.TICK_SECONDS", 1000)
    server = CountingServer(uvicorn.Config("api.app:create_app", factory=True))
    loop = asyncio.create_task(server.main_loop())
    while server.turns == 0:
        await asyncio.sleep(0)
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.wait_for(loop, 5)
    assert server.turns == 2


async def test_a_signal_during_the_start_ends_the_main_loop_at_once() -> None:
    server = CountingServer(uvicorn.Config("api.app:create_app", factory=True))
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.wait_for(server.main_loop(), 5)
    assert server.turns == 1


async def test_the_date_of_the_answers_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.server.TICK_SECONDS", 0)
    server = CountingServer(uvicorn.Config("api.app:create_app", factory=True))
    loop = asyncio.create_task(server.main_loop())
    while server.turns < 3:
        server.server_state.default_headers.clear()
        await asyncio.sleep(0)
    assert [name for name, _ in server.server_state.default_headers] == [b"date"]
    server.handle_exit(signal.SIGTERM, None)
    await asyncio.wait_for(loop, 5)


def test_the_command_needs_no_argument_and_follows_those_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    command_line = import_module("uvicorn.main")
    started: list[dict[str, Any]] = []
    monkeypatch.setattr(command_line, "Server", uvicorn.Server)
    monkeypatch.setattr(command_line, "run", lambda app, **options: started.append({"app": app, **options}))
    for arguments in ([], ["tests.fakes.served_api:create_app", "--access-log"]):
        monkeypatch.setattr(sys, "argv", ["api.server", *arguments])
        monkeypatch.delitem(sys.modules, "api.server", raising=False)
        with pytest.raises(SystemExit):
            runpy.run_module("api.server", run_name="__main__")
    plain, given = started
    assert {name: plain[name] for name in DEFAULTS} == DEFAULTS
    assert given == plain | {"app": "tests.fakes.served_api:create_app", "access_log": True}


def test_the_command_listens_where_the_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = load_settings(_env_file=None, data_dir=tmp_path, host="127.0.0.2", port=8123, log_level="WARNING")
    monkeypatch.setattr("api.server.get_settings", lambda: settings)
    assert defaults() == {**DEFAULTS, "host": "127.0.0.2", "port": 8123, "log_level": "warning"}


def test_the_command_runs_this_server(monkeypatch: pytest.MonkeyPatch) -> None:
    command_line = import_module("uvicorn.main")
    monkeypatch.setattr(command_line, "Server", uvicorn.Server)
    monkeypatch.setattr(sys, "argv", ["api.server", "--version"])
    monkeypatch.delitem(sys.modules, "api.server")
    with pytest.raises(SystemExit):
        runpy.run_module("api.server", run_name="__main__")
    assert command_line.Server.__name__ == "SleepingServer"
