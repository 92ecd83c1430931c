"""Runs the programs that parsers need: confined, with a time limit, and killed together with their children."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import DocumentRejected

_CONFINED_SCRIPT = Path(__file__).with_name("confined.py")
#: The most that a program may write to one file, and therefore print.
_FILE_BYTES = 512 * 2**20
_MESSAGE_CHARACTERS = 300
#: The wall-clock time that a program may take, by its processor time: at the priority of bulk work it may have to wait.
_WAITING_FACTOR = 4
#: A closed port, set as the proxy: it stops programs from fetching what a file links to where they cannot be denied the
#: network.
_CLOSED_PORT_URL = "http://127.0.0.1:9"
_ENVIRONMENT = {
    "HOME": "/nonexistent",
    "OMP_THREAD_LIMIT": "1",
    "LC_ALL": "C.UTF-8",
    **dict.fromkeys(("http_proxy", "https_proxy", "ftp_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _CLOSED_PORT_URL),
}
#: The variables that programs inherit: where they find their files. All others may be secrets, such as API_KEYS.
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "TMPDIR", "TZ", "TESSDATA_PREFIX", "FONTCONFIG_FILE", "FONTCONFIG_PATH")


@dataclass(frozen=True, slots=True)
class ProgramFailed(Exception):
    """A program ended with an error. `message` is the end of its standard error."""

    name: str
    status: int
    message: str

    def __str__(self) -> str:
        return f"{self.name} failed with status {self.status}: {self.message}"


def find_program(*names: str) -> str | None:
    """Return the path of the first of these programs that is installed, or None if none is."""
    return next((path for path in map(shutil.which, names) if path), None)


def run_program(
    command: Sequence[str],
    *,
    cpu_seconds: int,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run a program and return its standard output.

    The program has no network where the kernel allows that, and it inherits the memory limit of this process. Of the
    environment it gets only what it needs to find its files, and `environment`. Where it has no network, it cannot read
    the environment of other processes either.
    `cpu_seconds` limits its processor time, and four times as much its wall-clock time. The program and its children
    are always dead when this returns or raises.

    Raises:
        ProgramFailed: If it ends with an error.
        DocumentRejected: If it takes longer.
    """
    name = Path(command[0]).name
    limits = [str(cpu_seconds), str(_FILE_BYTES)]
    timeout_seconds = _WAITING_FACTOR * cpu_seconds
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        source.write(stdin)
        source.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CONFINED_SCRIPT), *limits, *command],
            # Not a session of its own: in the kernel's automatic groups, priorities count within a session only.
            stdin=source, stdout=output, stderr=errors, process_group=0,
            env={**_inherited(), **_ENVIRONMENT, **(environment or {})},
        )  # fmt: skip
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise DocumentRejected(f"Reading it with {name} took longer than {timeout_seconds} s.") from error
        finally:
            _kill_group(process)
        if status == -signal.SIGXCPU:
            raise DocumentRejected(f"Reading it with {name} took more than {cpu_seconds} s of processor time.")
        if status:
            errors.seek(0)
            message = " ".join(errors.read().decode(errors="replace").split())
            raise ProgramFailed(name, status, message[-_MESSAGE_CHARACTERS:])
        output.seek(0)
        return output.read()


def _inherited() -> dict[str, str]:
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The process group outlives its leader as long as a child is in it.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
