"""`llm-api service`, and the files in deploy/ that do the same for a whole system."""

from __future__ import annotations

import os
import plistlib
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from cli.service_commands import Service
from tests.support import ROOT

EXAMPLE = Service(Path("/opt/llm-api/.venv/bin/python"), Path("/srv/llm-api"))
REMEDY = "write the file again: its text is what cli/service_commands.py makes"


@pytest.fixture
def systemctl_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a systemctl that notes its arguments before the system's own, and return the path of its notes."""
    notes = tmp_path / "calls"
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {notes}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("cli.service_commands.sys.platform", "linux")
    monkeypatch.chdir(tmp_path)
    return notes


def test_the_unit_in_deploy_is_what_the_program_makes() -> None:
    path = ROOT / "deploy" / "systemd" / "llm-api.service"
    assert path.read_text(encoding="utf-8") == EXAMPLE.systemd_unit(user="llm-api"), REMEDY


def test_the_agent_in_deploy_is_what_the_program_makes() -> None:
    path = ROOT / "deploy" / "launchd" / "local.llm-api.plist"
    assert path.read_text(encoding="utf-8") == EXAMPLE.launchd_agent(), REMEDY


def test_install_writes_a_unit_for_this_folder_and_starts_it(tmp_path: Path, systemctl_calls: Path) -> None:
    done = CliRunner().invoke(app, ["service", "install"])
    assert done.exit_code == 0, done.output
    unit = (tmp_path / "config" / "systemd" / "user" / "llm-api.service").read_text()
    assert f"WorkingDirectory={tmp_path}\n" in unit
    assert "WantedBy=default.target" in unit
    assert systemctl_calls.read_text().splitlines() == ["--user daemon-reload", "--user enable --now llm-api.service"]


def test_remove_stops_it_and_deletes_the_unit(tmp_path: Path, systemctl_calls: Path) -> None:
    CliRunner().invoke(app, ["service", "install"])
    done = CliRunner().invoke(app, ["service", "remove"])
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "config" / "systemd" / "user" / "llm-api.service").exists()
    assert "--user disable --now llm-api.service" in systemctl_calls.read_text().splitlines()
    assert "Nothing is installed" in CliRunner().invoke(app, ["service", "remove"]).output


def test_a_refusal_of_systemd_is_said(tmp_path: Path, systemctl_calls: Path) -> None:
    assert not systemctl_calls.exists()
    (tmp_path / "bin" / "systemctl").write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    done = CliRunner().invoke(app, ["service", "install"])
    assert done.exit_code == 1
    assert "Failed to connect to bus" in done.output


def test_a_folder_with_odd_characters_is_quoted() -> None:
    unit = Service(Path('/home/a b/100% "x"/python'), Path("/home/50%")).systemd_unit()
    assert 'ExecStart="/home/a b/100%% \\"x\\"/python" -m llm_api.main' in unit
    assert "WorkingDirectory=/home/50%%" in unit


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "llm-api.service"
    unit.write_text(Service(Path(shutil.which("true") or "/bin/true"), tmp_path).systemd_unit(user="root"))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
    assert str(unit) not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_launchd_gets_a_property_list() -> None:
    agent = plistlib.loads(EXAMPLE.launchd_agent().encode())
    assert agent["ProgramArguments"] == ["/opt/llm-api/.venv/bin/python", "-m", "llm_api.main"]
    assert agent["KeepAlive"] == {"SuccessfulExit": False}
