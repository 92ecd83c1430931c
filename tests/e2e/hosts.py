"""Several hosts on one machine: network namespaces with addresses and names of their own, joined by a bridge.

It needs root, `ip` (iproute2), `unshare` (util-linux), a redis-server built with TLS, and PostgreSQL's server.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.postgresql import find_programs
from tests.support import wait_until

#: A namespace with nothing but the bridge: this machine's own firewall rules, such as Docker's, do not apply in it.
SWITCH, BRIDGE = "llmapi-switch", "bridge"
NETWORK = "10.77.0"
#: The test's own link to the bridge, and its address.
OWN_LINK, OUTSIDE = "llmapi0", f"{NETWORK}.254"


def missing_programs() -> list[str]:
    """Return what is needed here and is not there."""
    missing = [name for name in ("ip", "unshare", "runuser", "openssl") if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if find_tls_redis() is None:
        missing.append("redis-server with TLS (apt-get install redis-server)")
    if find_programs() is None:
        missing.append("PostgreSQL (apt-get install postgresql)")
    return missing


def find_tls_redis() -> str | None:
    """Return the redis-server on PATH if it is built with TLS: the one that the project brings is not."""
    program = shutil.which("redis-server")
    if program is None:
        return None
    # Without a certificate it ends at once, and says which of both is missing.
    command = [program, "--port", "0", "--tls-port", "1", "--daemonize", "no"]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=20)
    return None if "Bad directive" in tried.stdout + tried.stderr else program


class Host:
    """A host: its own network, name and processes. What they write is in `folder`."""

    def __init__(self, name: str, number: int, folder: Path) -> None:
        self.name, self.address, self.folder = name, f"{NETWORK}.{number}", folder
        folder.mkdir()
        self._namespace, self._link = f"llmapi-{name}", f"llmapi{number}"
        self._processes: list[subprocess.Popen[bytes]] = []

    def connect(self) -> None:
        """Make the namespace, and join it to the bridge."""
        _ip("netns", "add", self._namespace)
        _ip("-n", SWITCH, "link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self._namespace)
        _ip("-n", SWITCH, "link", "set", self._link, "master", BRIDGE, "up")
        for command in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{self.address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
        ):
            _ip("-n", self._namespace, *command)

    def disconnect(self) -> None:
        """Remove the namespace and the link, and end what runs there."""
        self.kill()
        # What a run has left that was killed itself.
        found = subprocess.run(["ip", "netns", "pids", self._namespace], capture_output=True, text=True, timeout=30)
        for pid in found.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        _ip("netns", "del", self._namespace, check=False)

    def cut(self) -> None:
        """Cut the link: packets are lost in both directions, and no connection is closed."""
        _ip("-n", SWITCH, "link", "set", self._link, "down")

    def heal(self) -> None:
        """Undo `cut`."""
        _ip("-n", SWITCH, "link", "set", self._link, "up")

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], user: str = ""
    ) -> subprocess.Popen[bytes]:
        """Start a process on this host, under the host's name."""
        as_user = ["runuser", "-u", user, "--"] if user else []
        script = f'hostname {self.name} && exec "$@"'
        inside = ["ip", "netns", "exec", self._namespace, "unshare", "--uts", "sh", "-c", script, "sh"]
        with (self.folder / f"{name}.log").open("ab") as output:
            process = subprocess.Popen(
                [*inside, *as_user, *command],
                cwd="/" if user else self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def kill(self) -> None:
        """End all processes of this host at once, as a power failure does."""
        found = [process for started in self._processes for process in _tree(started.pid)]
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        for started in self._processes:
            started.wait(30)
        self._processes.clear()

    def terminate(self) -> None:
        """Ask all processes of this host to end, and wait until they have."""
        for started in self._processes:
            started.terminate()
        for started in self._processes:
            started.wait(120)
        self._processes.clear()

    def logs(self) -> str:
        """Return the ends of the logs of this host."""
        return "\n".join(
            f"--- {path}\n{path.read_text(errors='replace')[-3000:]}" for path in self.folder.glob("*.log")
        )


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


@contextmanager
def network(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Yield connected hosts of these names, and remove all of it at the end."""
    hosts = {name: Host(name, number, folder / name) for number, name in enumerate(names, 1)}
    _remove(hosts.values())
    try:
        _ip("netns", "add", SWITCH)
        _ip("-n", SWITCH, "link", "add", BRIDGE, "type", "bridge")
        _ip("-n", SWITCH, "link", "set", BRIDGE, "up")
        _ip("link", "add", OWN_LINK, "type", "veth", "peer", "name", "outside", "netns", SWITCH)
        _ip("-n", SWITCH, "link", "set", "outside", "master", BRIDGE, "up")
        _ip("address", "add", f"{OUTSIDE}/24", "dev", OWN_LINK)
        _ip("link", "set", OWN_LINK, "up")
        for host in hosts.values():
            host.connect()
        yield hosts
    finally:
        _remove(hosts.values())


def _remove(hosts: Iterable[Host]) -> None:
    for host in hosts:
        host.disconnect()
    _ip("link", "del", OWN_LINK, check=False)
    _ip("netns", "del", SWITCH, check=False)


def _ip(*arguments: str, check: bool = True) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 or not check, f"ip {' '.join(arguments)}: {done.stderr}"


def make_certificates(folder: Path, address: str) -> Path:
    """Make a certificate of this address, `server.crt` with `server.key`. Return the path of its authority's."""
    folder.mkdir()
    authority = folder / "ca.crt"
    (folder / "san").write_text(f"subjectAltName=IP:{address}\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
        f"req -newkey rsa:2048 -nodes -subj /CN={address} -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.crt",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True, timeout=60)
    return authority


def start_redis(host: Host, password: str) -> str:
    """Start Redis with TLS and a password. Return its URL."""
    program = find_tls_redis()
    assert program is not None
    authority = make_certificates(host.folder / "tls", host.address)
    tls = host.folder / "tls"
    command = [
        *(program, "--port", "0", "--tls-port", "6379", "--bind", host.address, "--requirepass", password),
        *("--tls-cert-file", str(tls / "server.crt"), "--tls-key-file", str(tls / "server.key")),
        *("--tls-ca-cert-file", str(authority), "--tls-auth-clients", "no"),
        *("--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction", "--dir", str(host.folder)),
    ]
    host.start("redis", command, os.environ)
    return f"rediss://:{password}@{host.address}:6379/0?ssl_cert_reqs=required&ssl_ca_certs={authority}"


def start_postgresql(host: Host, password: str) -> str:
    """Start PostgreSQL, which asks for a password. Return its URL."""
    programs = find_programs()
    assert programs is not None
    data = host.folder / "postgresql"
    data.mkdir()
    word = host.folder / "word"
    word.write_text(password)
    for path in (data, word):
        shutil.chown(path, "postgres")
    # Its user must be able to pass through the folders above, which pytest makes for root alone.
    for parent in [host.folder, *host.folder.parents][:-2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    initialise = [str(programs / "initdb"), "-D", str(data), "--username=llm_api", "--auth=scram-sha-256"]
    initialise += [f"--pwfile={word}", "--encoding=UTF8", "--locale=C", "--no-sync"]
    made = host.start("initdb", initialise, os.environ, user="postgres")
    assert made.wait(120) == 0, host.logs()
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NETWORK}.0/24 scram-sha-256\n")
    server = [str(programs / "postgres"), "-D", str(data), "-k", "", "-h", host.address, "-c", "fsync=off"]
    process = host.start("postgresql", server, os.environ, user="postgres")
    log = host.folder / "postgresql.log"
    wait_until(lambda: process.poll() is not None or "ready to accept" in log.read_text(), 60, "PostgreSQL's start")
    assert process.poll() is None, host.logs()
    return f"postgresql+psycopg://llm_api:{password}@{host.address}/postgres"
