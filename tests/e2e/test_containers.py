"""The containers, with a Docker engine: what a person sees from the first `docker compose up` on.

The engine is the one that `docker` uses. The image and the project have names of their own, and are removed at the end.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import ROOT, free_port, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.soak, pytest.mark.timeout(3600)]

PROJECT = "llm-api-test"
IMAGE = "llm-api:test"
SETTINGS = """\
WATCH_DIRS=/inbox=notes,/srv/papers=papers
WATCH_RESCAN_SECONDS=5
REDIS_MAX_MEMORY_BYTES=268435456
DATA_DIR=./elsewhere
RAG_PROMPT_TEMPLATE=/models/prompt.txt
"""
TEMPLATE = "Read {documents} and answer {question}"
VOLUMES = {f"{PROJECT}_{name}" for name in ("secrets", "data", "cache", "redis", "postgres", "qdrant")}
#: A check of health takes place at least every 41 seconds.
BUSY_SECONDS = 130
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".env", ".*_cache", "__pycache__", "data", "tests", "inbox")


def _not_copied(folder: str, names: list[str]) -> set[str]:
    # `core/models` is code, and `models` is what the checkout's own containers have.
    return NOT_COPIED(folder, names) | ({"models"} if Path(folder) == ROOT else set())


class Containers:
    """A copy of the checkout with an .env of its own, and the containers that its docker-compose.yml describes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inbox = folder / "inbox"
        self.base_url = f"http://127.0.0.1:{free_port()}"
        self._environment = {
            name: value for name, value in os.environ.items() if name in ("PATH", "HOME") or name.startswith("DOCKER_")
        }
        self._environment |= {"PORT": self.base_url.rpartition(":")[2], "FLOWER_PORT": str(free_port())}
        shutil.copytree(ROOT, folder, ignore=_not_copied)
        compose = folder / "docker-compose.yml"
        compose.write_text(compose.read_text().replace("llm-api:local", IMAGE))
        (folder / ".env").write_text(SETTINGS)
        for name in ("inbox", "models", "functions"):
            (folder / name).mkdir(exist_ok=True)
            (folder / name).chmod(0o755)
        (folder / "models" / "prompt.txt").write_text(TEMPLATE)

    def docker(self, *arguments: str, check: bool = True) -> str:
        """Run docker, and return what it prints, with its standard error."""
        done = subprocess.run(
            ["docker", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2400,
        )
        assert done.returncode == 0 or not check, done.stdout
        return done.stdout

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run docker compose, and return what it prints."""
        return self.docker("compose", "-p", PROJECT, *arguments, check=check)

    def shell(self, commands: str) -> None:
        """Run these commands of the documentation."""
        compose = f"docker compose -p {PROJECT} "
        script = "set -e\n" + commands.replace("docker-compose ", compose)
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def cli(self, *arguments: str) -> str:
        """Run llm-api in the container of the API. Return what it prints, in one line."""
        return " ".join(self.compose("exec", "-T", "--env", "COLUMNS=200", "api", "llm-api", *arguments).split())

    def states(self) -> dict[str, str]:
        """Return the health of each running container by its service, or its state if it has no check of health."""
        listed = [json.loads(line) for line in self.compose("ps", "--format", "json").splitlines()]
        return {one["Service"]: one["Health"] or one["State"] for one in listed}

    def wait_for_health(self) -> None:
        """Wait until all containers are healthy."""
        wait_until(lambda: len(self.states()) == 10 and set(self.states().values()) == {"healthy"}, 900, "health")

    def mounts(self) -> list[dict[str, Any]]:
        """Return what the containers have mounted, those that have ended included."""
        ids = self.compose("ps", "--all", "--quiet").split()
        return [mount for one in json.loads(self.docker("inspect", *ids)) for mount in one["Mounts"]]


@pytest.fixture(scope="module")
def first_start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Containers, str]]:
    """Start the containers, and yield them with what `docker compose up` printed."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True).returncode:
        pytest.skip("there is no Docker engine")
    containers = Containers(tmp_path_factory.mktemp("containers") / "checkout")
    try:
        printed = containers.compose("up", "--detach")
        containers.wait_for_health()
        yield containers, printed
    finally:
        print(containers.compose("logs", "--no-color", "--tail", "40", check=False))
        containers.compose("down", "--volumes", check=False)
        containers.docker("image", "rm", "--force", IMAGE, check=False)


@pytest.fixture
def containers(first_start: tuple[Containers, str]) -> Containers:
    return first_start[0]


def test_the_first_start_builds_the_image_and_asks_no_registry_for_it(first_start: tuple[Containers, str]) -> None:
    _, printed = first_start
    ours = ("api", "ingest", "index", "inference", "maintenance", "watcher", "flower", "migrate", "secrets")
    pulled = [line for line in printed.splitlines() if "pull" in line.lower()]
    assert [line for line in pulled if any(name in line for name in ours)] == []


def test_the_check_of_the_deployment_passes_and_leaves_no_collection(containers: Containers) -> None:
    command = [sys.executable, str(ROOT / "docker" / "check_deployment.py"), "--base-url", containers.base_url]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    names = [one["name"] for one in httpx.get(f"{containers.base_url}/v1/rag/collections", timeout=60).json()["data"]]
    assert [name for name in names if name.startswith("deployment-check")] == []


def test_the_command_line_works_inside(containers: Containers) -> None:
    status = containers.cli("status")
    assert "Processes api 1, ingest 1, index 1, inference 1, maintenance 1, watcher 1" in status
    assert "Embeddings " in status
    assert " chat" in containers.cli("models")


def test_the_watched_folders_of_the_settings_are_watched(containers: Containers) -> None:
    (containers.inbox / "tea.txt").write_text("Tea draws for two minutes.")
    wait_until(lambda: "tea.txt" in containers.cli("documents", "--collection", "notes", "--status", "completed"), 90)
    status = containers.cli("status")
    assert "Folder /inbox (notes, mirror): watched" in status
    assert "Folder /srv/papers (papers, mirror): missing, there is no such folder. Create it, or mount it." in status


def test_a_file_that_the_watcher_may_not_read_is_shown(containers: Containers) -> None:
    private = containers.inbox / "private.txt"
    private.write_text("Coffee draws for four minutes.")
    private.chmod(0o600)
    wait_until(lambda: "1 files or folders cannot be read" in containers.cli("status"), 90, "the report of the file")
    skipped = containers.cli("documents", "skipped", "--collection", "notes")
    assert "private.txt" in skipped
    assert "10001" in skipped
    private.chmod(0o644)
    listed = ("documents", "--collection", "notes", "--status", "completed")
    wait_until(lambda: "private.txt" in containers.cli(*listed), 90, "the document of the readable file")
    wait_until(lambda: "cannot be read" not in containers.cli("status"), 90, "the end of the report")


def test_settings_are_used_or_said_to_have_no_effect(containers: Containers) -> None:
    assert "DATA_DIR=./elsewhere has no effect in containers" in containers.compose("logs", "secrets")
    ask = 'REDISCLI_AUTH="$(cat /secrets/redis_password)" redis-cli config get maxmemory'
    assert "268435456" in containers.compose("exec", "-T", "redis", "sh", "-c", ask)


def test_a_file_with_a_prompt_template_is_used_where_prompts_are_made(containers: Containers) -> None:
    program = "from core.settings import get_settings; print(get_settings().rag_prompt_template)"
    run = ("exec", "-T", "inference", "/app/docker/entrypoint.sh", "python", "-c", program)
    assert TEMPLATE in containers.compose(*run)


def test_a_path_of_the_host_ends_the_start_with_its_name(containers: Containers) -> None:
    printed = containers.compose("run", "--rm", "--env", "WATCH_DIRS=./inbox=notes", "secrets", check=False)
    assert "WATCH_DIRS=./inbox=notes: write the path in the containers" in printed


def test_health_does_not_change_while_the_host_is_busy(containers: Containers) -> None:
    containers.wait_for_health()
    began = int(time.time())
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * (os.cpu_count() or 1))]
    # The checks run by themselves: whether one fails can only be seen by waiting.
    selected = ("--filter", "event=health_status", "--filter", f"label=com.docker.compose.project={PROJECT}")
    try:
        changes = containers.docker("events", "--since", str(began), "--until", str(began + BUSY_SECONDS), *selected)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert changes == ""
    assert set(containers.states().values()) == {"healthy"}


def test_a_backup_is_restored_into_empty_volumes_as_it_is_written(containers: Containers) -> None:
    """Run the commands of docs/backup-and-upgrade.md."""
    text = (ROOT / "docs" / "backup-and-upgrade.md").read_text()
    block = r"^```\n(docker-compose exec.*?)\n\n(docker-compose up.*?)^```$"
    ((backup, restore),) = re.findall(block, text, re.MULTILINE | re.DOTALL)
    containers.shell(backup)
    containers.compose("down", "--volumes")
    containers.shell(restore)
    containers.wait_for_health()
    found = "the text of a restored document"
    wait_until(lambda: "two minutes" in containers.cli("search", "tea", "--collection", "notes"), 120, found)


def test_down_and_up_leave_no_volume_and_lose_nothing(containers: Containers) -> None:
    assert {mount["Name"] for mount in containers.mounts() if mount["Type"] == "volume"} == VOLUMES
    before = set(containers.docker("volume", "ls", "--quiet").split())
    containers.compose("down")
    containers.compose("up", "--detach")
    containers.wait_for_health()
    assert set(containers.docker("volume", "ls", "--quiet").split()) == before
    assert "tea.txt" in containers.cli("documents", "--collection", "notes", "--status", "completed")
