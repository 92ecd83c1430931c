"""`llm-api service`: start everything with the user's session, by systemd on Linux and launchd on macOS."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import typer

from cli.screen import Screen
from core.errors import ConfigurationError, Unavailable
from core.settings import get_settings

NAME = "llm-api"
LAUNCHD_LABEL = "local.llm-api"
#: The time to finish what is running: as long as the workers drain, and some more.
STOP_SECONDS = 75

service_app = typer.Typer(help="Start llm-api with your session: install, remove.", no_args_is_help=True)
screen = Screen()


@dataclass(frozen=True)
class Service:
    """How the operating system starts the stack. `folder` has `.env`, `data` and `inbox`."""

    python: Path
    folder: Path

    @property
    def command(self) -> list[str]:
        return [str(self.python), "-m", "llm_api.main"]

    def systemd_unit(self, *, user: str = "") -> str:
        """Return the unit file: for the system, where it runs as `user`, or without one for the session of a user."""
        lines = [
            "[Unit]",
            "Description=llm-api: chat and answers from your documents",
            "After=network.target",
            "",
            "[Service]",
            "Type=exec",
            *([f"User={user}"] if user else []),
            f"WorkingDirectory={_systemd_path(self.folder)}",
            "ExecStart=" + " ".join(map(_systemd_word, self.command)),
            # The main process stops the others itself, and finishes what is running.
            "KillMode=mixed",
            f"TimeoutStopSec={STOP_SECONDS}",
            "Restart=on-failure",
            "RestartSec=10",
            "LimitNOFILE=65536",
            "NoNewPrivileges=true",
            "",
            "[Install]",
            f"WantedBy={'multi-user' if user else 'default'}.target",
        ]
        return "\n".join(lines) + "\n"

    def launchd_agent(self) -> str:
        """Return the property list of an agent of the user's own session."""
        agent = {
            "Label": LAUNCHD_LABEL,
            "ProgramArguments": self.command,
            "WorkingDirectory": str(self.folder),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ExitTimeOut": STOP_SECONDS,
            "SoftResourceLimits": {"NumberOfFiles": 8192},
            "StandardErrorPath": str(self.folder / "data" / "logs" / "launchd.log"),
        }
        return plistlib.dumps(agent, sort_keys=False).decode()


def _systemd_word(word: str) -> str:
    """Return a word of a command as systemd reads it: quoted, and with `%` and `$` taken literally."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if " " in escaped or escaped != word else escaped


def _systemd_path(path: Path) -> str:
    return str(path).replace("%", "%%")


def unit_path() -> Path:
    """Return where the unit or the agent of this user belongs.

    Raises:
        ConfigurationError: this system has neither systemd nor launchd.
    """
    if sys.platform == "darwin":
        return Path.home() / "Library" / "LaunchAgents" / f"{LAUNCHD_LABEL}.plist"
    if shutil.which("systemctl") is None:
        raise ConfigurationError("This system has no systemctl: start `llm-api up` by the means that it has.")
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "systemd" / "user" / f"{NAME}.service"


@service_app.command("install")
def install() -> None:
    """Start everything now, and at each login. It uses the `.env`, `data` and `inbox` of the current folder."""
    get_settings()  # an error in the settings is better said here than in a log
    path = unit_path()
    service = Service(Path(sys.executable), Path.cwd())
    path.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "darwin":
        path.write_text(service.launchd_agent(), encoding="utf-8")
        _run("launchctl", "bootstrap", f"gui/{os.getuid()}", str(path))
        screen.print(f"Installed {path}. Its state: launchctl print gui/{os.getuid()}/{LAUNCHD_LABEL}")
        return
    path.write_text(service.systemd_unit(), encoding="utf-8")
    _run("systemctl", "--user", "daemon-reload")
    _run("systemctl", "--user", "enable", "--now", path.name)
    screen.print(f"Installed {path}. Its state: systemctl --user status {NAME}")
    screen.print(f"To keep it running while you are logged out: loginctl enable-linger {os.environ.get('USER', '')}")


@service_app.command("remove")
def remove() -> None:
    """Stop everything, and start it no more by itself. The data is kept."""
    path = unit_path()
    if not path.exists():
        screen.print(f"Nothing is installed: there is no {path}.")
        return
    if sys.platform == "darwin":
        _run("launchctl", "bootout", f"gui/{os.getuid()}/{LAUNCHD_LABEL}")
        path.unlink()
    else:
        _run("systemctl", "--user", "disable", "--now", path.name)
        path.unlink()
        _run("systemctl", "--user", "daemon-reload")
    screen.print(f"Removed {path}. The data is kept.")


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=STOP_SECONDS + 30)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"`{' '.join(command)}` failed: {error}") from error
    if done.returncode:
        reason = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise Unavailable(f"`{' '.join(command)}` failed: {reason}")
