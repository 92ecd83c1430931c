"""Processes of releases that cannot work together refuse to start beside each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.preflight import migrate_catalog
from core.catalog import Catalog
from core.catalog.migration import HEAD_REVISION
from core.errors import ConfigurationError
from core.release import release
from core.settings import load_settings
from tasks.jobs import compatibility
from tasks.jobs.compatibility import PROTOCOL_VERSION, incompatible_processes, require_compatible
from tasks.jobs.heartbeats import Announcer
from tasks.jobs.keys import worker_key
from tasks.jobs.producer import Producer
from tasks.jobs.queues import Role
from tests.support import ROOT, clean_environment, wait_until

SAME = {"release": "0.0.1", "protocol": PROTOCOL_VERSION, "catalog": HEAD_REVISION}
NEWER = {"release": "9.9.9", "protocol": PROTOCOL_VERSION + 1, "catalog": HEAD_REVISION}


@contextmanager
def running(producer: Producer, role: Role, name: str, info: dict[str, Any]) -> Iterator[None]:
    """Announce a process of another release all the while."""
    redis, stopping = producer.records.redis, threading.Event()

    def announce() -> None:
        redis.hset(worker_key(role), name, json.dumps({**info, "at": time.time()}))

    def run() -> None:
        while not stopping.wait(0.5):
            announce()

    announce()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        redis.hdel(worker_key(role), name)


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compatibility, "WAIT_SECONDS", 0.0)


def test_each_process_announces_its_version(producer: Producer) -> None:
    producer.announce(Role.INGEST, "ingest@here", {"pid": 1})
    (info,) = producer.workers(Role.INGEST).values()
    expected = {"pid": 1, "release": release(), "protocol": PROTOCOL_VERSION, "catalog": HEAD_REVISION}
    assert expected.items() <= info.items()


@pytest.mark.usefixtures("no_wait")
@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("info", [{}, NEWER, {**SAME, "catalog": "0008"}])
def test_a_process_refuses_to_start_beside_one_of_another_version(
    producer: Producer, role: Role, info: dict[str, Any]
) -> None:
    with running(producer, role, f"{role.value}@there", info):
        with pytest.raises(ConfigurationError) as raised:
            require_compatible(producer)
        assert f"{role.value}@there (release {info.get('release', 'unknown')})" in raised.value.message
        assert "Stop them first" in raised.value.message
    require_compatible(producer)


def test_another_release_that_shares_all_versions_is_welcome(producer: Producer) -> None:
    with running(producer, Role.INDEX, "index@there", SAME):
        require_compatible(producer)


def test_a_killed_process_of_another_release_holds_up_the_start_only_until_it_counts_as_dead(
    producer: Producer,
) -> None:
    redis = producer.records.redis
    redis.hset(worker_key(Role.INDEX), "index@there", json.dumps({"at": time.time() - 5.5}))
    assert incompatible_processes(producer) == {"index@there": "unknown"}
    require_compatible(producer)


@pytest.mark.usefixtures("no_wait")
def test_a_catalog_that_processes_of_another_release_use_is_not_migrated(
    producer: Producer, redis_url: str, tmp_path: Path
) -> None:
    settings = load_settings(_env_file=None, data_dir=tmp_path, redis_url=redis_url)
    with running(producer, Role.API, "api@there", {}), pytest.raises(ConfigurationError, match="incompatible release"):
        migrate_catalog(settings)
    assert not (tmp_path / "catalog.sqlite3").exists()
    migrate_catalog(settings)
    catalog = Catalog.open(settings.catalog_url)
    assert catalog.list_collections() == []
    catalog.close()


def test_of_two_that_start_at_once_the_later_one_ends(producer: Producer, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[tuple[int, int]] = []
    monkeypatch.setattr("tasks.jobs.heartbeats.os.kill", lambda pid, number: ended.append((pid, number)))
    announcer = Announcer(producer, Role.MAINTENANCE, "maintenance@here", dict)
    with running(producer, Role.INDEX, "index@there", NEWER):
        announcer.start()
        wait_until(lambda: ended)
    assert ended == [(os.getpid(), signal.SIGTERM)]
    assert "maintenance@here" not in producer.workers(Role.MAINTENANCE), "it withdraws"


PROCESSES = {
    Role.MAINTENANCE: ["celery", "-A", "tasks", "worker", "-Q", "maintenance", "-P", "solo", "-n", "maintenance@%h"],
    Role.WATCHER: ["watchers"],
    Role.API: ["api.server", "--port", "0"],
}


@pytest.mark.check
@pytest.mark.parametrize("role", PROCESSES)
def test_every_process_checks_at_its_start(producer: Producer, redis_url: str, tmp_path: Path, role: Role) -> None:
    environment = clean_environment(REDIS_URL=redis_url, DATA_DIR=str(tmp_path / "data"), PYTHONPATH=str(ROOT))
    command = [sys.executable, "-P", "-m", *PROCESSES[role]]
    with running(producer, Role.INDEX, "index@there", {}):
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert "processes of an incompatible release are running: index@there" in ended.stdout + ended.stderr
    assert not (tmp_path / "data" / "catalog.sqlite3").exists(), "nothing was migrated"
