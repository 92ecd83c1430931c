"""Controlling supervisord: its generated configuration, and its XML-RPC interface over a unix socket."""

from __future__ import annotations

import http.client
import os
import shlex
import socket
import xmlrpc.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from xml.parsers.expat import ExpatError

from cli.runtime import RuntimeDir
from core.errors import ConfigurationError, Unavailable

#: After more early exits in a row than this, supervisord gives up on a process of the stack (state FATAL).
START_RETRIES = 3
#: The time until supervisord itself sends KILL. Longer than all waits of a drain, which normally sends it.
STOP_WAIT_SECONDS = 90

STATE_FATAL = "FATAL"
#: States in which supervisord runs a process or is about to.
STARTED_STATES = frozenset({"STARTING", "RUNNING", "BACKOFF"})
#: States that do not change by themselves.
AT_REST_STATES = frozenset({"STOPPED", STATE_FATAL, "UNKNOWN"})


@dataclass(frozen=True)
class ProcessSpec:
    """A process to supervise. If it ends within `settle_seconds` after its start, the start has failed."""

    name: str
    command: Sequence[str]
    settle_seconds: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    #: After more early ends in a row than this, supervisord gives up on the process.
    start_retries: int = START_RETRIES


@dataclass(frozen=True)
class ProcessInfo:
    """The state of a process as supervisord reports it. `pid` is 0 if it does not run; `started_at` is Unix seconds."""

    name: str
    state: str
    pid: int
    started_at: float
    exit_status: int
    log: Path
    problem: str


class Supervisor:
    """A client of one supervisord.

    Every method raises `core.errors.Unavailable` if it does not answer within five seconds.
    """

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path

    def ping(self) -> None:
        """Check that supervisord answers."""
        self._call("supervisor.getState")

    def processes(self) -> dict[str, ProcessInfo]:
        """Return all processes by name."""
        return {raw["name"]: _as_info(raw) for raw in self._call("supervisor.getAllProcessInfo")}

    def start(self, name: str) -> None:
        """Start a process without waiting for it. Do nothing if it is already running."""
        self._call("supervisor.startProcess", name, False, ignoring="ALREADY_STARTED")

    def add(self, name: str) -> None:
        """Take in a process that was added to the configuration. It is not started."""
        self._call("supervisor.reloadConfig")
        self._call("supervisor.addProcessGroup", name, ignoring="ALREADY_ADDED")

    def remove(self, name: str) -> None:
        """Forget a process that has ended and was removed from the configuration."""
        self._call("supervisor.reloadConfig")
        self._call("supervisor.removeProcessGroup", name, ignoring="BAD_NAME")

    def stop(self, name: str) -> None:
        """Send TERM without waiting. The process is not restarted."""
        self._call("supervisor.stopProcess", name, False, ignoring="NOT_RUNNING")

    def signal(self, name: str, signal_name: str) -> None:
        """Send a signal, given by its name, such as `QUIT`."""
        self._call("supervisor.signalProcess", name, signal_name, ignoring="NOT_RUNNING")

    def shutdown(self) -> None:
        """End supervisord itself."""
        self._call("supervisor.shutdown", ignoring="SHUTDOWN_STATE")

    def _call(self, method: str, *args: Any, ignoring: str | None = None) -> Any:
        # Each call opens a connection, because an older one does not work after supervisord was replaced.
        transport = _UnixTransport(self._socket_path)
        try:
            with xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=transport) as proxy:
                return getattr(proxy, method)(*args)
        except xmlrpc.client.Fault as fault:
            if ignoring and fault.faultString.startswith(ignoring):
                return None
            raise Unavailable(f"supervisord refused {method}{args}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError, ExpatError) as error:
            raise Unavailable(f"supervisord does not answer: {error}") from error


def write_config(runtime: RuntimeDir, log_dir: Path, specs: Sequence[ProcessSpec]) -> None:
    """Write supervisord's configuration. No process starts by itself, because Redis has to be ready before the others.

    Raises:
        ConfigurationError: a path cannot be written in the syntax of the configuration.
    """
    log_dir.mkdir(parents=True, exist_ok=True)
    sections = [
        _section("unix_http_server", {"file": str(runtime.supervisor_socket), "chmod": "0700"}),
        _section(
            "supervisord",
            {
                "nodaemon": "true",
                "silent": "true",
                "pidfile": str(runtime.supervisor_pidfile),
                "logfile": str(log_dir / "supervisord.log"),
                "logfile_maxbytes": "5MB",
                "logfile_backups": "1",
                "childlogdir": str(log_dir),
                "nocleanup": "true",
                "minfds": str(_file_limit()),
            },
        ),
        _section(
            "rpcinterface:supervisor",
            {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        ),
        *(_program_section(spec, log_dir) for spec in specs),
    ]
    runtime.supervisor_config.touch(mode=0o600)
    runtime.supervisor_config.write_text("\n".join(sections))


def log_path(log_dir: Path, name: str) -> Path:
    """Return the path of a process's log file."""
    return log_dir / f"{name}.log"


def _program_section(spec: ProcessSpec, log_dir: Path) -> str:
    values = {
        "command": shlex.join(spec.command),
        "autostart": "false",
        "autorestart": "true",
        "startsecs": str(spec.settle_seconds),
        "startretries": str(spec.start_retries),
        "stopsignal": "TERM",
        "stopwaitsecs": str(STOP_WAIT_SECONDS),
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": str(log_path(log_dir, spec.name)),
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "3",
    }
    if spec.environment:
        if any('"' in value for value in spec.environment.values()):
            raise ConfigurationError(f"{spec.name}: supervisord cannot pass on a value with a '\"' in it.")
        values["environment"] = ",".join(f'{key}="{value}"' for key, value in spec.environment.items())
    return _section(f"program:{spec.name}", values)


def _section(name: str, values: Mapping[str, str]) -> str:
    return "\n".join([f"[{name}]", *(f"{key}={_escaped(value)}" for key, value in values.items()), ""])


def _escaped(value: str) -> str:
    if any(mark in value for mark in (" ;", " #", "\n", "\t;", "\t#")):
        raise ConfigurationError(
            f"{value!r} cannot be used: in supervisord's configuration, a blank followed by ; or # begins a comment. "
            "Choose paths without them for DATA_DIR and for llm-api itself."
        )
    return value.replace("%", "%%")


def _file_limit() -> int:
    # supervisord closes this many descriptors before each start, so it must not be the million of some systems.
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(soft, 1024)


def _as_info(raw: Mapping[str, Any]) -> ProcessInfo:
    return ProcessInfo(
        name=raw["name"],
        state=raw["statename"],
        pid=int(raw["pid"]),
        started_at=float(raw["start"]),
        exit_status=int(raw["exitstatus"]),
        log=Path(raw["stdout_logfile"]),
        problem=raw["spawnerr"],
    )


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = _UnixConnection(self._path)
        self._connection = (host, connection)
        return connection


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(cast(float, self.timeout))
        self.sock.connect(os.fspath(self._path))
