"""A private PostgreSQL server for the tests that need one, run with the programs of Debian's package."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support import wait_until

START_SECONDS = 60.0
#: Only the socket is served, and no data has to survive a crash of the machine.
OPTIONS = {"listen_addresses": "", "fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def find_programs() -> Path | None:
    """Return the folder that holds `initdb` and `postgres`, or None if PostgreSQL's server is not installed."""
    on_path = shutil.which("initdb")
    # Debian keeps them off PATH, in a folder for each version.
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = [*versions, Path(on_path).resolve()] if on_path else versions
    return found[-1].parent if found else None


@contextmanager
def private_server(programs: Path) -> Iterator[str]:
    """Start a server in a temporary folder, yield the URL of its empty database, and stop the server.

    Raises:
        AssertionError: the server did not start; with what it logged.
    """
    # Not under pytest's folder: a socket's path may have 107 bytes, and the server's user must be able to reach it.
    with tempfile.TemporaryDirectory(prefix="llm-api-postgresql-") as name:
        directory, url = Path(name), f"postgresql://postgres@/postgres?host={name}"
        data, log = directory / "data", directory / "server.log"
        if os.geteuid() == 0:
            shutil.chown(directory, _unprivileged_user())
        options = [f"--{option}={value}" for option, value in OPTIONS.items()]
        initialise = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        status = _run([programs / "initdb", "-D", data, *initialise], directory, log).wait(START_SECONDS)
        assert status == 0, log.read_text()
        server = _run([programs / "postgres", "-D", data, "-k", directory, *options], directory, log)
        try:
            wait_until(lambda: server.poll() is not None or _answers(url), START_SECONDS, "PostgreSQL's start")
            assert server.poll() is None, log.read_text()
            yield url
        finally:
            # A fast shutdown: after TERM it would wait for the connections that a failed test left open.
            server.send_signal(signal.SIGINT)
            server.wait(START_SECONDS)


def _unprivileged_user() -> str:
    """Return the user to run the server as when the tests run as root, because PostgreSQL refuses to run as root."""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _run(command: Sequence[str | Path], directory: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=directory,
            user=directory.owner() if os.geteuid() == 0 else None,
            group=directory.group() if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
