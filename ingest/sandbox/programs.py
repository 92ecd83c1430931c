"""Programs that parsers call: confined, with a time limit, and killed with all their children."""

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

_CONFINED = Path(__file__).with_name("confined.py")
#: What a program may write to one file, and so print.
_FILE_BYTES = 512 * 2**20
_MESSAGE_CHARACTERS = 300
#: A closed port, for programs that would fetch what a file refers to and cannot be cut off otherwise.
_NOWHERE = "http://127.0.0.1:9"
_ENVIRONMENT = {
    "OMP_THREAD_LIMIT": "1",
    "LC_ALL": "C.UTF-8",
    **dict.fromkeys(("http_proxy", "https_proxy", "ftp_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE),
}


@dataclass(frozen=True, slots=True)
class ProgramFailed(Exception):
    """A program ended with an error; `message` is the end of what it said."""

    name: str
    status: int
    message: str

    def __str__(self) -> str:
        return f"{self.name} failed with status {self.status}: {self.message}"


def find_program(*names: str) -> str | None:
    """The path of the first of these programs that is installed."""
    return next((path for path in map(shutil.which, names) if path), None)


def run_program(
    command: Sequence[str],
    *,
    timeout_seconds: int,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """What a program prints.

    It gets no network where the kernel allows that, the memory limit of this process, and the time limit for its
    processor time too. Whatever happens here, it and its children are dead afterwards.

    Raises:
        ProgramFailed: it ended with an error.
        DocumentRejected: it took longer than `timeout_seconds`.
    """
    name = Path(command[0]).name
    limits = [str(timeout_seconds), str(_FILE_BYTES)]
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as said:
        given.write(stdin)
        given.seek(0)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_CONFINED), *limits, *command],
            stdin=given, stdout=printed, stderr=said, start_new_session=True,
            env={**os.environ, **_ENVIRONMENT, **(environment or {})},
        )  # fmt: skip
        try:
            status = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise DocumentRejected(f"Reading it with {name} took longer than {timeout_seconds} s.") from error
        finally:
            _kill_group(process)
        if status == -signal.SIGXCPU:
            raise DocumentRejected(f"Reading it with {name} took more than {timeout_seconds} s of processor time.")
        if status:
            said.seek(0)
            words = " ".join(said.read().decode(errors="replace").split())
            raise ProgramFailed(name, status, words[-_MESSAGE_CHARACTERS:])
        printed.seek(0)
        return printed.read()


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The group outlives its leader as long as there is a child in it.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
